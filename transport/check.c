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
	if (route->kind == TRANSPORT_RELAY_SMTPS && (hop->port == 25 || hop->port == 587))
		warn(c, route->source,
		     "%s: at port %u TLS starts with STARTTLS, which relay-smtps: does not use; "
		     "relay: does",
		     hop->text, hop->port);
}

/* A level that does not look at what the line says to look for. */
static void check_attributes(const struct check *c, const struct transport_route *route)
{
	const struct tls_policy *tls = &route->tls;
	const char *level = tls_level_name(tls->level);
	const char *source = tls->source ? tls->source : "smtp_tls_security_level";

	if (tls->match != c->options->tls.match && tls->level != TLS_LEVEL_VERIFY &&
	    tls->level != TLS_LEVEL_SECURE)
		warn(c, route->source,
		     "match= has no effect at level %s (of %s); tls=verify and tls=secure have it",
		     level, source);
	if (tls->fingerprints != c->options->tls.fingerprints &&
	    tls->level != TLS_LEVEL_FINGERPRINT)
		warn(c, route->source,
		     "fingerprint= has no effect at level %s (of %s); tls=fingerprint has it",
		     level, source);
}

static void check_route(const struct check *c, const struct transport_route *route)
{
	for (unsigned int i = 0; i < route->hop_count; i++)
		check_port(c, route, &route->hops[i]);
	if (type_of(route->kind)->is_smtp)
		check_attributes(c, route);
}

static void check_base(const struct check *c)
{
	struct transport_route route;
	struct arena arena = { 0 };
	struct error error = { 0 };

	if (draft_base(c->options, &arena, &route, &error) < 0)
		c->report(c->arg, true, base_source(c->options), error.text);
	else
		check_route(c, &route);
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

static int check_line(void *arg, const char *key, const char *value, const char *source)
{
	const struct check *c = arg;
	struct transport_route route;
	struct arena arena = { 0 };
	struct error error = { 0 };
	struct rule rule;
	int r;

	check_key(c, key, source);
	r = rule_parse(slice_from(value), &rule, &error);
	if (r >= 0)
		r = rule_draft(&rule, c->options, NULL, source, &arena, &route, &error);
	if (r < 0)
		c->report(c->arg, true, source, error.text);
	else if (rule.type)
		check_route(c, &route);
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
	struct check c = { options, report, arg };

	for (size_t i = 0; maps && i < maps_count(maps); i++) {
		map_check(maps_at(maps, i), report, arg);
		map_visit(maps_at(maps, i), check_line, &c);
	}
	if (maps)
		check_hidden(&c, maps);
	check_base(&c);
}

static int validate_line(void *arg, const char *value, const char *source, struct error *err)
{
	const struct transport_options *options = arg;
	struct transport_route route;
	struct arena arena = { 0 };
	struct rule rule;
	int r;

	r = rule_parse(slice_from(value), &rule, err);
	if (r >= 0)
		r = rule_draft(&rule, options, NULL, source, &arena, &route, err);
	if (r < 0)
		error_prefix(err, "%s", source);
	arena_done(&arena);
	return r;
}

void transport_guard_maps(const struct transport_options *options)
{
	struct maps *maps = options->transport_maps;

	for (size_t i = 0; maps && i < maps_count(maps); i++)
		map_set_validate(maps_at(maps, i), validate_line, (void *)options);
}
