/*
 * rule - what one right-hand side says: transport, next hops, TLS
 *
 * A word with '=' starts the attributes, which go on to the end; host names
 * hold none. Of error:, retry: and discard: everything behind the colon is
 * text.
 */
#include <errno.h>

#include "base/escape.h"
#include "base/macros.h"
#include "base/nearest.h"
#include "transport/internal.h"

#define BLANK	  " \t\r\n"
#define SEPARATOR ", \t\r\n"

/* In the order of enum transport_kind. */
static const struct transport_type types[] = {
	{ "relay", TRANSPORT_RELAY, true, 25 },
	{ "relay-smtps", TRANSPORT_RELAY_SMTPS, true, 465 },
	{ "smtp", TRANSPORT_SMTP, true, 25 },
	{ "lmtp", TRANSPORT_LMTP, true, 24 },
	{ "virtual", TRANSPORT_VIRTUAL, false, 0 },
	{ "local", TRANSPORT_LOCAL, false, 0 },
	{ "error", TRANSPORT_ERROR, false, 0 },
	{ "retry", TRANSPORT_RETRY, false, 0 },
	{ "discard", TRANSPORT_DISCARD, false, 0 },
};

#define TYPES_KNOWN "relay, relay-smtps, smtp, lmtp, virtual, local, error, retry, discard"

const struct transport_type *type_of(enum transport_kind kind)
{
	return &types[kind];
}

static bool is_mailbox(enum transport_kind kind)
{
	return kind == TRANSPORT_VIRTUAL || kind == TRANSPORT_LOCAL;
}

bool transport_route_is_mailbox(const struct transport_route *route)
{
	return is_mailbox(route->kind);
}

static const struct transport_type *find_type(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (slice_equal(name, slice_from(types[i].name)))
			return &types[i];
	}
	return NULL;
}

static int unknown_type(struct slice name, struct slice value, struct error *err)
{
	const char *names[ARRAY_SIZE(types)], *near;
	bool is_hop = name.len == value.len || (name.len && name.ptr[0] == '[');
	char shown[64], whole[128];

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		names[i] = types[i].name;
	escape_cstr(name, shown, sizeof(shown));
	escape_cstr(value, whole, sizeof(whole));
	/* Who writes smtps: means TLS; the nearest name is the one without it. */
	near = strstr(shown, "smtps") ? "relay-smtps"
				      : nearest_name(shown, names, ARRAY_SIZE(names));
	if (near && !(name.len && name.ptr[0] == '['))
		return error_set(err, -EINVAL, "unknown transport \"%s\"; did you mean %s?", shown,
				 near);
	if (is_hop)
		return error_set(err, -EINVAL,
				 "unknown transport \"%s\"; a next hop stands behind its "
				 "transport, as in relay:%s",
				 shown, whole);
	return error_set(err, -EINVAL, "unknown transport \"%s\"; known: " TYPES_KNOWN, shown);
}

static bool is_one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c);
}

static size_t word_length(struct slice s, const char *separators)
{
	size_t n = 0;

	while (n < s.len && !is_one_of(s.ptr[n], separators))
		n++;
	return n;
}

static unsigned int count_commas(const char *from, const char *end)
{
	unsigned int count = 0;

	for (; from < end; from++)
		count += *from == ',';
	return count;
}

/* A socket's path may have a '=' in it. */
static bool is_attribute(struct slice word)
{
	return slice_find(word, '=') < word.len && !hop_text_is_unix(word);
}

/*
 * "NEXTHOP[, NEXTHOP...] [NAME=VALUE...]"; a comma may stand in front of the
 * attributes. One with nothing between it and the next, or behind it, is most
 * likely what was left of a host, and that the mail has one way less, nobody
 * would see.
 */
static int split_attributes(struct slice s, struct rule *ret, struct error *err)
{
	const char *end = s.ptr; /* of the word before */
	bool has_gap = false, has_attributes = false;
	struct slice rest = s, word;
	char shown[128];

	while (!has_attributes && slice_next_word(&rest, SEPARATOR, &word)) {
		has_gap |= count_commas(end, word.ptr) > (ret->nexthop.len ? 1 : 0);
		end = word.ptr + word.len;
		has_attributes = is_attribute(word);
		if (has_attributes) {
			ret->attributes = slice_trim(slice_skip(s, (size_t)(word.ptr - s.ptr)));
			continue;
		}
		if (!ret->nexthop.len)
			ret->nexthop = word;
		ret->nexthop.len = (size_t)(end - ret->nexthop.ptr);
	}
	if (!has_attributes)
		has_gap |= count_commas(end, s.ptr + s.len) > 0;
	if (has_gap)
		return error_set(err, -EINVAL,
				 "%s: an empty next hop; a host is missing, or there is a comma "
				 "too many",
				 escape_cstr(s, shown, sizeof(shown)));
	return 0;
}

int rule_parse(struct slice value, struct rule *ret, struct error *err)
{
	struct slice name, rest;

	value = slice_trim(value);
	name = slice_first(value, word_length(value, ":" BLANK));
	rest = slice_trim(slice_skip(value, name.len + 1));
	*ret = (struct rule){ 0 };
	if (value.len == 0)
		return error_set(err, -EINVAL, "expected TRANSPORT:NEXTHOP");
	if (name.len) {
		ret->type = find_type(name);
		if (!ret->type)
			return unknown_type(name, value, err);
	}
	if (!ret->type || ret->type->is_smtp || is_mailbox(ret->type->kind))
		return split_attributes(rest, ret, err);
	ret->nexthop = rest;
	return 0;
}

/* Whether it is an address, or looks like one: then the error about it is that of a hop. */
static bool is_address_like(struct slice s)
{
	size_t n = 0;

	while (n < s.len && is_one_of(s.ptr[n], "0123456789abcdefABCDEF:."))
		n++;
	return n == s.len;
}

static bool is_hop(struct slice s)
{
	struct transport_hop hop;
	struct arena arena = { 0 };
	int r = hop_parse(s, 25, &arena, &hop, NULL);

	arena_done(&arena);
	return r >= 0;
}

int rule_parse_relayhost(struct slice value, struct rule *ret, struct error *err)
{
	struct slice word, name;

	value = slice_trim(value);
	word = slice_first(value, word_length(value, SEPARATOR));
	name = slice_first(word, slice_find(word, ':'));
	if (word.len && (name.len == word.len || word.ptr[0] == '[' || is_address_like(word) ||
			 (!find_type(name) && is_hop(word)))) {
		*ret = (struct rule){ .type = type_of(TRANSPORT_RELAY) };
		return split_attributes(value, ret, err);
	}
	return rule_parse(value, ret, err);
}
