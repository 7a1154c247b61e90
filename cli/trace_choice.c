/*
 * trace_choice - whom the life of a message is told of
 *
 * Who asks for a recipient would not find it among a thousand others, so there
 * is nothing but what concerns it. Who asks for a sender gets the first of its
 * recipients, those that wait before those that do not. The others are counted.
 */
#include "cli/trace.h"

#include "queue/filter.h"

#define RECIPIENTS_MAX 20 /* of a sender's message */

static void enlist(struct trace *t, const char *recipient, bool is_sender)
{
	const struct queue_filter filter = { .recipient = t->address };
	struct slice name = slice_from(recipient);

	if (strmap_put(&t->known, name, t))
		return;
	if (queue_filter_has_recipient(&filter, recipient, "", QUEUE_QUEUED, false) ||
	    (is_sender && t->shown.count < RECIPIENTS_MAX))
		strmap_put(&t->shown, name, t);
}

static void enlist_waiting(struct trace *t, bool is_waiting, bool is_sender)
{
	const struct queue_message *m = t->showing.message;

	for (unsigned int i = 0; m && i < m->recipient_count; i++)
		if (queue_status_is_pending(m->recipients[i].status) == is_waiting)
			enlist(t, m->recipients[i].address, is_sender);
}

void trace_choose(struct trace *t)
{
	const struct queue_filter filter = { .sender = t->address };
	bool is_sender;

	if (!t->address)
		return;
	is_sender = queue_filter_has_message(&filter, trace_facts(t).sender, 0);
	enlist_waiting(t, true, is_sender);
	enlist_waiting(t, false, is_sender);
	for (const struct trace_event *e = t->first; e; e = e->next)
		enlist(t, e->entry.recipient, is_sender);
}

bool trace_shows(const struct trace *t, const char *recipient)
{
	return !t->address || strmap_get(&t->shown, slice_from(recipient));
}

size_t trace_others(const struct trace *t)
{
	return t->known.count - t->shown.count;
}
