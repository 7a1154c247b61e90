/* message - the object and its name; bodies are in body.c */
#include "queue/message.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/memory.h"
#include "queue/body.h"
#include "queue/private.h"

static const char *const status_names[] = {
	[QUEUE_QUEUED] = "queued",	 [QUEUE_DEFERRED] = "deferred", [QUEUE_HELD] = "held",
	[QUEUE_DELIVERED] = "delivered", [QUEUE_BOUNCED] = "bounced",	[QUEUE_DELETED] = "deleted",
};

const char *queue_status_name(enum queue_status status)
{
	assert((size_t)status < ARRAY_SIZE(status_names));
	return status_names[status];
}

bool queue_status_is_pending(enum queue_status status)
{
	return status == QUEUE_QUEUED || status == QUEUE_DEFERRED || status == QUEUE_HELD;
}

void queue_id_format(int64_t id, char out[QUEUE_ID_SIZE])
{
	snprintf(out, QUEUE_ID_SIZE, "%llX", (unsigned long long)id);
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool queue_id_parse(const char *name, int64_t *ret_id)
{
	int64_t id = 0;

	for (const char *c = name; *c; c++) {
		int digit = digit_value(*c);

		if (digit < 0 || id > INT64_MAX >> 4)
			return false;
		id = id * 16 + digit;
	}
	if (id == 0)
		return false;
	*ret_id = id;
	return true;
}

struct queue_message *queue_message_make(int64_t id, int64_t arrived_ms)
{
	struct queue_message *m = memory_new(sizeof(*m));

	*m = (struct queue_message){
		.id = id,
		.arrived_ms = arrived_ms,
		.sender = "",
		.envelope_id = "",
		.origin = { "", "", "", "", "", "", "", "", false },
	};
	queue_id_format(id, m->name);
	return m;
}

void queue_message_free(struct queue_message *m)
{
	if (!m)
		return;
	queue_body_free(m->body);
	arena_done(&m->arena);
	free(m->recipients);
	free(m);
}

struct queue_recipient *queue_message_add_recipient(struct queue_message *m, const char *address,
						    const char *original)
{
	unsigned int count = m->recipient_count;
	struct queue_recipient *recipient;

	if ((count & (count - 1)) == 0) /* 0 and the powers of two: full */
		m->recipients = memory_grow(m->recipients,
					    sizeof(*m->recipients) * (count ? count * 2 : 1));
	recipient = &m->recipients[m->recipient_count++];
	*recipient = (struct queue_recipient){
		.address = arena_strdup(&m->arena, address),
		.original = arena_strdup(&m->arena, original),
		.status = QUEUE_QUEUED,
		.due_ms = m->arrived_ms,
		.orcpt = "",
		.next_hop = "",
		.enhanced = "",
		.reason = "",
	};
	return recipient;
}

int64_t queue_message_due_ms(const struct queue_message *m)
{
	int64_t due_ms = QUEUE_NEVER;

	for (unsigned int i = 0; i < m->recipient_count; i++) {
		const struct queue_recipient *r = &m->recipients[i];

		if (queue_status_is_pending(r->status) && r->status != QUEUE_HELD)
			due_ms = MIN(due_ms, r->due_ms);
	}
	return due_ms;
}
