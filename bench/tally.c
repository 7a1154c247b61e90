/*
 * tally - plain arrays, indexed by number, that double when one is beyond their end
 */
#include "bench/tally.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/tool.h"

static void *grow(void *array, size_t item_size, size_t count, size_t new_count)
{
	char *grown = realloc(array, new_count * item_size);

	if (!grown)
		tool_die("out of memory");
	memset(grown + count * item_size, 0, (new_count - count) * item_size);
	return grown;
}

unsigned int tally_add(struct tally *t, unsigned int n, unsigned int times, double now)
{
	unsigned int before;

	if (n >= t->size) {
		size_t size = 2 * (size_t)n + 1024;

		t->counts = grow(t->counts, sizeof(t->counts[0]), t->size, size);
		if (t->has_times)
			t->firsts = grow(t->firsts, sizeof(t->firsts[0]), t->size, size);
		t->size = size;
	}
	before = t->counts[n];
	if (t->has_times && before == 0)
		t->firsts[n] = now;
	if (before + times <= UINT16_MAX)
		t->counts[n] = (uint16_t)(before + times);
	return before;
}

unsigned int tally_above(const struct tally *t, unsigned int times)
{
	unsigned int numbers = 0;

	for (size_t i = 0; i < t->size; i++)
		numbers += t->counts[i] > times;
	return numbers;
}

void tally_write(const struct tally *t, const char *path)
{
	FILE *file = fopen(path, "we");

	if (!file)
		tool_die("%s: %s", path, strerror(errno));
	for (size_t i = 0; i < t->size; i++) {
		if (t->counts[i] > 0 && t->has_times)
			fprintf(file, "%zu %u %.6f\n", i, t->counts[i], t->firsts[i]);
		else if (t->counts[i] > 0)
			fprintf(file, "%zu %u\n", i, t->counts[i]);
	}
	if (fclose(file) != 0)
		tool_die("%s: %s", path, strerror(errno));
}

void tally_done(struct tally *t)
{
	free(t->counts);
	free(t->firsts);
	*t = (struct tally){ 0 };
}

void times_add(struct times *t, double us)
{
	if (t->count == t->size) {
		size_t size = 2 * t->size + 1024;

		t->us = grow(t->us, sizeof(t->us[0]), t->size, size);
		t->size = size;
	}
	t->us[t->count++] = us > 0 ? (uint32_t)us : 0;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void times_sort(struct times *t)
{
	if (t->count > 0)
		qsort(t->us, t->count, sizeof(t->us[0]), by_size);
}

double times_percentile_ms(const struct times *t, double share)
{
	return t->count > 0 ? t->us[(size_t)(share * (double)(t->count - 1))] / 1e3 : 0;
}

void times_done(struct times *t)
{
	free(t->us);
	*t = (struct times){ 0 };
}
