/*
 * policy - Postfix's words for TLS, read strictly
 *
 * Whatever is not understood is an error: a policy read wrongly could send
 * mail in the clear. What other versions of these words mean and this one
 * can't do is named as such, so that nobody takes it for a typing error.
 */
#include "tls/policy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>

#include "base/buf.h"
#include "base/escape.h"
#include "base/macros.h"
#include "base/nearest.h"

#define WHITE_SPACE "\t\r\n "

/* In the order of enum tls_level; those behind are known to Postfix, and not built yet. */
static const char *const level_names[] = {
	"none",	  "may",	 "encrypt", "verify", /* works */
	"secure", "fingerprint", "dane",    "dane-only",
};

#define LEVELS_BUILT 4
#define LEVELS_VALID "none, may, encrypt, verify"

const char *tls_level_name(enum tls_level level)
{
	assert(level <= TLS_LEVEL_DANE_ONLY);
	return level_names[level];
}

const char *tls_mode_name(enum tls_mode mode)
{
	switch (mode) {
	case TLS_MODE_NONE:
		return "none";
	case TLS_MODE_STARTTLS:
		return "starttls";
	case TLS_MODE_IMPLICIT:
		return "implicit";
	}
	assert(0);
	return NULL;
}

/* The known name nearest to text, for "did you mean", or NULL. */
static const char *did_you_mean(struct slice text, const char *const *names, size_t count)
{
	char typed[64];

	if (!slice_copy(text, typed, sizeof(typed)))
		return NULL;
	return nearest_name(typed, names, count);
}

int tls_level_parse(struct slice text, enum tls_level *ret, struct error *err)
{
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (!slice_equal_nocase(text, slice_from(level_names[i])))
			continue;
		if (i >= LEVELS_BUILT)
			return error_set(err, -EINVAL,
					 "level %s is not available in this version; "
					 "expected " LEVELS_VALID,
					 level_names[i]);
		*ret = (enum tls_level)i;
		return 0;
	}

	near = did_you_mean(text, level_names, LEVELS_BUILT);
	return error_set(err, -EINVAL, "unknown level; expected " LEVELS_VALID "%s%s%s",
			 near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static const char *const protocol_names[] = {
	"SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3",
};

#define PROTOCOL_1_2	 4 /* their places in that table */
#define PROTOCOL_1_3	 5
#define PROTOCOLS_ALL	 0x3fu
#define PROTOCOLS_VALID	 "expected >=TLSv1.2, >=TLSv1.3, TLSv1.3 or a list like !SSLv3, !TLSv1"
#define PROTOCOLS_SPACED ",:" WHITE_SPACE

/* What a list of protocols has said so far; sets are masks of protocol_names[]. */
struct protocols {
	unsigned int included, excluded;
	unsigned int at_least; /* place of the lower bound */
};

static int protocol_find(struct slice name, unsigned int *ret, struct error *err)
{
	const char *near;
	char shown[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(protocol_names); i++) {
		if (slice_equal_nocase(name, slice_from(protocol_names[i]))) {
			*ret = i;
			return 0;
		}
	}

	near = did_you_mean(name, protocol_names, ARRAY_SIZE(protocol_names));
	return error_set(err, -EINVAL, "unknown protocol \"%s\"; " PROTOCOLS_VALID "%s%s%s",
			 escape_cstr(name, shown, sizeof(shown)), near ? " (did you mean " : "",
			 near ? near : "", near ? "?)" : "");
}

static int refuse_old(unsigned int protocol, struct error *err)
{
	/* RFC 8996 ends TLS 1.0 and 1.1; they can be asked for, but are not there. */
	return error_set(err, -EINVAL, "%s is not offered (RFC 8996); " PROTOCOLS_VALID,
			 protocol_names[protocol]);
}

static int refuse_without_1_3(struct error *err)
{
	return error_set(err, -EINVAL, "TLSv1.3 can't be switched off; " PROTOCOLS_VALID);
}

static int protocols_take(struct protocols *p, struct slice word, struct error *err)
{
	unsigned int protocol = PROTOCOL_1_2;
	bool exclude = false;
	char bound = '\0';
	int r;

	if (word.len > 2 && (word.ptr[0] == '>' || word.ptr[0] == '<') && word.ptr[1] == '=') {
		bound = word.ptr[0];
		word = slice_skip(word, 2);
	} else if (word.len > 1 && word.ptr[0] == '!') {
		exclude = true;
		word = slice_skip(word, 1);
	}
	r = protocol_find(word, &protocol, err);
	if (r < 0)
		return r;

	if (exclude) {
		p->excluded |= 1u << protocol;
		return 0;
	}
	if (bound == '<')
		return protocol == PROTOCOL_1_3 ? 0 : refuse_without_1_3(err);
	if (protocol < PROTOCOL_1_2)
		return refuse_old(protocol, err);
	if (bound == '>')
		p->at_least = MAX(p->at_least, protocol);
	else
		p->included |= 1u << protocol;
	return 0;
}

int tls_protocols_parse(struct slice text, enum tls_version *ret_min, struct error *err)
{
	struct protocols p = { .at_least = PROTOCOL_1_2 };
	unsigned int enabled;
	struct slice word;
	int r;

	while (slice_next_word(&text, PROTOCOLS_SPACED, &word)) {
		r = protocols_take(&p, word, err);
		if (r < 0)
			return r;
	}

	enabled = (p.included ? p.included : PROTOCOLS_ALL) & ~p.excluded;
	if (!(enabled & 1u << PROTOCOL_1_3))
		return refuse_without_1_3(err);
	*ret_min = p.at_least == PROTOCOL_1_3 || !(enabled & 1u << PROTOCOL_1_2) ? TLS_VERSION_1_3
										 : TLS_VERSION_1_2;
	return 0;
}

/* Letters, digits, hyphens and underscores in labels: what a DNS name of a host may be. */
static bool is_host_name(struct slice s)
{
	size_t label = 0;

	if (s.len == 0 || s.len > 253)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			   (c >= 'A' && c <= 'Z') || c == '-' || c == '_') {
			if (++label > 63)
				return false;
		} else {
			return false;
		}
	}
	return true; /* one dot at the end is fine */
}

