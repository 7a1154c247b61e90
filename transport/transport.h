/*
 * transport - where mail for an address goes, and what TLS it gets on the way
 *
 * The one resolver that delivery and explain share. It works on maps that
 * reload themselves; the decision is made anew for each attempt, so a changed
 * map applies to what waits in the queue.
 *
 * Order: transport_maps by address, address without extension, domain,
 * .parent for each parent of the domain, "*" (each key in all maps before the
 * next key, as in Postfix); for domains that this host delivers for only
 * their own keys count (no ".parent", no "*", no static:), and else they are
 * local; then relayhost; then default_transport. An address is looked up with
 * quotes where its local part needs them, and then without any.
 *
 * A line is "TRANSPORT:NEXTHOP[, NEXTHOP...] [tls=...] [match=...] ...". As in
 * transport(5), ":" changes nothing, ":NEXTHOP" keeps the transport that
 * there would be without the line, and "relay:" or "smtp:" without a next hop
 * goes to the MX of the recipient's domain. Next hops of lmtp: are never looked
 * up for MX.
 *
 * What a line does not say of TLS comes from the entry of smtp_tls_policy_maps,
 * then from the options; not from the relayhost, but for ":". The entry is that
 * of the next hop as written ("[host]:port"), then without its port, then of
 * the recipient's domain, then of ".parent" for each parent of it. All next hops
 * of a route must have the same. relay-smtps: is at least encrypt, whatever
 * the entry or the options say.
 */
#pragma once

#include <stdint.h>

#include "maps/map.h"
#include "smtp/status.h"
#include "tls/policy.h"

enum transport_kind {
	TRANSPORT_RELAY,       /* relay: */
	TRANSPORT_RELAY_SMTPS, /* relay-smtps: */
	TRANSPORT_SMTP,	       /* smtp: */
	TRANSPORT_LMTP,	       /* lmtp: RFC 2033, by TCP or a UNIX socket */
	TRANSPORT_VIRTUAL,     /* virtual: Maildirs of this host */
	TRANSPORT_LOCAL,       /* local: the same, for local users */
	TRANSPORT_ERROR,       /* error: refuse */
	TRANSPORT_RETRY,       /* retry: defer */
	TRANSPORT_DISCARD,     /* discard: drop */
};

struct transport_hop {
	const char *host; /* name in lower case or IP address, without brackets; or text */
	uint16_t port;	  /* 0: a UNIX socket */
	bool mx;	  /* to be looked up for MX first */
	const char *text; /* "[host]:port" for names that are final, "host:port", "unix:PATH" */
	const char *path; /* of a UNIX socket, absolute; NULL: host and port */
	const char *login, *login_key; /* who logs in there, by which key; NULL: nobody does */
	bool login_is_by_part;	       /* which is part of an address: patterns do not see it */
};

/*
 * A decision. Immutable and reference counted, because connections outlive
 * the map line that made them. Routes with the same lane string are the same
 * in transport, next hops, who has named them (the operator, or the recipient's
 * address) and TLS policy, and may share connections.
 */
struct transport_route {
	enum transport_kind kind;
	const char *name; /* "relay-smtps" */
	const char *
		nexthop; /* as written behind the colon: "[host]:port"; "": the recipient's domain */
	const struct transport_hop *hops;
	unsigned int hop_count;
	enum tls_mode mode;
	struct tls_policy tls;
	bool requires_tls; /* for mail with REQUIRETLS: see transport_route_requiring_tls() */
	struct smtp_status status; /* of error:, retry: and discard:, and why a route is unusable */
	const char *source;	   /* "ts:2", "main.conf:9" for relayhost, "local" */
	const char *lane;
};

struct transport_options {
	struct maps *transport_maps; /* NULL: none */
	const char *relayhost;	     /* "" or NULL: none */
	const char *relayhost_source;
	const char *default_transport; /* "smtp" */
	const char *default_transport_source;
	struct maps *tls_policy_maps; /* smtp_tls_policy_maps; NULL: none */
	struct tls_policy tls;	      /* smtp_tls_security_level and friends, with their source */
	const char *recipient_delimiter; /* any of these begins an extension; NULL: none does */
	const char *socket_directory; /* of relative paths of UNIX sockets; NULL: there are none */
	bool lacks_mailboxes;	      /* a hub: virtual: and local: are errors */
	bool can_verify;	      /* there is a CA file, so levels verify and secure can work */
	bool has_local_dns;	      /* all DNS servers are on this host, so dane can work */

