/* parse - each is digits and at most one unit behind them */
#include "base/parse.h"

#include <stddef.h>

#include "base/macros.h"

struct unit {
	char letter;
	uint32_t factor;
};

static bool take_digits(struct slice *s, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;
	size_t n = 0;

	for (; n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9'; n++) {
		unsigned int digit = (unsigned int)(s->ptr[n] - '0');

		if (digit > max || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*s = slice_skip(*s, n);
	*ret = value;
	return n > 0;
}

/* The result fits in an int64_t. */
static bool parse_unit(struct slice s, const struct unit *units, size_t count, uint64_t *ret)
{
	uint64_t value;

	if (!take_digits(&s, INT64_MAX, &value) || s.len > 1)
		return false;
	if (s.len == 0) {
		*ret = value;
		return true;
	}
	for (size_t i = 0; i < count; i++) {
		if (units[i].letter != s.ptr[0])
			continue;
		if (value > INT64_MAX / units[i].factor)
			return false;
		*ret = value * units[i].factor;
		return true;
	}
	return false;
}

bool parse_uint(struct slice s, uint64_t max, uint64_t *ret)
{
	uint64_t value;

	if (!take_digits(&s, max, &value) || s.len > 0)
		return false;
	*ret = value;
	return true;
}

bool parse_duration_s(struct slice s, int64_t *ret_seconds)
{
	static const struct unit units[] = {
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 },
	};
	uint64_t seconds;

	if (!parse_unit(s, units, ARRAY_SIZE(units), &seconds))
		return false;
	*ret_seconds = (int64_t)seconds;
	return true;
}

bool parse_size(struct slice s, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{ 'k', 1u << 10 }, { 'K', 1u << 10 }, { 'm', 1u << 20 },
		{ 'M', 1u << 20 }, { 'g', 1u << 30 }, { 'G', 1u << 30 },
	};

	return parse_unit(s, units, ARRAY_SIZE(units), ret_bytes);
}

bool parse_bool(struct slice s, bool *ret)
{
	bool yes = slice_equal_nocase(s, SLICE("yes"));

	if (!yes && !slice_equal_nocase(s, SLICE("no")))
		return false;
	*ret = yes;
	return true;
}
