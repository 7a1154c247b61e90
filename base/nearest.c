/*
 * nearest - the optimal string alignment distance: the least number of
 * letters added, dropped, changed or swapped with their neighbour
 *
 * Rows of the usual table are kept three at a time, on the stack; names too
 * long for them are no names of ours.
 */
#include "base/nearest.h"

#include <string.h>
#include <strings.h>

#include "base/macros.h"

#define NAME_LEN_MAX 127

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][NAME_LEN_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3];
		const size_t *swap = rows[(i + 1) % 3];
		char c = lower(a[i - 1]);

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			char d = lower(b[j - 1]);
			size_t least = MIN(above[j], row[j - 1]) + 1;

			least = MIN(least, above[j - 1] + (c != d));
			if (i > 1 && j > 1 && c == lower(b[j - 2]) && d == lower(a[i - 2]))
				least = MIN(least, swap[j - 2] + 1);
			row[j] = least;
		}
	}
	return rows[a_len % 3][b_len];
}

const char *nearest_name(const char *name, const char *const *names, size_t count)
{
	size_t len = strlen(name), best;
	const char *found = NULL;

	if (len == 0 || len > NAME_LEN_MAX)
		return NULL;
	best = MAX(len / 3, 1) + 1;
	for (size_t i = 0; i < count; i++) {
		size_t other_len = strlen(names[i]), d;

		if (other_len > NAME_LEN_MAX)
			continue;
		d = distance(name, len, names[i], other_len);
		if (d < best) {
			best = d;
			found = names[i];
		}
	}
	return found;
}
