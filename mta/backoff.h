/*
 * backoff - how long to wait before the next try
 *
 * Doubles with each failure in a row between the two limits, and varies by a
 * tenth up and down so that what failed together does not return together.
 */
#pragma once

#include <stdint.h>

/* failures: 1 after the first. random: any number; its bits choose the jitter. Milliseconds. */
int64_t backoff_ms(unsigned int failures, int64_t minimal_s, int64_t maximal_s, uint32_t random);
