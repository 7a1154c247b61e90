/* Objects are made by jansson, which escapes, and keeps the order of the fields. */
#include "cli/json.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/escape.h"

/* jansson takes UTF-8 only, and an address may be anything. */
json_t *cli_json_text(const char *text)
{
	json_t *value = json_string(text);
	char escaped[1024];

	return value ? value : json_string(escape_cstr(slice_from(text), escaped, sizeof(escaped)));
}

json_t *cli_json_time(int64_t wall_ms)
{
	char text[TIME_RFC3339_SIZE];

	return wall_ms == 0 ? json_null() : json_string(time_rfc3339(wall_ms, text));
}

/* A recipient that nobody will try again has no next attempt. */
static json_t *recipient_value(const struct queue_message *m, const struct queue_recipient *r,
			       const struct queue_view *v)
{
	json_t *object = json_object();
	bool is_waiting = queue_status_is_pending(r->status) && r->status != QUEUE_HELD;

	json_object_set_new(object, "address", cli_json_text(r->address));
	json_object_set_new(object, "status", json_string(queue_view_status(v, m, r)));
	json_object_set_new(object, "attempts", json_integer(r->attempts));
	json_object_set_new(object, "next_attempt_at",
			    is_waiting ? cli_json_time(r->due_ms) : json_null());
	json_object_set_new(object, "next_hop", cli_json_text(r->next_hop));
	json_object_set_new(object, "enhanced_status", cli_json_text(r->enhanced));
	json_object_set_new(object, "reason", cli_json_text(r->reason));
	/* Then next_attempt_at is only the latest that it comes. */
	json_object_set_new(object, "waits_for_next_hop",
			    json_boolean(r->status == QUEUE_DEFERRED && r->waits_for != 0));
	return object;
}

json_t *cli_json_message(const struct queue_message *m, const struct queue_view *v, bool with_done)
{
	json_t *object = json_object(), *recipients = json_array();

	json_object_set_new(object, "id", json_string(m->name));
	json_object_set_new(object, "arrived_at", cli_json_time(m->arrived_ms));
	json_object_set_new(object, "size", json_integer((json_int_t)m->size));
	json_object_set_new(object, "sender", cli_json_text(m->sender));
	for (unsigned int i = 0; i < m->recipient_count; i++)
		if (with_done || queue_status_is_pending(m->recipients[i].status))
			json_array_append_new(recipients, recipient_value(m, &m->recipients[i], v));
	json_object_set_new(object, "recipients", recipients);
	return object;
}

static int append_bytes(const char *bytes, size_t len, void *out)
{
	buf_append(out, bytes, len);
	return 0;
}

void cli_json_print(struct buf *out, const json_t *object)
{
	json_dump_callback(object, append_bytes, out, JSON_COMPACT);
	buf_append_string(out, "\n");
}
