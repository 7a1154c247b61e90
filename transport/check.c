/*
 * check - what is wrong with the routes, found before a mail finds it
 *
 * Warnings are for what works, but hardly as meant: TLS spoken to a port that
 * speaks it otherwise, keys that no lookup ever asks for.
 */
#include "base/escape.h"
#include "base/macros.h"
#include "transport/internal.h"

struct check {
	const struct transport_options *options;
	map_report *report;
	void *arg;
	struct map *map; /* that is being checked */
};

__attribute__((format(printf, 3, 4))) static void warn(const struct check *c, const char *source,
						       const char *format, ...)
{
	struct error error;
	va_list args;

	va_start(args, format);
	vsnprintf(error.text, sizeof(error.text), format, args);
	va_end(args);
	c->report(c->arg, false, source, error.text);
}

static void check_port(const struct check *c, const struct transport_route *route,
		       const struct transport_hop *hop)
{
	if (route->kind != TRANSPORT_RELAY_SMTPS && hop->port == 465)
		warn(c, route->source,
		     "%s: at port 465 TLS starts with the first byte, which %s: does not; "
		     "relay-smtps: does",
		     hop->text, route->name);
	if (route->kind == TRANSPORT_LMTP && hop->port == 25)
		warn(c, route->source,
		     "%s: port 25 is SMTP's, and no lmtp: is spoken there (RFC 2033 section 5); "
		     "relay: is",
		     hop->text);
	if (route->kind == TRANSPORT_RELAY_SMTPS && (hop->port == 25 || hop->port == 587))
		warn(c, route->source,
		     "%s: at port %u TLS starts with STARTTLS, which relay-smtps: does not use; "
		     "relay: does",
		     hop->text, hop->port);
}

/* A level that does not look at what this line says to look for. */
static void check_attributes(const struct check *c, struct slice attributes,
			     const struct tls_policy *tls, const char *source)
{
	const char *level_source = tls->source ? tls->source : "smtp_tls_security_level";
	struct tls_policy said = { .level = tls->level };
	struct arena arena = { 0 };
	bool level_given;

	if (tls_policy_parse(attributes, &arena, &said, &level_given, NULL) < 0)
		said = (struct tls_policy){ 0 };
	if (said.match_count > 0 && tls->level != TLS_LEVEL_VERIFY &&
	    tls->level != TLS_LEVEL_SECURE)
		warn(c, source,
		     "match= has no effect at level %s (of %s); verify and secure have it",
		     tls_level_name(tls->level), level_source);
	if (said.fingerprint_count > 0 && tls->level != TLS_LEVEL_FINGERPRINT)
		warn(c, source,
		     "fingerprint= has no effect at level %s (of %s); fingerprint has it",
		     tls_level_name(tls->level), level_source);
	arena_done(&arena);
}

static void check_route(const struct check *c, const struct rule *rule,
			const struct transport_route *route)
{
	for (unsigned int i = 0; i < route->hop_count; i++)
		check_port(c, route, &route->hops[i]);
	if (type_of(route->kind)->is_smtp && !transport_route_is_unix(route))
		check_attributes(c, rule->attributes, &route->tls, route->source);
}

/* What a level needs may come from an entry for the recipient's domain. */
static bool may_lack(const struct transport_options *options)
{
	return options->tls_policy_maps != NULL;
}

/* A draft that may lack something, and does: mail that no entry is for will wait. */
static void check_lack(const struct check *c, const char *source, const struct error *lack)
{
	warn(c, source, "%s; what has no such entry in smtp_tls_policy_maps will wait", lack->text);
}

/* A level for all that can't work for any; what fingerprint needs each line may have. */
static bool check_general(const struct check *c)
{
	const struct tls_policy *tls = &c->options->tls;
	struct error error = { 0 };

	if (tls->level == TLS_LEVEL_FINGERPRINT || require_means(c->options, tls, &error) == 0)
		return true;
	c->report(c->arg, true, tls->source ? tls->source : base_source(c->options), error.text);
	return false;
}