static bool is_address(struct slice s)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char binary[16];

	return slice_copy(s, text, sizeof(text)) &&
	       (inet_pton(AF_INET, text, binary) == 1 || inet_pton(AF_INET6, text, binary) == 1);
}

/*
 * One name of match=, from the front of *rest. Colons separate names, so an
 * IPv6 address stands in brackets, which are no part of the name.
 */
static bool next_match_name(struct slice *rest, struct slice *ret_name)
{
	size_t end;

	while (rest->len > 0 && rest->ptr[0] == ':')
		*rest = slice_skip(*rest, 1);
	if (rest->len == 0)
		return false;
	end = slice_find(*rest, ']');
	if (rest->ptr[0] == '[' && end < rest->len) {
		*ret_name = slice_skip(slice_first(*rest, end), 1);
		*rest = slice_skip(*rest, end + 1);
		return true;
	}
	end = slice_find(*rest, ':');
	*ret_name = slice_first(*rest, end);
	*rest = slice_skip(*rest, end);
	return true;
}

static int check_match_name(struct slice name, struct error *err)
{
	struct slice host = name.len > 0 && name.ptr[0] == '.' ? slice_skip(name, 1) : name;
	char shown[128];

	if (is_host_name(host) || is_address(name))
		return 0;
	return error_set(err, -EINVAL,
			 "\"%s\" is no name to match; expected a host name, .parent, an address, "
			 "nexthop or hostname",
			 escape_cstr(name, shown, sizeof(shown)));
}

/* Every match= of a policy adds its names, as in Postfix. */
static int take_match(struct tls_policy *policy, struct slice value, struct arena *arena,
		      struct error *err)
{
	unsigned int count = 0;
	struct slice rest, name;
	const char **names;
	int r;

	for (rest = value; next_match_name(&rest, &name); count++) {
		r = check_match_name(name, err);
		if (r < 0)
			return r;
	}
	if (count == 0)
		return error_set(err, -EINVAL, "no name to match is given");

	names = arena_alloc(arena, (policy->match_count + count) * sizeof(*names));
	for (unsigned int i = 0; i < policy->match_count; i++)
		names[i] = policy->match[i];
	for (rest = value; next_match_name(&rest, &name);)
		names[policy->match_count++] = arena_slicedup(arena, name);
	policy->match = names;
	return 0;
}

