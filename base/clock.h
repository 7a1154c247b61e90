/*
 * clock - the time, passed in so that tests can make their own
 *
 * Wall-clock times that are stored are int64_t Unix milliseconds (suffix _ms
 * on the name) or seconds (_s). Durations are measured on the monotonic clock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct clock {
	int64_t (*wall_ms)(const struct clock *clock);
	int64_t (*mono_ms)(const struct clock *clock);
};

extern const struct clock clock_system;

static inline int64_t clock_wall_ms(const struct clock *clock)
{
	return clock->wall_ms(clock);
}

static inline int64_t clock_mono_ms(const struct clock *clock)
{
	return clock->mono_ms(clock);
}

#define TIME_RFC3339_SIZE  32
#define TIME_RFC5322_SIZE  40
#define TIME_DURATION_SIZE 32

/* "2026-11-21T07:12:01.123Z"; UTC. Returns out. */
const char *time_rfc3339(int64_t wall_ms, char out[TIME_RFC3339_SIZE]);

/* "Sat, 21 Nov 2026 07:12:01 +0000 (UTC)"; local zone. RFC 5322 section 3.3. Returns out. */
const char *time_rfc5322(int64_t wall_ms, char out[TIME_RFC5322_SIZE]);

/* "3m12s", "2d4h", "0s" for less: the two largest units, where more would be noise. Returns out. */
const char *time_duration(int64_t seconds, char out[TIME_DURATION_SIZE]);
