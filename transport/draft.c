/*
 * draft - what a rule means: next hops, TLS level and mode, or a status
 *
 * Nothing here may give a route less TLS than its line, the general level or
 * its transport ask for: relay-smtps is at least encrypt, and verify without
 * anything to verify against is an error, not an accident waiting.
 */
#include <errno.h>

#include "transport/internal.h"

/* Options without a source are called by the name of their parameter. */
static const char *source_of(const char *source, const char *name)
{
	return source ? source : name;
}

static int draft_hop(const struct drafting *d, const struct transport_type *type, struct slice word,
		     struct transport_hop *ret, struct error *err)
{
	if (type->kind == TRANSPORT_LMTP)
		return hop_parse_lmtp(word, d->options, d->arena, ret, err);
	return hop_parse(word, type->port, d->arena, ret, err);
}

static int draft_hops(const struct drafting *d, struct slice nexthop,
		      const struct transport_type *type, struct transport_route *ret,
		      struct error *err)
{
	struct slice rest = nexthop, word;
	struct transport_hop *hops;
	unsigned int count = 0;

	while (slice_next_word(&rest, ", \t\r\n", &word))
		count++;
	hops = arena_alloc(d->arena, count * sizeof(*hops));
	ret->hops = hops;
	ret->hop_count = count;
	for (unsigned int i = 0; slice_next_word(&nexthop, ", \t\r\n", &word); i++) {
		int r = draft_hop(d, type, word, &hops[i], err);

		if (r < 0)
			return r;
		/* For all there is one TLS policy, or none at all. */
		if (!hops[i].path != !hops[0].path)
			return error_set(err, -EINVAL,
					 "the next hops of a route are all hosts, or all UNIX "
					 "sockets");
	}
	return 0;
}

static int require_implicit(struct transport_route *route, bool level_given, struct error *err)
{
	route->mode = TLS_MODE_IMPLICIT;
	if (route->tls.level >= TLS_LEVEL_ENCRYPT)
		return 0;
	if (level_given)
		return error_set(err, -EINVAL,
				 "tls=%s: relay-smtps: is never weaker than encrypt; use relay: "
				 "for STARTTLS by choice",
				 tls_level_name(route->tls.level));
	route->tls.level = TLS_LEVEL_ENCRYPT;
	route->tls.source = route->source;
	return 0;
}

int require_means(const struct transport_options *options, const struct tls_policy *tls,
		  struct error *err)
{
	const char *level = tls_level_name(tls->level);
	const char *source = source_of(tls->source, "smtp_tls_security_level");

	if ((tls->level == TLS_LEVEL_VERIFY || tls->level == TLS_LEVEL_SECURE) &&
	    !options->can_verify)
		return error_set(err, -EINVAL,
				 "level %s (of %s) needs a CA to verify by: set smtp_tls_CAfile",
				 level, source);
	if ((tls->level == TLS_LEVEL_DANE || tls->level == TLS_LEVEL_DANE_ONLY) &&
	    !options->has_local_dns)
		return error_set(err, -EINVAL,
				 "level %s (of %s) needs a DNS server on this host that checks "
				 "DNSSEC: set resolver = 127.0.0.1",
				 level, source);
	if (tls->level == TLS_LEVEL_FINGERPRINT && tls->fingerprint_count == 0)
		return error_set(err, -EINVAL,
				 "level %s (of %s) needs to know which: add fingerprint=sha256:HEX",
				 level, source);
	return 0;
}

int policy_draft(const struct drafting *d, struct tls_policy *ret, struct error *err)
{
	int r;

	*ret = d->options->tls;
	if (!d->policy)
		return 0;
	r = tls_policy_parse_entry(slice_from(d->policy->value), d->arena, ret, err);
	if (r < 0)
		error_prefix(err, "%s", d->policy->source);
	else
		ret->source = d->policy->source;
	return r;
}

/* What stays on this machine needs no TLS, whatever the general level is. */
static int draft_no_tls(struct slice attributes, struct transport_route *route, struct error *err)
{
	if (attributes.len)
		return error_set(err, -EINVAL,
				 "a UNIX socket takes no TLS attributes, as it crosses no network");
	route->tls = (struct tls_policy){ .level = TLS_LEVEL_NONE, .source = route->source };
	route->mode = TLS_MODE_NONE;
	return 0;
}

/* route->tls is where the policy starts from. */
static int draft_tls(const struct drafting *d, struct slice attributes,
		     struct transport_route *route, struct error *err)
{
	bool level_given = false;
	int r;

