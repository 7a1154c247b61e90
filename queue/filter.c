/* filter - patterns are compared here and not by SQL, so that all who filter mean the same */
#include "queue/filter.h"

#include <stdlib.h>
#include <string.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/*
 * '*' stands for any bytes. On a mismatch only the last '*' is given one byte
 * more, as those before it have found the earliest place that they could.
 */
static bool glob_matches(struct slice pattern, const char *text)
{
	size_t p = 0, star = SIZE_MAX;
	const char *resume = text;

	while (*text) {
		if (p < pattern.len && pattern.ptr[p] == '*') {
			star = p++;
			resume = text;
		} else if (p < pattern.len && lower(pattern.ptr[p]) == lower(*text)) {
			p++;
			text++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.ptr[p] == '*')
		p++;
	return p == pattern.len;
}

/* An address may stand in <>, and has to where it is the null reverse-path. */
static bool address_matches(const char *pattern, const char *address)
{
	struct slice rest = slice_from(pattern);

	if (rest.len >= 2 && rest.ptr[0] == '<' && rest.ptr[rest.len - 1] == '>')
		rest = slice_of(rest.ptr + 1, rest.len - 2);
	if (rest.len > 0 && rest.ptr[0] == '@') {
		address = strrchr(address, '@'); /* a local part may have one too, in quotes */
		if (!address)
			return false;
	}
	return glob_matches(rest, address);
}

bool queue_activity_has(const struct queue_activity *a, int64_t id, enum queue_status status,
			int64_t due_ms)
{
	return (status == QUEUE_QUEUED || status == QUEUE_DEFERRED) && due_ms <= a->now_ms &&
	       a->is_claimed && a->is_claimed(a->arg, id);
}

bool queue_filter_has_message(const struct queue_filter *filter, const char *sender,
			      int64_t arrived_ms)
{
	if (filter->arrived_before_ms != 0 && arrived_ms >= filter->arrived_before_ms)
		return false;
	return !filter->sender || address_matches(filter->sender, sender);
}

bool queue_filter_has_recipient(const struct queue_filter *filter, const char *address,
				const char *next_hop, enum queue_status status, bool is_active)
{
	unsigned int bit = is_active ? QUEUE_FILTER_ACTIVE : 1u << status;

	if (filter->statuses != 0 && !(filter->statuses & bit))
		return false;
	if (filter->recipient && !address_matches(filter->recipient, address))
		return false;
	return !filter->next_hop || glob_matches(slice_from(filter->next_hop), next_hop);
}

static int compare_ids(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

size_t queue_filter_sort_ids(int64_t *ids, size_t count)
{
	size_t kept = 0;

	qsort(ids, count, sizeof(*ids), compare_ids);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || ids[i] != ids[kept - 1])
			ids[kept++] = ids[i];
	return kept;
}
