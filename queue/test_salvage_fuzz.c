/*
 * test_salvage_fuzz - random damage, by seeds
 *
 * Whatever is wrong, the queue opens, hands out no wrong byte, takes mail and
 * closes. A message none of whose pages was touched is there as a whole; and
 * a database that was set aside has left a sound one. In the environment
 * ROUNDS=N makes it longer, and SEED=N is the first seed.
 */
#include "queue/test_damaged.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define SECTOR 512
#define ROUNDS 250

struct damage {
	char *bytes;
	size_t size;	    /* of the file; may be cut */
	bool touched[1024]; /* by page, from 1 on */
	uint32_t random;
};

static size_t below(struct damage *d, size_t n)
{
	d->random = d->random * 1664525 + 1013904223;
	return (size_t)((uint64_t)(d->random >> 8) * n >> 24);
}

static void touch(struct damage *d, size_t offset)
{
	d->touched[offset / PAGE + 1] = true;
}

static void flip_bit(struct damage *d)
{
	size_t at = below(d, d->size);

	if (below(d, 3) == 0)
		at = at / PAGE * PAGE + at % 16; /* the header of a page */
	d->bytes[at] ^= (char)(1 << below(d, 8));
	touch(d, at);
}

static void fill_sector(struct damage *d)
{
	size_t at = below(d, d->size / SECTOR) * SECTOR;
	bool is_noise = below(d, 2);

	for (size_t i = 0; i < SECTOR; i++)
		d->bytes[at + i] = (char)(is_noise ? below(d, 256) : 0);
	touch(d, at);
}

static void fill_page(struct damage *d)
{
	size_t at = below(d, d->size / PAGE) * PAGE;
	bool is_noise = below(d, 2);

	for (size_t i = 0; i < PAGE; i++)
		d->bytes[at + i] = (char)(is_noise ? below(d, 256) : 0);
	touch(d, at);
}

/* A write that went to the wrong place: the page is there twice, and another is lost. */
static void copy_page(struct damage *d)
{
	size_t from = below(d, d->size / PAGE) * PAGE, to = below(d, d->size / PAGE) * PAGE;

	memmove(d->bytes + to, d->bytes + from, PAGE);
	touch(d, to);
}

static void swap_pages(struct damage *d)
{
	size_t a = below(d, d->size / PAGE) * PAGE, b = below(d, d->size / PAGE) * PAGE;
	char page[PAGE];

	memcpy(page, d->bytes + a, PAGE);
	memmove(d->bytes + a, d->bytes + b, PAGE);
	memcpy(d->bytes + b, page, PAGE);
	touch(d, a);
	touch(d, b);
}

/* Page size, free list, size and marks: whatever stands in the header of the file. */
static void garble_header(struct damage *d)
{
	for (size_t i = 0; i < 4; i++)
		d->bytes[below(d, 100)] = (char)below(d, 256);
	touch(d, 0);
}

static void cut(struct damage *d)
{
	size_t size = PAGE + below(d, d->size - PAGE);

	for (size_t at = size / PAGE * PAGE; at < d->size; at += PAGE)
		touch(d, at);
	d->size = size;
}

static void damage(struct damage *d)
{
	static void (*const kinds[])(struct damage *) = {
		flip_bit,  flip_bit,   fill_sector,   fill_sector, fill_page,
		copy_page, swap_pages, garble_header, cut,
	};

	kinds[below(d, ARRAY_SIZE(kinds))](d);
}

static int64_t count(struct fixture *f, const char *what, int64_t id)
{
	char text[160];

	snprintf(text, sizeof(text), "SELECT count(*) FROM %s = %lld", what, (long long)id);
	return tester_query(f->t, text);
}

/* Handed out, or still there with all that belongs to it. */
static bool is_whole(struct fixture *f, const struct fate *fate, int i)
{
	int64_t id = f->ids[i];

	return fate->is_claimed[i] || (count(f, "q_message WHERE id", id) == 1 &&
				       count(f, "q_body WHERE message", id) == 1 &&
				       count(f, "q_recipient WHERE message", id) >= RECIPIENTS);
}

static void check(struct fixture *f, const struct damage *d, bool pages[MESSAGES][1024], int seed)
{
	bool is_sound = count_files(f, "queue.db.damaged.") > 0;
	struct fate fate;

	drain(f, &fate);
	for (int i = 0; i < MESSAGES; i++) {
		bool is_touched = false;

		for (size_t page = 1; page <= f->size / PAGE; page++)
			is_touched |= pages[i][page] && d->touched[page];
		if (!is_touched && !is_whole(f, &fate, i))
			fail_msg("seed %d: message %d is lost, and was not touched", seed, i);
	}
	drain(f, &fate); /* nothing is handed out for ever */
	tester_store(f->t, 100, 1);
	tester_close(f->t);
	if (is_sound && tester_query(f->t, "SELECT count(*) FROM pragma_integrity_check "
					   "WHERE integrity_check != 'ok'") > 0)
		fail_msg("seed %d: the new database is not sound", seed);
}

static void run(struct fixture *f, int seed, bool pages[MESSAGES][1024])
{
	struct damage d = { .bytes = memory_new(f->size), .size = f->size };
	struct error err = { 0 };
	int r;

	d.random = (uint32_t)seed * 2654435761u;
	memcpy(d.bytes, f->database, f->size);
	for (size_t n = seed % 4 == 3 ? 2 + below(&d, 8) : 1; n > 0; n--)
		damage(&d);
	put_database(f, d.bytes, d.size);
	f->t->warnings = 0;
	r = tester_try_open(f->t, &err);
	if (r == -EPROTONOSUPPORT) { /* it looks like one of the future, and is left alone */
		tester_close(f->t);
		free(d.bytes);
		return;
	}
	if (r < 0)
		fail_msg("seed %d: %s", seed, err.text);
	check(f, &d, pages, seed);
	if (f->t->warnings > MESSAGES + 6)
		fail_msg("seed %d: %u warnings", seed, f->t->warnings);
	free(d.bytes);
}

static void test_random_damage(void **state)
{
	static const int found[] = { /* what once was wrong */
				     901042, 3001179, 3004823, 4001161, 6001760
	};
	bool(*pages)[1024] = memory_zeroed(sizeof(bool[MESSAGES][1024]));
	const char *rounds = getenv("ROUNDS"), *seed = getenv("SEED");
	int first = seed ? atoi(seed) : 1, count = rounds ? atoi(rounds) : ROUNDS;
	struct fixture *f = *state;

	for (int i = 0; i < MESSAGES; i++)
		mark_pages(f, f->ids[i], pages[i]);
	for (size_t i = 0; i < ARRAY_SIZE(found); i++)
		run(f, found[i], pages);
	for (int i = 0; i < count; i++)
		run(f, first + i, pages);
	free(pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_random_damage, damaged_setup,
						damaged_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
