/*
 * edge - a site's own server: its users log in to send, its domains' mail
 * lands in Maildirs, everything else goes to the hub
 *
 * Who may send (docs/architecture.md): users that logged in, as themselves;
 * trusted networks; clients with a certificate of relay_clientcerts; anybody
 * else only to our own mailboxes, and never with a sender address of our own
 * domains.
 */
#pragma once

#include "base/log.h"
#include "maps/map.h"
#include "mta/networks.h"
#include "mta/policy.h"

struct edge;

struct edge_options {
	const char *hostname;
	const char *origin; /* myorigin: in maps its users may stand without it; NULL: none */
	const char *recipient_delimiter; /* "" or NULL: addresses have no extensions */
	struct log *log;		 /* for lookups that fail; NULL: silent */
	struct domains *mailbox_domains; /* virtual_mailbox_domains */
	struct maps
		*mailbox_maps;	  /* virtual_mailbox_maps; NULL: each user has domain/local-part/ */
	const char *mailbox_base; /* virtual_mailbox_base, absolute */
	const char *passdb; /* edge/accounts.h, path absolute; NULL: nobody knows who has one */
	struct maps *sender_login_maps; /* NULL: the login is the address */
	struct networks networks;	/* mynetworks */
};

/* Maps, domains and strings stay the caller's and outlive the edge. Blocks: for two seconds where Dovecot hangs. */
int edge_new(const struct edge_options *options, struct edge **ret_edge, struct error *err);
void edge_free(struct edge *edge);

/* Why nobody could log in when the edge was made, though it may change: Dovecot is away; or NULL. */
const char *edge_trouble(const struct edge *edge);

/* Takes up a changed password file. Blocks. 0: changed, MAP_NOT_CHANGED, or an error. */
int edge_refresh(struct edge *edge, struct error *err);

enum edge_mailbox_kind {
	EDGE_MAILBOX_VIRTUAL, /* of a virtual mailbox domain: below virtual_mailbox_base */
	EDGE_MAILBOX_HOME,    /* of a system account: below its home directory */
};

struct edge_mailbox {
	enum edge_mailbox_kind kind;
	const char *path; /* a Maildir: ends in '/' */
	const char *user; /* HOME: the account, as the system has it; else NULL */
	const char
		*source; /* the line of virtual_mailbox_maps; "": an account's, or home_mailbox */
};

/*
 * Where mail for a local address goes, as delivery finds it: MAP_FOUND,
 * MAP_NOT_FOUND, or an error. *ret is in the arena. Blocks, as the system's
 * accounts may be on another host.
 */
int edge_find_mailbox(struct edge *edge, const char *address, struct arena *arena,
		      struct edge_mailbox *ret, struct error *err);

/*
 * Who owns a sender address, by sender_login_maps: MAP_FOUND with a list of
 * logins, MAP_NOT_FOUND (also where there are no such maps), or an error.
 */
int edge_find_owners(struct edge *edge, const char *sender, struct arena *arena,
		     struct map_result *ret, struct error *err);

/* The login that owns a sender address where there are no such maps: itself, or without extension. */
const char *edge_login_of(const struct edge *edge, const char *sender, struct arena *arena);

/* Whether somebody can log in by this name. True where the accounts cannot be read. */
bool edge_has_user(const struct edge *edge, const char *user);

/* The policy of an edge; its arg is the struct edge. */
extern const struct mta_policy edge_policy;
