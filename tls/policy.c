/*
 * policy - Postfix's words for TLS, read strictly
 *
 * Whatever is not understood is an error: a policy read wrongly could send
 * mail in the clear. What Postfix has and we have not is named as such, so that
 * nobody takes it for a typing error.
 */
#include "tls/policy_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>

#include "base/buf.h"
#include "base/escape.h"
#include "base/macros.h"

/* In the order of enum tls_level. */
static const char *const level_names[] = {
	"none", "may", "encrypt", "verify", "secure", "fingerprint", "dane", "dane-only",
};

#define LEVELS_VALID "none, may, encrypt, verify, secure, fingerprint, dane, dane-only"

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

int tls_level_parse(struct slice text, enum tls_level *ret, struct error *err)
{
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (slice_equal_nocase(text, slice_from(level_names[i]))) {
			*ret = (enum tls_level)i;
			return 0;
		}
	}

	near = tls_did_you_mean(text, level_names, ARRAY_SIZE(level_names));
	return error_set(err, -EINVAL, "unknown level; expected " LEVELS_VALID "%s%s%s",
			 near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
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
		policy->servername = slice_equal_nocase(value, SLICE("nexthop")) ? "nexthop" : NULL;
		return 0;
	}
	/* RFC 6066 section 3: no addresses, and no dot at the end. */
	if (!is_host_name(value) || is_address(value) || value.ptr[value.len - 1] == '.')
		return error_set(err, -EINVAL, "expected a host name");
	policy->servername = arena_slicedup(arena, value);
	return 0;
}

/* Every fingerprint= of a policy adds its own; Postfix separates them by '|'. */
static int take_fingerprints(struct tls_policy *policy, struct slice value, struct arena *arena,
			     struct error *err)
{
	unsigned int count = policy->fingerprint_count;
	const char **list;
	struct slice word;
	int r;

	/* Each takes two characters of the value at least, and may become two. */
	list = arena_alloc(arena, (count + value.len + 2) * sizeof(*list));
	for (unsigned int i = 0; i < count; i++)
		list[i] = policy->fingerprints[i];
	while (slice_next_word(&value, "|", &word)) {
		struct tls_fingerprint fingerprint;

		r = tls_fingerprint_parse(word, &fingerprint, err);
		if (r < 0)
			return r;
		if (fingerprint.certificate[0])
			list[count++] = arena_strdup(arena, fingerprint.certificate);
		if (fingerprint.key[0])
			list[count++] = arena_strdup(arena, fingerprint.key);
	}
	if (count == policy->fingerprint_count)
		return error_set(err, -EINVAL, "no fingerprint is given");
	policy->fingerprints = list;
	policy->fingerprint_count = count;
	return 0;
}

enum attribute {
	ATTRIBUTE_TLS,
	ATTRIBUTE_MATCH,
	ATTRIBUTE_FINGERPRINT,
	ATTRIBUTE_PROTOCOLS,
	ATTRIBUTE_SERVERNAME,
};

static const char *const attribute_names[] = {
	"tls", "match", "fingerprint", "protocols", "servername",
};

#define ATTRIBUTES_VALID "expected tls, match, fingerprint, protocols, servername"

/* What Postfix has besides. */
static const struct {
	const char *name, *remedy;
} foreign[] = {
	{ "ciphers", "only strong ones are used; remove it" },
	{ "exclude", "only strong ciphers are used; remove it" },
	{ "tafile", "put the CA into smtp_tls_CAfile" },
	{ "connection_reuse", "connections are always reused; remove it" },
};

static int attribute_find(struct slice name, enum attribute *ret, struct error *err)
{
	const char *near;

	for (size_t i = 0; i < ARRAY_SIZE(attribute_names); i++) {
		if (slice_equal_nocase(name, slice_from(attribute_names[i]))) {
			*ret = (enum attribute)i;
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(foreign); i++) {
		if (slice_equal_nocase(name, slice_from(foreign[i].name)))
			return error_set(err, -EINVAL, "there is no %s here: %s", foreign[i].name,
					 foreign[i].remedy);
	}

	near = tls_did_you_mean(name, attribute_names, ARRAY_SIZE(attribute_names));
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
	case ATTRIBUTE_FINGERPRINT:
		return take_fingerprints(policy, value, arena, err);
	case ATTRIBUTE_PROTOCOLS:
		if (value.len == 0)
			return error_set(err, -EINVAL, TLS_PROTOCOLS_VALID);
		return tls_protocols_parse(value, &policy->min_version, err);
	case ATTRIBUTE_SERVERNAME:
		return take_servername(policy, value, arena, err);
	}
	assert(0);
	return -EINVAL;
}

