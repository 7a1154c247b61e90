/* clock - the system's clocks, and times as text (names of days and months are never localized) */
#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/macros.h"

static int64_t read_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t system_wall_ms(const struct clock *clock)
{
	(void)clock;
	return read_ms(CLOCK_REALTIME);
}

static int64_t system_mono_ms(const struct clock *clock)
{
	(void)clock;
	return read_ms(CLOCK_MONOTONIC);
}

const struct clock clock_system = {
	.wall_ms = system_wall_ms,
	.mono_ms = system_mono_ms,
};

/* Rounded down, also before 1970, and never beyond the years that have four digits. */
static void split_ms(int64_t wall_ms, time_t *ret_second, unsigned int *ret_ms)
{
	const int64_t first_ms = -62167219200000, last_ms = 253402300799999;
	int64_t ms = wall_ms;

	if (ms < first_ms)
		ms = first_ms;
	if (ms > last_ms)
		ms = last_ms;
	*ret_ms = (unsigned int)((ms % 1000 + 1000) % 1000);
	*ret_second = (time_t)((ms - *ret_ms) / 1000);
}

const char *time_rfc3339(int64_t wall_ms, char out[TIME_RFC3339_SIZE])
{
	unsigned int ms;
	time_t second;
	struct tm tm;
	int len;

	split_ms(wall_ms, &second, &ms);
	gmtime_r(&second, &tm);
	len = snprintf(out, TIME_RFC3339_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ",
		       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
		       tm.tm_sec, ms);
	assert(len < TIME_RFC3339_SIZE);
	return out;
}

const char *time_rfc5322(int64_t wall_ms, char out[TIME_RFC5322_SIZE])
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	unsigned int ms;
	time_t second;
	struct tm tm;
	long offset;
	int len, r;

	split_ms(wall_ms, &second, &ms);
	localtime_r(&second, &tm);
	offset = labs(tm.tm_gmtoff) / 60;
	len = snprintf(out, TIME_RFC5322_SIZE, "%s, %02d %s %04d %02d:%02d:%02d %c%02ld%02ld",
		       days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
		       tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_gmtoff < 0 ? '-' : '+', offset / 60,
		       offset % 60);
	assert(len < TIME_RFC5322_SIZE);

	/* The name is a comment for people: rather none than half of a long one. */
	r = snprintf(out + len, (size_t)(TIME_RFC5322_SIZE - len), " (%s)", tm.tm_zone);
	if (r >= TIME_RFC5322_SIZE - len)
		out[len] = '\0';
	return out;
}

const char *time_duration(int64_t seconds, char out[TIME_DURATION_SIZE])
{
	static const struct {
		int64_t seconds;
		char letter;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
	int64_t left = MAX(seconds, 0);
	size_t i = 0;
	int len;

	while (i + 1 < ARRAY_SIZE(units) && left < units[i].seconds)
		i++;
	len = snprintf(out, TIME_DURATION_SIZE, "%" PRId64 "%c", left / units[i].seconds,
		       units[i].letter);
	left %= units[i].seconds;
	if (i + 1 < ARRAY_SIZE(units) && left >= units[i + 1].seconds)
		snprintf(out + len, (size_t)(TIME_DURATION_SIZE - len), "%" PRId64 "%c",
			 left / units[i + 1].seconds, units[i + 1].letter);
	return out;
}