	if (transport_route_is_unix(route))
		return draft_no_tls(attributes, route, err);
	r = tls_policy_parse(attributes, d->arena, &route->tls, &level_given, err);
	if (r < 0)
		return r;
	if (level_given)
		route->tls.source = route->source;
	/* An entry may bring another level where the line has none, and fingerprints; no more. */
	if (!d->may_lack || (level_given && route->tls.level != TLS_LEVEL_FINGERPRINT)) {
		r = require_means(d->options, &route->tls, err);
		if (r < 0)
			return r;
	}
	if (route->kind == TRANSPORT_RELAY_SMTPS)
		return require_implicit(route, level_given, err);
	route->mode = route->tls.level == TLS_LEVEL_NONE ? TLS_MODE_NONE : TLS_MODE_STARTTLS;
	return 0;
}

/* "[X.Y.Z] TEXT": the class is the transport's, whatever the line says. */
static void draft_status(struct slice text, struct transport_route *route)
{
	bool is_final = route->kind == TRANSPORT_ERROR;
	struct smtp_enhanced enhanced = { 0 };

	if (transport_route_is_mailbox(route))
		return;
	if (route->kind == TRANSPORT_DISCARD) {
		smtp_status_set(&route->status, 250, ESC(2, 0, 0), "discarded%s%.*s",
				text.len ? ": " : "", (int)text.len, text.ptr);
		return;
	}
	smtp_enhanced_parse(&text, &enhanced);
	enhanced.class = is_final ? 5 : 4;
	if (text.len == 0)
		text = SLICE("Address is undeliverable");
	smtp_status_set(&route->status, is_final ? 550 : 450, enhanced, "%.*s", (int)text.len,
			text.ptr);
}

/* ":" and ": tls=...": all as it would be without the line, but for what it says of TLS. */
static int draft_as_base(const struct drafting *d, const struct rule *rule,
			 const struct transport_route *base, const char *source,
			 struct transport_route *ret, struct error *err)
{
	*ret = *base;
	ret->source = source;
	if (!type_of(base->kind)->is_smtp || rule->attributes.len == 0)
		return 0;
	return draft_tls(d, rule->attributes, ret, err);
}

static int draft_without_hops(const struct drafting *d, const struct rule *rule,
			      struct transport_route *ret, struct error *err)
{
	if (rule->type && rule->attributes.len)
		return error_set(err, -EINVAL, "%s: takes no attributes, as it sends nothing",
				 ret->name);
	if (transport_route_is_mailbox(ret) && d->options->lacks_mailboxes)
		return error_set(
			err, -EINVAL,
			"%s: a hub has no mailboxes; expected a next hop, as in relay:HOST",
			ret->name);
	draft_status(rule->nexthop, ret);
	return 0;
}

int rule_draft(const struct drafting *d, const struct rule *rule,
	       const struct transport_route *base, const char *source, struct transport_route *ret,
	       struct error *err)
{
	const struct transport_type *type = rule->type;
	int r;

	if (!type && base && rule->nexthop.len == 0)
		return draft_as_base(d, rule, base, source, ret, err);
	if (!type)
		type = type_of(base				 ? base->kind
			       : hop_text_is_unix(rule->nexthop) ? TRANSPORT_LMTP
								 : TRANSPORT_RELAY);
	*ret = (struct transport_route){
		.kind = type->kind,
		.name = type->name,
		.nexthop = arena_slicedup(d->arena, rule->nexthop),
		.source = source,
	};
	if (!type->is_smtp)
		return draft_without_hops(d, rule, ret, err);
	r = draft_hops(d, rule->nexthop, type, ret, err);
	if (r == 0)
		r = policy_draft(d, &ret->tls, err);
	return r < 0 ? r : draft_tls(d, rule->attributes, ret, err);
}

bool draft_has_relayhost(const struct transport_options *options)
{
	return options->relayhost && options->relayhost[0];
}

const char *base_source(const struct transport_options *options)
{
	return draft_has_relayhost(options)
		       ? source_of(options->relayhost_source, "relayhost")
		       : source_of(options->default_transport_source, "default_transport");
}

int draft_base(const struct drafting *d, struct rule *ret_rule, struct transport_route *ret,
	       struct error *err)
{
	const struct transport_options *options = d->options;
	struct rule rule;
	int r;

	if (draft_has_relayhost(options))
		r = rule_parse_relayhost(slice_from(options->relayhost), &rule, err);
	else
		r = rule_parse(slice_from(options->default_transport), &rule, err);
	if (r < 0)
		return r;
	if (!rule.type)
		return error_set(err, -EINVAL, "no transport in front of the colon");
	if (ret_rule)
		*ret_rule = rule;
	return rule_draft(d, &rule, NULL, base_source(options), ret, err);
}
