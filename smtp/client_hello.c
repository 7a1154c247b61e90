/*
 * What a server's reply to EHLO offers (RFC 5321 section 4.1.1.1). Unknown
 * keywords and parameters that make no sense are passed over: a capability
 * that is not understood is not used.
 */
#include "smtp/client_internal.h"

#include "base/macros.h"
#include "base/parse.h"

#define FLAG(name) offsetof(struct smtp_capabilities, name)

static const struct {
	const char *keyword;
	size_t flag; /* offset of a bool */
} keywords[] = {
	{ "8BITMIME", FLAG(eightbitmime) },
	{ "BINARYMIME", FLAG(binarymime) },
	{ "CHUNKING", FLAG(chunking) },
	{ "DSN", FLAG(dsn) },
	{ "ENHANCEDSTATUSCODES", FLAG(enhanced_codes) },
	{ "PIPELINING", FLAG(pipelining) },
	{ "REQUIRETLS", FLAG(requiretls) },
	{ "SIZE", FLAG(size) },
	{ "SMTPUTF8", FLAG(smtputf8) },
	{ "STARTTLS", FLAG(starttls) },
};

/* RFC 4422 section 3.1. They are compared and logged later, so nothing else gets in. */
static bool is_mechanism(struct slice word)
{
	for (size_t i = 0; i < word.len; i++) {
		char c = word.ptr[i];

		if (!(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_')
			return false;
	}
	return word.len > 0 && word.len <= 20;
}

/* "AUTH PLAIN LOGIN", or "AUTH=PLAIN LOGIN" of old servers; the first line counts. */
static void parse_auth(struct slice mechanisms, char auth[AUTH_TEXT_SIZE])
{
	struct slice word;
	size_t len = 0;

	if (auth[0])
		return;
	while (slice_next_word(&mechanisms, " \t", &word)) {
		if (!is_mechanism(word) || len + 1 + word.len >= AUTH_TEXT_SIZE)
			continue;
		if (len > 0)
			auth[len++] = ' ';
		memcpy(auth + len, word.ptr, word.len);
		len += word.len;
		auth[len] = '\0';
	}
}

/*
 * "LIMITS MAILMAX=100 RCPTMAX=50" (RFC 9422). A name that is not known, or a
 * value that makes no sense (0 does not), is as if it were not there.
 */
static void parse_limits(struct slice parameters, struct smtp_limits *limits)
{
	const struct {
		struct slice name;
		unsigned int *limit;
	} known[] = {
		{ SLICE("MAILMAX="), &limits->mail_max },
		{ SLICE("RCPTMAX="), &limits->rcpt_max },
		{ SLICE("RCPTDOMAINMAX="), &limits->rcpt_domain_max },
	};
	struct slice word;
	uint64_t value;

	while (slice_next_word(&parameters, " \t", &word)) {
		for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
			if (slice_starts_nocase(word, known[i].name) &&
			    parse_uint(slice_skip(word, known[i].name.len), 999999, &value))
				*known[i].limit = (unsigned int)value;
		}
	}
}

static bool is_discarded(struct slice keyword, const char *discard)
{
	struct slice rest = slice_from(discard ? discard : ""), word;

	keyword = slice_first(keyword, slice_find(keyword, '=')); /* "AUTH=LOGIN" */
	while (slice_next_word(&rest, " \t,", &word)) {
		if (slice_equal_nocase(word, keyword))
			return true;
	}
	return false;
}

static void parse_line(struct slice line, const char *discard, struct smtp_capabilities *c,
		       char auth[AUTH_TEXT_SIZE])
{
	struct slice rest = line, word, parameter;

	if (!slice_next_word(&rest, " \t", &word) || is_discarded(word, discard))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
		if (slice_equal_nocase(word, slice_from(keywords[i].keyword)))
			*(bool *)((char *)c + keywords[i].flag) = true;
	}

	if (slice_equal_nocase(word, SLICE("AUTH")))
		parse_auth(rest, auth);
	else if (slice_starts_nocase(line, SLICE("AUTH=")))
		parse_auth(slice_skip(line, strlen("AUTH=")), auth);

	if (slice_equal_nocase(word, SLICE("LIMITS")))
		parse_limits(rest, &c->limits);

	/* "SIZE" alone and "SIZE 0" announce no limit (RFC 1870 section 4). */
	if (slice_equal_nocase(word, SLICE("SIZE")) && slice_next_word(&rest, " \t", &parameter) &&
	    !parse_uint(parameter, UINT64_MAX, &c->size_limit))
		c->size_limit = 0;
}

void client_capabilities_parse(struct slice lines, const char *discard,
			       struct smtp_capabilities *ret, char auth[AUTH_TEXT_SIZE])
{
	auth[0] = '\0';
	*ret = (struct smtp_capabilities){ .esmtp = true, .auth = auth };

	/* The first line is the server's name and a greeting. */
	lines = slice_skip(lines, slice_find(lines, '\n') + 1);
	while (lines.len > 0) {
		size_t n = slice_find(lines, '\n');

		parse_line(slice_trim(slice_first(lines, n)), discard, ret, auth);
		lines = slice_skip(lines, n + 1);
	}
}
