/*
 * explanation - what would become of mail for one address, and why
 *
 * Made of what the resolver, the policy of the mode and the TLS policy answer
 * when they are asked as delivery asks them; printed for people and programs.
 */
#pragma once

#include "cli/cli.h"
#include "cli/explain_probe.h"
#include "cli/generation.h"

enum explain_action {
	EXPLAIN_RELAY,
	EXPLAIN_LOCAL,
	EXPLAIN_ERROR,
	EXPLAIN_RETRY,
	EXPLAIN_DISCARD,
};

struct explain_step {
	struct explain_step *next;
	const char *parameter, *map, *key;
	const char *value, *source; /* NULL: nothing was found */
};

/* Who may send it through this host; all false: nobody. */
struct explain_senders {
	bool anybody;
	bool users;		    /* who has logged in */
	bool networks;		    /* mynetworks */
	bool certificates;	    /* clients with one of relay_clientcerts */
	struct smtp_status refusal; /* what a stranger is told, unless anybody may, */
	bool is_sender_refused;	    /*   for the sender already */
	const char *source;	    /* of relay_domains; "": this is no hub */
};

struct explain_hop {
	const struct transport_hop *hop;
	const char *const *names; /* accepted of a certificate; "nexthop" is resolved */
	unsigned int name_count;
	const char *login, *login_source; /* who logs in there, as of what; NULL: nobody */
	struct probe_result *probe;	  /* NULL: none was made */
};

/* A line of an alias on the way (edge/edge.h). */
struct explain_alias {
	struct explain_alias *next;
	const char *address, *parameter, *value, *source;
};

/* Whom the address that was asked about stands for. */
struct explain_family {
	struct arena arena;
	const char *recipient;
	struct explain_alias *first, *last;
	const char *const *addresses; /* routes are theirs; */
	size_t count;		      /*   0: it stands for itself, unless */
	const char *error;	      /*   this says why nobody knows now; NULL: none */
};

struct explanation {
	struct arena arena;
	const char *address, *sender;	     /* sender NULL: not given */
	const struct explain_family *family; /* whose member the address is, or who it is itself */
	struct explain_step *first, *last;
	const struct transport_route *route; /* a reference; NULL: error says why there is none */
	struct explain_senders senders;

	enum explain_action action;
	const char *source; /* what decided the action: "ts:2", "local"; "" */
	const char *error;  /* the refusal, the reason to wait; NULL: none */

	const char *known_by; /* a hub: what it knows of the recipient; NULL: it does not care */

	const char *mailbox;	    /* local: the Maildir, absolute; NULL: none */
	const char *mailbox_source; /* "vusers:3"; "": that of an account */
	struct explain_hop *hops;
	unsigned int hop_count;
	bool is_probed;
};

/* explain_aliases.c */
void explain_expand(const struct generation *g, const char *recipient, struct explain_family *ret);
void explain_family_done(struct explain_family *f);

/*
 * One of the addresses of a family. Negative: nothing could be asked. To be
 * ended by explain_done() in either case.
 */
int explain_address(const struct generation *g, const struct explain_family *family,
		    const char *address, const char *sender, struct explanation *ret,
		    struct error *err);
void explain_done(struct explanation *e);

/* explain_recipient.c: a part of explain_address() */
void explain_recipient(const struct generation *g, struct explanation *e);

/* Probe each next hop. Negative: it could not be done. */
int explain_probe(const struct generation *g, struct explanation *e, struct error *err);

/* Whether a next hop has failed its probe. */
bool explain_is_failing(const struct explanation *e);

const char *explain_action_name(enum explain_action action);

/* "relay" and the like have next hops, */
bool explain_is_relayed(const struct explanation *e);

/* and where these are no UNIX sockets, a TLS policy. */
bool explain_has_tls(const struct explanation *e);

/* Whether it is names that decide at this level; else they are only recorded. */
bool explain_checks_names(const struct tls_policy *policy);

/* "451 4.3.0 TEXT" */
const char *explain_status_text(struct arena *arena, const struct smtp_status *status);

/* explain_aliases.c: what stands in front of the explanations of a family that has members. */
void explain_aliases_text(const struct explain_family *f, struct buf *out);

/* explain_text.c, explain_json.c: append to out. now_s: for days that are left. */
void explain_text(const struct explanation *e, int64_t now_s, struct buf *out);
void explain_json(const struct explanation *e, struct buf *out);