static void check_base(const struct check *c)
{
	struct arena arena = { 0 };
	struct drafting how = { .options = c->options, .arena = &arena };
	struct transport_route route;
	struct error error = { 0 }, lack = { 0 };
	struct rule rule = { 0 };
	bool is_lacking = may_lack(c->options) && draft_base(&how, &rule, &route, &lack) < 0;

	how.may_lack = is_lacking || !check_general(c);
	if (draft_base(&how, &rule, &route, &error) < 0)
		c->report(c->arg, true, base_source(c->options), error.text);
	else if (is_lacking)
		check_lack(c, base_source(c->options), &lack);
	else
		check_route(c, &rule, &route);
	arena_done(&arena);
}

static void check_key(const struct check *c, const char *key, const char *source)
{
	char shown[128];

	escape_cstr(slice_from(key), shown, sizeof(shown));
	if (key[0] == '*' && key[1] != '\0')
		warn(c, source, "\"%s\" matches nothing; subdomains are written \"%s\"", shown,
		     shown + 1);
	else if (key[0] == '@')
		warn(c, source, "\"%s\" matches nothing; a domain is written \"%s\"", shown,
		     shown + 1);
	else if (key[strlen(key) - 1] == '@')
		warn(c, source, "\"%s\" matches nothing; a whole address would", shown);
}

/* Not patterns, and not the "*" of static:. */
static bool has_plain_keys(const struct check *c)
{
	return !map_is_pattern(c->map) && !map_has_every_key(c->map);
}

/* The entry for this line's next hops, or for the domain that its key is. */
static int find_policy(const struct check *c, const char *key, const struct rule *rule,
		       struct arena *arena, struct map_result *ret, struct error *err)
{
	const char *at = strrchr(key, '@');
	const struct lookup l = {
		.options = c->options,
		.arena = arena,
		.domain = key[0] == '.' || !has_plain_keys(c) || key[0] == '*'
				  ? SLICE("")
				  : slice_from(at ? at + 1 : key),
	};

	if (!rule->type || !rule->type->is_smtp || hop_text_is_unix(rule->nexthop))
		return MAP_NOT_FOUND;
	return lookup_policy(&l, rule->type->kind, rule->nexthop, ret, err);
}

/* An entry that would weaken implicit TLS has no effect on it, but whoever wrote it meant it. */
static void check_no_effect(const struct check *c, const struct transport_route *route,
			    const struct map_result *entry)
{
	struct arena arena = { 0 };
	const struct drafting how = { .options = c->options, .arena = &arena, .policy = entry };
	struct tls_policy policy;

	if (route->kind == TRANSPORT_RELAY_SMTPS && policy_draft(&how, &policy, NULL) == 0 &&
	    policy.level < TLS_LEVEL_ENCRYPT)
		warn(c, entry->source,
		     "level %s has no effect on the relay-smtps: of %s, which is never weaker than "
		     "encrypt",
		     tls_level_name(policy.level), route->source);
	arena_done(&arena);
}

static void check_rule(const struct check *c, const char *key, const struct rule *rule,
		       const char *source, struct arena *arena)
{
	struct drafting how = { .options = c->options, .arena = arena };
	struct error error = { 0 }, lack = { 0 };
	struct transport_route route;
	struct map_result entry;
	bool is_lacking;
	int r;

	r = find_policy(c, key, rule, arena, &entry, &error);
	how.policy = r == MAP_FOUND ? &entry : NULL;
	is_lacking =
		may_lack(c->options) && rule_draft(&how, rule, NULL, source, &route, &lack) < 0;
	how.may_lack = is_lacking;
	if (r != LOOKUP_MIXED)
		r = rule_draft(&how, rule, NULL, source, &route, &error);
	if (r != 0)
		c->report(c->arg, true, source, error.text);
	else if (is_lacking)
		check_lack(c, source, &lack);
	else if (rule->type)
		check_route(c, rule, &route);
	if (r == 0 && how.policy)
		check_no_effect(c, &route, how.policy);
}

static int check_line(void *arg, const char *key, const char *value, const char *source)
{
	const struct check *c = arg;
	struct arena arena = { 0 };
	struct error error = { 0 };
	struct rule rule;

	if (!map_is_pattern(c->map))
		check_key(c, key, source);
	if (rule_parse(slice_from(value), &rule, &error) < 0)
		c->report(c->arg, true, source, error.text);
	else
		check_rule(c, key, &rule, source, &arena);
	arena_done(&arena);
	return 0;
}

