/*
 * credentials - whom we log in as at a next hop (smtp_sasl_password_maps)
 *
 * By the next hop as the route has it: "[host]:port", then "[host]", "host:port"
 * and "host". The names of MX hosts are no keys. But they are who gets the
 * password: with MX it takes level secure or dane-only for DNS to have no say.
 * Where it goes by sender, the sender's address, the same without an extension,
 * and "@domain" come before these. The value is "user:password"; one without a
 * user or without a password says that nobody logs in, and ends the search.
 *
 * Routes know the user and the key, nobody but the connection that logs in gets
 * the password, at that time: so a changed one is used from the next connection
 * on.
 */
#pragma once

#include "base/arena.h"
#include "maps/map.h"
#include "sasl/sasl.h"
#include "transport/transport.h"

struct credentials_options {
	struct maps *password_maps;	 /* NULL: nobody logs in (smtp_sasl_auth_enable = no) */
	bool by_sender;			 /* smtp_sender_dependent_authentication */
	const char *recipient_delimiter; /* of senders' extensions; NULL or "": they have none */
	const char *mechanism_filter;	 /* smtp_sasl_mechanism_filter; NULL or "": none */
	struct sasl *sasl;		 /* not NULL with password_maps */
};

struct credentials {
	const char *user, *password;
	const char *key;    /* that has found them; */
	bool is_by_part;    /*   part of the sender's address: patterns do not see it */
	const char *source; /* "sasl_passwd:3" */
	struct buf memory;  /* of all these */
};

/* Wipes the memory; a zeroed struct is fine. */
void credentials_done(struct credentials *c);

/* Not for lmtp:, as in Postfix, where that is a matter of other parameters. */
bool credentials_may_apply(const struct credentials_options *options,
			   const struct transport_route *route);

/*
 * Those for mail from a sender (as in the envelope) to a next hop: MAP_FOUND,
 * MAP_NOT_FOUND (nobody logs in), or an error, which means that nothing is known:
 * mail waits. Each lookup is told to trace, if there is one, with the user for
 * its value.
 */
int credentials_find(const struct credentials_options *options, const char *sender,
		     const struct transport_hop *hop, transport_trace *trace, void *trace_arg,
		     struct credentials *ret, struct error *err);

/* The same by the key alone that has found the hop's login. */
int credentials_find_again(const struct credentials_options *options,
			   const struct transport_hop *hop, struct credentials *ret,
			   struct error *err);

/*
 * What is made of routes for those who log in. Messages in memory have their
 * routes from here, so that they share them. One for each worker.
 */
struct credentials_cache;

struct credentials_cache *credentials_cache_new(void);
void credentials_cache_free(struct credentials_cache *cache); /* NULL is fine */

/*
 * Replace *route, a reference, by one with the logins for mail from this sender,
 * where there are any. On an error nothing has changed, and mail must wait.
 */
int credentials_add(struct credentials_cache *cache, const struct credentials_options *options,
		    const char *sender, const struct transport_route **route, struct error *err);

/* Whether a value of the map has somebody log in. */
bool credentials_are_complete(const char *value);
