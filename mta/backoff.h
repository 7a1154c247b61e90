/*
 * backoff - how long to wait before the next try
 *
 * Doubles with each failure in a row between the two limits, and varies by a
 * tenth up and down so that what failed together does not return together.
 *
 * Messages that came one after another are neighbours in the database. They
 * get the same random number and return together in small groups, so that one
 * page is read and written for many of them, and not several for each.
 */
#pragma once

#include <stdint.h>

/* failures: 1 after the first. random: any number; its bits choose the jitter. Milliseconds. */
int64_t backoff_ms(unsigned int failures, int64_t minimal_s, int64_t maximal_s, uint32_t random);

/* The random number of a message. */
uint32_t backoff_random(int64_t message_id);
