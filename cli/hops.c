/* hops - see hops.h; what is told to people is in hops_text.c */
#include "cli/hops.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"
#include "cli/json.h"

/* ---- what the server says ---- */

static int64_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return slice_strdup(slice_from(value ? value : ""));
}

static struct hop *find_hop(struct hops *h, const char *next_hop)
{
	struct hop *hop = strmap_get(&h->by_name, slice_from(next_hop));

	if (hop)
		return hop;
	hop = memory_zeroed(sizeof(*hop));
	hop->next_hop = slice_strdup(slice_from(next_hop));
	strmap_put(&h->by_name, slice_from(next_hop), hop);
	return hop;
}

/* It is up if it answers, though it may take no mail. */
static void add_answer(struct hop *hop, const json_t *object)
{
	int64_t answer_ms = number(object, "last_answer_ms");

	hop->is_up |= answer_ms != 0 && !json_is_true(json_object_get(object, "is_stale"));
	hop->last_answer_ms = MAX(hop->last_answer_ms, answer_ms);
}

static void add_success(struct hop *hop, const json_t *object)
{
	json_t *tls = json_object_get(object, "tls");

	if (number(object, "last_success_ms") <= hop->last_success_ms)
		return;
	hop->last_success_ms = number(object, "last_success_ms");
	json_decref(hop->tls);
	hop->tls = tls ? json_incref(tls) : NULL;
	hop->peer_not_after_s = number(object, "peer_not_after_s");
}

static void add_error(struct hop *hop, const json_t *object)
{
	if (number(object, "last_error_ms") <= hop->last_error_ms)
		return;
	hop->last_error_ms = number(object, "last_error_ms");
	free(hop->last_error);
	hop->last_error = text(object, "last_error");
}

/* One route that is down makes its next hop so: its mail waits. */
static void add_failure(struct hop *hop, const json_t *object)
{
	int64_t since_ms = number(object, "down_since_ms"), retry_ms = number(object, "retry_ms");

	if (!json_is_true(json_object_get(object, "is_down")))
		return;
	hop->down_since_ms = hop->is_down ? MIN(hop->down_since_ms, since_ms) : since_ms;
	hop->retry_ms = hop->is_down ? MIN(hop->retry_ms, retry_ms) : retry_ms;
	hop->is_down = true;
}

static void take_hop(struct hops *h, const json_t *object)
{
	const char *next_hop = json_string_value(json_object_get(object, "next_hop"));
	struct hop *hop = next_hop ? find_hop(h, next_hop) : NULL;

	if (!hop)
		return;
	add_answer(hop, object);
	add_success(hop, object);
	add_error(hop, object);
	add_failure(hop, object);
}

static void take_alarm(struct hops *h, const json_t *object)
{
	const char *next_hop = json_string_value(json_object_get(object, "next_hop"));

	if (next_hop)
		find_hop(h, next_hop)->alarm_since_ms = number(object, "since_ms");
}

void hops_take_line(struct hops *h, const json_t *line)
{
	const json_t *part;

	if ((part = json_object_get(line, "next_hop")) != NULL)
		take_hop(h, part);
	if ((part = json_object_get(line, "alarm")) != NULL)
		take_alarm(h, part);
}

/* ---- what the queue shows ---- */

void hops_take_waiting(struct hops *h, const struct queue_stats *stats)
{
	struct hop *hop;

	if (stats->next_hop[0] == '\0')
		return;
	hop = find_hop(h, stats->next_hop);
	hop->queued += stats->recipients;
	if (stats->reason[0] && (!hop->reason || stats->oldest_ms < hop->oldest_ms)) {
		free(hop->reason);
		hop->reason = slice_strdup(slice_from(stats->reason));
	}
	if (hop->oldest_ms == 0 || stats->oldest_ms < hop->oldest_ms)
		hop->oldest_ms = stats->oldest_ms;
	if (stats->next_due_ms != INT64_MAX &&
	    (hop->next_due_ms == 0 || stats->next_due_ms < hop->next_due_ms))
		hop->next_due_ms = stats->next_due_ms;
}

/* ---- all of them ---- */

static bool is_in_trouble(const struct hop *hop)
{
	return hop->queued > 0 && (!hop->is_up || hop->last_error_ms > hop->last_answer_ms);
}

int hops_compare(const struct hop *left, const struct hop *right)
{
	if ((left->alarm_since_ms != 0) != (right->alarm_since_ms != 0))
		return left->alarm_since_ms != 0 ? -1 : 1;
	if (left->alarm_since_ms != right->alarm_since_ms)
		return left->alarm_since_ms < right->alarm_since_ms ? -1 : 1;
	if (left->is_down != right->is_down)
		return left->is_down ? -1 : 1;
	if (is_in_trouble(left) != is_in_trouble(right))
		return is_in_trouble(left) ? -1 : 1;
	if (left->queued != right->queued)
		return left->queued < right->queued ? 1 : -1;
	return strcmp(left->next_hop, right->next_hop);
}

static int compare_pointers(const void *a, const void *b)
{
	return hops_compare(*(const struct hop *const *)a, *(const struct hop *const *)b);
}

void hops_sort(struct hops *h)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	free(h->list);
	h->list = memory_zeroed(MAX(h->by_name.count, 1) * sizeof(*h->list));
	h->count = 0;
	while ((entry = strmap_next(&h->by_name, &cursor)) != NULL)
		h->list[h->count++] = entry->value;
	qsort(h->list, h->count, sizeof(*h->list), compare_pointers);
}

const struct hop *hops_find(const struct hops *h, const char *next_hop)
{
	return strmap_get(&h->by_name, slice_from(next_hop));
}

void hops_done(struct hops *h)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&h->by_name, &cursor)) != NULL) {
		struct hop *hop = entry->value;

		free(hop->next_hop);
		free(hop->last_error);
		free(hop->reason);
		json_decref(hop->tls);
		free(hop);
	}
	strmap_done(&h->by_name);
	free(h->list);
}

/* ---- one of them ---- */

void hop_json(const struct hop *hop, json_t *object)
{
	static const struct hop none;
	const char *error;

	if (!hop)
		hop = &none;
	error = hop_last_error(hop);
	json_object_set_new(object, "state", json_string(hop_state_name(hop_state(hop))));
	json_object_set_new(object, "last_success_at", cli_json_time(hop->last_success_ms));
	json_object_set_new(object, "last_error", error ? cli_json_text(error) : json_null());
	json_object_set_new(object, "last_error_at", cli_json_time(hop->last_error_ms));
	json_object_set_new(object, "retry_at", cli_json_time(hop_retry_ms(hop)));
	json_object_set_new(object, "alarm", json_boolean(hop->alarm_since_ms != 0));
	json_object_set_new(object, "alarm_since", cli_json_time(hop->alarm_since_ms));
}