/* It answers the address itself, which is asked for first. */
static void check_hidden(const struct check *c, struct maps *maps)
{
	for (size_t i = 0; i < maps_count(maps) && maps_count(maps) > 1; i++) {
		struct map *map = maps_at(maps, i);

		if (map_has_every_key(map))
			warn(c, map_spec(map),
			     "has every address, so domains in the other maps are never looked "
			     "up; a key \"*\" comes last");
	}
}

void transport_check(const struct transport_options *options, map_report *report, void *arg)
{
	struct maps *maps = options->transport_maps;
	struct check c = { options, report, arg, NULL };

	for (size_t i = 0; maps && i < maps_count(maps); i++) {
		c.map = maps_at(maps, i);
		map_check(c.map, report, arg);
		map_visit(c.map, check_line, &c);
	}
	if (maps)
		check_hidden(&c, maps);
	check_base(&c);
}

static int validate_line(void *arg, const char *value, const char *source, struct error *err)
{
	const struct transport_options *options = arg;
	struct arena arena = { 0 };
	const struct drafting how = {
		.options = options,
		.arena = &arena,
		.may_lack = may_lack(options),
	};
	struct transport_route route;
	struct rule rule;
	int r;

	r = rule_parse(slice_from(value), &rule, err);
	if (r >= 0)
		r = rule_draft(&how, &rule, NULL, source, &route, err);
	if (r < 0)
		error_prefix(err, "%s", source);
	arena_done(&arena);
	return r;
}

/* An entry must be whole in itself, but for its names. Errors start with the source. */
static int draft_entry(const struct transport_options *options, const char *value,
		       const char *source, struct arena *arena, struct tls_policy *ret,
		       struct error *err)
{
	const struct map_result entry = { .value = value, .source = source };
	const struct drafting how = { .options = options, .arena = arena, .policy = &entry };
	int r;

	r = policy_draft(&how, ret, err);
	if (r < 0)
		return r;
	r = require_means(options, ret, err);
	if (r < 0)
		error_prefix(err, "%s", source);
	return r;
}

static int validate_entry(void *arg, const char *value, const char *source, struct error *err)
{
	struct arena arena = { 0 };
	struct tls_policy policy;
	int r = draft_entry(arg, value, source, &arena, &policy, err);

	arena_done(&arena);
	return r;
}

static void check_entry_key(const struct check *c, const char *key, const char *source)
{
	char shown[128];

	escape_cstr(slice_from(key), shown, sizeof(shown));
	if (key[0] == '*' && key[1] == '.')
		warn(c, source, "\"%s\" matches nothing; subdomains are written \"%s\"", shown,
		     shown + 1);
	else if (key[0] == '*' || strchr(key, '@'))
		warn(c, source, "\"%s\" matches nothing; keys are next hops, domains and .domains",
		     shown);
}

static int check_entry(void *arg, const char *key, const char *value, const char *source)
{
	const struct check *c = arg;
	struct arena arena = { 0 };
	struct slice rest = slice_trim(slice_from(value)),
		     level = slice_first(rest, slice_find(rest, ' '));
	struct tls_policy policy;
	struct error error = { 0 };

	if (has_plain_keys(c))
		check_entry_key(c, key, source);
	else if (map_is_pattern(c->map) && strchr(value, '$'))
		return 0; /* can be judged only when it has come out */
	if (draft_entry(c->options, value, source, &arena, &policy, &error) < 0)
		c->report(c->arg, true, source, error.text + strlen(source) + 2);
	else
		check_attributes(c, slice_skip(rest, level.len), &policy, source);
	arena_done(&arena);
	return 0;
}

void transport_check_policies(const struct transport_options *options, map_report *report,
			      void *arg)
{
	struct maps *maps = options->tls_policy_maps;
	struct check c = { options, report, arg, NULL };

	for (size_t i = 0; maps && i < maps_count(maps); i++) {
		c.map = maps_at(maps, i);
		map_check(c.map, report, arg);
		map_visit(c.map, check_entry, &c);
	}
}

void transport_guard_maps(const struct transport_options *options)
{
	struct maps *routes = options->transport_maps, *policies = options->tls_policy_maps;

	for (size_t i = 0; routes && i < maps_count(routes); i++)
		map_set_validate(maps_at(routes, i), validate_line, (void *)options);
	for (size_t i = 0; policies && i < maps_count(policies); i++)
		map_set_validate(maps_at(policies, i), validate_entry, (void *)options);
}