	/* Whether this host delivers for the domain itself: MAP_FOUND, MAP_NOT_FOUND, or an error. */
	int (*is_local)(void *arg, struct slice domain, struct error *err);
	/* Whether the users of such a domain are the system's: they go by local:. NULL: none are. */
	int (*is_home)(void *arg, struct slice domain, struct error *err);
	void *is_local_arg;
};

struct transport;

/* One for each thread; the options (maps, strings) are shared and must outlive it. */
int transport_new(const struct transport_options *options, struct transport **ret_transport,
		  struct error *err);
void transport_free(struct transport *transport);

/*
 * Decide for one address (folded by the resolver itself). On success the
 * caller owns a reference. A negative error means that nothing could be
 * decided now (a map that cannot be read): mail waits. So it does where the
 * deciding line is bad: that gives a retry: route with 451 4.3.5 and the
 * reason. A recipient whose domain can be no host name gives an error: route.
 *
 * error: is 550 5.0.0 and retry: 450 4.0.0, unless the line has its own
 * X.Y.Z, whose class is put right (RFC 3463); discard: is 250 2.0.0.
 */
int transport_resolve(struct transport *transport, const char *address,
		      const struct transport_route **ret_route, struct error *err);

/* One lookup on the way to a decision. */
struct transport_lookup {
	/*
	 * "transport_maps", "relayhost", "default_transport", "smtp_tls_policy_maps";
	 * "local": whether this host delivers for the domain.
	 */
	const char *parameter;
	const char *map;    /* "hash:ts"; "" where there is no map */
	const char *key;    /* "" for relayhost and default_transport */
	const char *value;  /* of the line that was found; NULL: there is none */
	const char *source; /* of that line, "ts:2"; else NULL */
};

typedef void transport_trace(void *arg, const struct transport_lookup *lookup);

/*
 * The same, telling of each lookup in its order, within the call. The search in
 * a parameter ends with the first lookup that finds something, and that counts.
 */
int transport_resolve_traced(struct transport *transport, const char *address,
			     transport_trace *trace, void *arg,
			     const struct transport_route **ret_route, struct error *err);

/*
 * Whether its next hops are UNIX sockets, which a route's are all or none: such
 * mail stays on this machine, and there is no TLS to speak of.
 */
bool transport_route_is_unix(const struct transport_route *route);

/* Whether mail goes to a mailbox of this host: virtual: and local: */
bool transport_route_is_mailbox(const struct transport_route *route);

const struct transport_route *transport_route_ref(const struct transport_route *route);
void transport_route_unref(const struct transport_route *route); /* NULL is fine */

/*
 * A route that defers with this status, where no decision could be made; and
 * one that fails with it, where somebody has decided so.
 */
const struct transport_route *transport_route_new_retry(const struct smtp_status *status);
const struct transport_route *transport_route_new_error(const struct smtp_status *status);

/*
 * The same with other logins: these hops are the route's own, but for that. The
 * resolver knows of none (mta/credentials.h). What is sent by one login never
 * shares a connection with what another one sends, as it is another lane.
 */
const struct transport_route *transport_route_with_logins(const struct transport_route *route,
							  const struct transport_hop *hops);

/*
 * The same for a message whose sender asks for REQUIRETLS (RFC 8689). The
 * policy is the operator's; beyond it each next hop must have proved who it is
 * and go on with REQUIRETLS, or the next one is tried. Another lane, as other
 * mail may go where this may not.
 */
const struct transport_route *transport_route_requiring_tls(const struct transport_route *route);

/*
 * Parse one right-hand side: "TRANSPORT:NEXTHOP[, NEXTHOP] [tls=...]". Errors
 * start with the source, and suggest the nearest known name. A route to the
 * recipient's own domain has no hops yet.
 */
int transport_parse(const struct transport_options *options, const char *value, const char *source,
		    const struct transport_route **ret_route, struct error *err);

/*
 * Report every bad line of the maps, relayhost and default_transport; and as
 * warnings, what is allowed but a likely slip: keys that stand in a map twice
 * or can never match, relay: to port 465, match= without tls=verify.
 */
void transport_check(const struct transport_options *options, map_report *report, void *arg);

/* The same for the entries of smtp_tls_policy_maps. */
void transport_check_policies(const struct transport_options *options, map_report *report,
			      void *arg);

/*
 * From now on a new version of a map that has a bad line is refused by
 * maps_refresh() with an error that names it. To be called once, before the
 * maps are shared; the options must outlive them.
 */
void transport_guard_maps(const struct transport_options *options);
