/* selection - see selection.h */
#include "cli/selection.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "base/parse.h"

#define OLDER_THAN_MAX_S (INT64_C(100) * 366 * 86400)

/* ---- from words to a request ---- */

static void put_text(json_t *request, const char *name, const char *text)
{
	if (text)
		json_object_set_new(request, name, json_string(text));
}

static int put_statuses(json_t *request, const char *list, struct error *err)
{
	struct slice rest = slice_from(list), word;
	json_t *names = json_array();

	while (slice_next_word(&rest, ", ", &word))
		json_array_append_new(names, json_stringn(word.ptr, word.len));
	json_object_set_new(request, "statuses", names);
	return json_array_size(names) > 0 ? 0 : error_set(err, -EINVAL, "--status needs a value");
}

static bool is_utf8(const char *text)
{
	json_t *value = text ? json_string(text) : json_null();

	json_decref(value);
	return value;
}

int selection_put(json_t *request, const struct selection_words *words, struct error *err)
{
	int64_t seconds;

	if (!is_utf8(words->sender) || !is_utf8(words->recipient) || !is_utf8(words->next_hop) ||
	    !is_utf8(words->status))
		return error_set(err, -EINVAL, "a filter is not UTF-8");
	if (words->all)
		json_object_set_new(request, "all", json_true());
	put_text(request, "sender", words->sender);
	put_text(request, "recipient", words->recipient);
	put_text(request, "next_hop", words->next_hop);
	if (words->older_than) {
		if (!parse_duration_s(slice_from(words->older_than), &seconds))
			return error_set(err, -EINVAL,
					 "--older-than %s: expected a duration such as 30s, 5m, "
					 "4h or 5d",
					 words->older_than);
		json_object_set_new(request, "older_than", json_integer(seconds));
	}
	return words->status ? put_statuses(request, words->status, err) : 0;
}

/* ---- from a request to a filter ---- */

static const struct {
	const char *name;
	unsigned int bit;
} statuses[] = {
	{ "queued", 1u << QUEUE_QUEUED },
	{ "active", QUEUE_FILTER_ACTIVE },
	{ "deferred", 1u << QUEUE_DEFERRED },
	{ "held", 1u << QUEUE_HELD },
};

static int take_status(void *arg, const char *text, struct error *err)
{
	struct selection *s = arg;

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		if (strcmp(text, statuses[i].name) == 0) {
			s->filter.statuses |= statuses[i].bit;
			return 0;
		}
	}
	return error_set(err, -EINVAL,
			 "status %.40s: unknown; expected queued, active, deferred or held", text);
}

static int take_id(void *arg, const char *text, struct error *err)
{
	struct selection *s = arg;
	size_t count = s->filter.id_count;

	if ((count & (count - 1)) == 0) /* full at each power of two */
		s->ids = memory_grow(s->ids, MAX(count * 2, 1) * sizeof(*s->ids));
	if (!queue_id_parse(text, &s->ids[count]))
		return error_set(err, -EINVAL, "%.40s: not the id of a message", text);
	s->filter.id_count++;
	return 0;
}

static int take_age(const struct control_request *request, int64_t now_ms, struct selection *s,
		    struct error *err)
{
	int64_t seconds = INT64_MIN;
	int r = control_request_number(request, "older_than", &seconds, err);

	if (r < 0 || seconds == INT64_MIN)
		return r;
	if (seconds < 0 || seconds > OLDER_THAN_MAX_S)
		return error_set(err, -EINVAL, "older_than: out of range");
	s->filter.arrived_before_ms = now_ms - seconds * 1000;
	return 0;
}

/* A value that came out empty, as that of an unset shell variable, must not mean everything. */
static int take_pattern(const struct control_request *request, const char *name, const char **ret,
			struct error *err)
{
	int r = control_request_text(request, name, ret, err);

	if (r == 0 && *ret && **ret == '\0')
		return error_set(err, -EINVAL, "%s: empty; <> is the null sender", name);
	return r;
}

static int take_all(const struct control_request *request, int64_t now_ms, struct selection *s,
		    struct error *err)
{
	struct queue_filter *f = &s->filter;
	int r = control_request_flag(request, "all", &s->is_all, err);

	if (r == 0)
		r = control_request_texts(request, "ids", take_id, s, err);
	if (r == 0)
		r = take_pattern(request, "sender", &f->sender, err);
	if (r == 0)
		r = take_pattern(request, "recipient", &f->recipient, err);
	if (r == 0)
		r = take_pattern(request, "next_hop", &f->next_hop, err);
	if (r == 0)
		r = control_request_texts(request, "statuses", take_status, s, err);
	return r == 0 ? take_age(request, now_ms, s, err) : r;
}

int selection_take(const struct control_request *request, int64_t now_ms, struct selection *ret,
		   struct error *err)
{
	struct selection s = { .is_all = false };
	const struct queue_filter *f = &s.filter;
	int r = take_all(request, now_ms, &s, err);

	s.filter.ids = s.ids;
	s.is_given = f->id_count > 0 || f->sender || f->recipient || f->next_hop || f->statuses ||
		     f->arrived_before_ms != 0;
	if (r == 0 && s.is_all && s.is_given)
		r = error_set(err, -EINVAL, "--all is everything, and goes with no id or filter");
	if (r < 0) {
		selection_done(&s);
		return r;
	}
	*ret = s;
	return 0;
}

int selection_from_words(const struct selection_words *words, const char *command,
			 struct control_request **ret_request, struct selection *ret,
			 struct error *err)
{
	json_t *object = json_pack("{s:s}", "command", command);
	int r = selection_put(object, words, err);

	if (r < 0) {
		json_decref(object);
		return r;
	}
	r = control_request_from(object, ret_request, err);
	return r == 0 ? selection_take(*ret_request, clock_wall_ms(&clock_system), ret, err) : r;
}

void selection_done(struct selection *s)
{
	free(s->ids);
	s->ids = NULL;
}