/* Names and fingerprints add to each other. */
static bool is_repeatable(enum attribute attribute)
{
	return attribute == ATTRIBUTE_MATCH || attribute == ATTRIBUTE_FINGERPRINT;
}

/* What a wider policy said of names and fingerprints is replaced, not added to. */
static void start_list(enum attribute attribute, struct tls_policy *policy)
{
	if (attribute == ATTRIBUTE_FINGERPRINT) {
		policy->fingerprints = NULL;
		policy->fingerprint_count = 0;
	} else if (attribute == ATTRIBUTE_MATCH) {
		policy->match = NULL;
		policy->match_count = 0;
	}
}

static int take_word(struct slice word, bool level_only, unsigned int *seen, struct arena *arena,
		     struct tls_policy *policy, struct error *err)
{
	size_t equals = slice_find(word, '=');
	enum attribute attribute = ATTRIBUTE_MATCH;
	int r;

	r = attribute_find(slice_first(word, equals), &attribute, err);
	if (r < 0)
		return r;
	if (equals == word.len)
		return error_set(err, -EINVAL, "expected %s=VALUE", attribute_names[attribute]);
	if ((attribute == ATTRIBUTE_TLS) != level_only)
		return 0;
	if (attribute == ATTRIBUTE_MATCH && policy->level == TLS_LEVEL_FINGERPRINT)
		attribute = ATTRIBUTE_FINGERPRINT;
	if (*seen & 1u << attribute && !is_repeatable(attribute))
		return error_set(err, -EINVAL, "given twice");
	if (!(*seen & 1u << attribute))
		start_list(attribute, policy);
	*seen |= 1u << attribute;
	return take_attribute(attribute, slice_skip(word, equals + 1), arena, policy, err);
}

/* What match= means depends on the level, so that is looked for first. */
static int take_words(struct slice words, unsigned int *seen, struct arena *arena,
		      struct tls_policy *policy, struct error *err)
{
	for (int level_only = 1; level_only >= 0; level_only--) {
		struct slice rest = words, word;

		while (slice_next_word(&rest, TLS_WHITE_SPACE, &word)) {
			int r = take_word(word, level_only, seen, arena, policy, err);
			char shown[128];

			if (r < 0) {
				error_prefix(err, "%s", escape_cstr(word, shown, sizeof(shown)));
				return r;
			}
		}
	}
	return 0;
}

int tls_policy_parse(struct slice attributes, struct arena *arena, struct tls_policy *policy,
		     bool *ret_level_given, struct error *err)
{
	struct tls_policy p = *policy;
	unsigned int seen = 0;
	int r;

	r = take_words(attributes, &seen, arena, &p, err);
	if (r < 0)
		return r;
	*policy = p;
	*ret_level_given = seen & 1u << ATTRIBUTE_TLS;
	return 0;
}

int tls_policy_parse_entry(struct slice value, struct arena *arena, struct tls_policy *policy,
			   struct error *err)
{
	unsigned int seen = 1u << ATTRIBUTE_TLS;
	struct tls_policy p = *policy;
	struct slice level;
	char shown[128];
	int r;

	if (!slice_next_word(&value, TLS_WHITE_SPACE, &level))
		return error_set(err, -EINVAL, "expected a level: " LEVELS_VALID);
	r = tls_level_parse(level, &p.level, err);
	if (r < 0) {
		error_prefix(err, "%s", escape_cstr(level, shown, sizeof(shown)));
		return r;
	}
	r = take_words(value, &seen, arena, &p, err);
	if (r == 0)
		*policy = p;
	return r;
}

bool tls_level_authenticates(enum tls_level level)
{
	return level >= TLS_LEVEL_VERIFY;
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
