/* Which mechanism: by strength, by what is offered, and by what the operator admits. */
#include "sasl/sasl.h"

#include <errno.h>

#include "base/macros.h"

static const struct {
	const char *name;
	bool speaks_first, binds;
} mechanisms[] = {
	{ "SCRAM-SHA-256-PLUS", true, true },
	{ "SCRAM-SHA-256", true, false },
	{ "SCRAM-SHA-1-PLUS", true, true },
	{ "SCRAM-SHA-1", true, false },
	{ "CRAM-MD5", false, false },
	{ "PLAIN", true, false },
	{ "LOGIN", false, false },
};

static bool is_offered(const char *offered, const char *mechanism)
{
	struct slice rest = slice_from(offered), word;

	while (slice_next_word(&rest, " ", &word))
		if (slice_equal_nocase(word, slice_from(mechanism)))
			return true;
	return false;
}

static bool admits_all(struct slice word)
{
	return slice_starts_nocase(word, SLICE("static:"));
}

bool sasl_filter_admits(const char *filter, const char *mechanism)
{
	struct slice rest = slice_from(filter), word;

	if (!filter || !filter[0])
		return true;
	while (slice_next_word(&rest, ", \t\r\n", &word)) {
		bool is_excluding = word.ptr[0] == '!';

		word = slice_skip(word, is_excluding ? 1 : 0);
		if (admits_all(word) || slice_equal_nocase(word, slice_from(mechanism)))
			return !is_excluding;
	}
	return false;
}

bool sasl_filter_admits_any(const char *filter)
{
	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++)
		if (sasl_filter_admits(filter, mechanisms[i].name))
			return true;
	return false;
}

/* RFC 4422 section 3.1 */
static bool is_mechanism_name(struct slice word)
{
	static const char others[] = "-_";

	for (size_t i = 0; i < word.len; i++) {
		char c = word.ptr[i];

		if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    !memchr(others, c, sizeof(others) - 1))
			return false;
	}
	return word.len > 0 && word.len <= 20;
}

int sasl_filter_check(const char *filter, struct error *err)
{
	struct slice rest = slice_from(filter), word;

	while (slice_next_word(&rest, ", \t\r\n", &word)) {
		struct slice name = slice_skip(word, word.ptr[0] == '!' ? 1 : 0);

		if (!admits_all(name) && !is_mechanism_name(name))
			return error_set(
				err, -EINVAL,
				"%.*s: expected the name of a mechanism, !NAME, or "
				"static:all at the end; files and tables are not available "
				"here",
				(int)word.len, word.ptr);
	}
	return 0;
}

const char *sasl_choose(const char *offered, const char *filter, bool can_bind)
{
	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++) {
		const char *name = mechanisms[i].name;

		if ((can_bind || !mechanisms[i].binds) && is_offered(offered, name) &&
		    sasl_filter_admits(filter, name))
			return name;
	}
	return NULL;
}

bool sasl_client_speaks_first(const char *mechanism)
{
	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++)
		if (strcmp(mechanisms[i].name, mechanism) == 0)
			return mechanisms[i].speaks_first;
	return false;
}