static int take_servername(struct tls_policy *policy, struct slice value, struct arena *arena,
			   struct error *err)
{
	if (slice_equal_nocase(value, SLICE("hostname")) ||
	    slice_equal_nocase(value, SLICE("nexthop"))) {
		policy->servername = NULL;
		return 0;
	}
	/* RFC 6066 section 3: no addresses, and no dot at the end. */
	if (!is_host_name(value) || is_address(value) || value.ptr[value.len - 1] == '.')
		return error_set(err, -EINVAL, "expected a host name");
	policy->servername = arena_slicedup(arena, value);
	return 0;
}

enum attribute {
	ATTRIBUTE_TLS,
	ATTRIBUTE_MATCH,
	ATTRIBUTE_PROTOCOLS,
	ATTRIBUTE_SERVERNAME,
	ATTRIBUTE_FINGERPRINT,
};

static const char *const attribute_names[] = {
	"tls", "match", "protocols", "servername", "fingerprint",
};

/* fingerprint is known, not valid. */
#define ATTRIBUTES_VALID "expected tls, match, protocols, servername"

static int attribute_find(struct slice name, enum attribute *ret, struct error *err)
{
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(attribute_names); i++) {
		if (slice_equal_nocase(name, slice_from(attribute_names[i]))) {
			*ret = (enum attribute)i;
			return 0;
		}
	}

	near = did_you_mean(name, attribute_names, ATTRIBUTE_FINGERPRINT);
	return error_set(err, -EINVAL, "unknown attribute; " ATTRIBUTES_VALID "%s%s%s",
			 near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static int take_attribute(enum attribute attribute, struct slice value, struct arena *arena,
			  struct tls_policy *policy, struct error *err)
{
	switch (attribute) {
	case ATTRIBUTE_TLS:
		return tls_level_parse(value, &policy->level, err);
	case ATTRIBUTE_MATCH:
		return take_match(policy, value, arena, err);
	case ATTRIBUTE_PROTOCOLS:
		if (value.len == 0)
			return error_set(err, -EINVAL, PROTOCOLS_VALID);
		return tls_protocols_parse(value, &policy->min_version, err);
	case ATTRIBUTE_SERVERNAME:
		return take_servername(policy, value, arena, err);
	case ATTRIBUTE_FINGERPRINT:
		return error_set(err, -EINVAL, "not available in this version");
	}
	assert(0);
	return -EINVAL;
}

int tls_policy_parse(struct slice attributes, struct arena *arena, struct tls_policy *policy,
		     bool *ret_level_given, struct error *err)
{
	struct tls_policy p = *policy;
	unsigned int seen = 0;
	struct slice word;

	p.match = NULL; /* names replace what a wider policy said, and add to each other */
	p.match_count = 0;
	while (slice_next_word(&attributes, WHITE_SPACE, &word)) {
		size_t equals = slice_find(word, '=');
		enum attribute attribute = ATTRIBUTE_MATCH;
		char shown[128];
		int r;

		r = attribute_find(slice_first(word, equals), &attribute, err);
		if (r == 0 && equals == word.len)
			r = error_set(err, -EINVAL, "expected %s=VALUE",
				      attribute_names[attribute]);
		if (r == 0 && attribute != ATTRIBUTE_MATCH && seen & 1u << attribute)
			r = error_set(err, -EINVAL, "given twice");
		if (r == 0)
			r = take_attribute(attribute, slice_skip(word, equals + 1), arena, &p, err);
		if (r < 0) {
			error_prefix(err, "%s", escape_cstr(word, shown, sizeof(shown)));
			return r;
		}
		seen |= 1u << attribute;
	}

	if (!(seen & 1u << ATTRIBUTE_MATCH)) {
		p.match = policy->match;
		p.match_count = policy->match_count;
	}
	*policy = p;
	*ret_level_given = seen & 1u << ATTRIBUTE_TLS;
	return 0;
}

bool tls_policy_permits(const struct tls_policy *policy, bool encrypted, bool verified)
{
	switch (policy->level) {
	case TLS_LEVEL_NONE:
	case TLS_LEVEL_MAY:
		return true;
	case TLS_LEVEL_ENCRYPT:
		return encrypted;
	case TLS_LEVEL_VERIFY:
	case TLS_LEVEL_SECURE:
	case TLS_LEVEL_FINGERPRINT:
	case TLS_LEVEL_DANE:
	case TLS_LEVEL_DANE_ONLY:
		return encrypted && verified;
	}
	assert(0);
	return false;
}
