/* Objects are made by jansson, which escapes, and keeps the order of the fields. */
#include "cli/json.h"

#include <jansson.h>

#include "base/clock.h"
#include "base/escape.h"

/* jansson takes UTF-8 only, and an address may be anything. */
static json_t *text_value(const char *text)
{
	json_t *value = json_string(text);
	char escaped[1024];

	return value ? value : json_string(escape_cstr(slice_from(text), escaped, sizeof(escaped)));
}

static json_t *time_value(int64_t wall_ms)
{
	char text[TIME_RFC3339_SIZE];

	return json_string(time_rfc3339(wall_ms, text));
}

/* A recipient that nobody will try again has no next attempt. */
static json_t *recipient_value(const struct queue_recipient *r)
{
	json_t *object = json_object();
	bool is_waiting = queue_status_is_pending(r->status) && r->status != QUEUE_HELD;

	json_object_set_new(object, "address", text_value(r->address));
	json_object_set_new(object, "status", json_string(queue_status_name(r->status)));
	json_object_set_new(object, "attempts", json_integer(r->attempts));
	json_object_set_new(object, "next_attempt_at",
			    is_waiting ? time_value(r->due_ms) : json_null());
	json_object_set_new(object, "next_hop", text_value(r->next_hop));
	json_object_set_new(object, "enhanced_status", text_value(r->enhanced));
	json_object_set_new(object, "reason", text_value(r->reason));
	return object;
}

static int append_bytes(const char *bytes, size_t len, void *out)
{
	buf_append(out, bytes, len);
	return 0;
}

void cli_json_message(struct buf *out, const struct queue_message *m, bool with_done)
{
	json_t *object = json_object(), *recipients = json_array();

	json_object_set_new(object, "id", json_string(m->name));
	json_object_set_new(object, "arrived_at", time_value(m->arrived_ms));
	json_object_set_new(object, "size", json_integer((json_int_t)m->size));
	json_object_set_new(object, "sender", text_value(m->sender));
	for (unsigned int i = 0; i < m->recipient_count; i++)
		if (with_done || queue_status_is_pending(m->recipients[i].status))
			json_array_append_new(recipients, recipient_value(&m->recipients[i]));
	json_object_set_new(object, "recipients", recipients);
	json_dump_callback(object, append_bytes, out, JSON_COMPACT);
	buf_append_string(out, "\n");
	json_decref(object);
}
