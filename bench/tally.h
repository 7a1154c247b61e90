/*
 * tally - how often each number was seen, when first, and times of which percentiles are wanted
 *
 * Zero a struct to begin. Out of memory ends the program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tally {
	uint16_t *counts; /* of each number */
	double *firsts;	  /* when it was first seen; NULL: has_times is not set */
	size_t size;
	bool has_times;
};

/* Number n was seen so many times more. Returns how often it had been before. */
unsigned int tally_add(struct tally *t, unsigned int n, unsigned int times, double now);

/* How many numbers were seen more often than that. */
unsigned int tally_above(const struct tally *t, unsigned int times);

/* Write "NUMBER TIMES" or "NUMBER TIMES SECONDS" for each that was seen. */
void tally_write(const struct tally *t, const char *path);
void tally_done(struct tally *t);

struct times {
	uint32_t *us;
	size_t count, size;
};

void times_add(struct times *t, double us); /* less than nothing is nothing */
void times_sort(struct times *t);	    /* before times_percentile_ms() */

/* What a share of all stayed within; 0 when there are none. */
double times_percentile_ms(const struct times *t, double share);
void times_done(struct times *t);
