/*
 * edge - a site's own server: its users log in to send, its domains' mail
 * lands in Maildirs, everything else goes to the hub
 *
 * Who may send (docs/architecture.md): users that logged in, as themselves;
 * trusted networks; clients with a certificate of relay_clientcerts; anybody
 * else only to our own mailboxes, and never with a sender address of our own
 * domains. Mail for relay_domains is taken from anybody, as by a backup MX.
 *
 * Addresses (docs/edge.md): aliases are expanded before a message is queued;
 * what they end in is a mailbox of a virtual domain, one in the home directory
 * of a system account, or elsewhere.
 */
#pragma once

#include "base/log.h"
#include "maps/map.h"
#include "mta/networks.h"
#include "mta/policy.h"

struct carrier;
struct edge;

/* Where the extension of an address goes along to what the address stands for. */
enum edge_propagation {
	EDGE_PROPAGATE_VIRTUAL = 1,
	EDGE_PROPAGATE_ALIAS = 2,
	EDGE_PROPAGATE_INCLUDE = 4,
};

/* What smtpd_sasl_security_options asks of a mechanism. (None of ours is anonymous.) */
enum edge_security {
	EDGE_NOPLAINTEXT = 1 << 0,  /* the password does not cross the wire */
	EDGE_NOACTIVE = 1 << 1,	    /* nor can be had by posing as the server */
	EDGE_NODICTIONARY = 1 << 2, /* nor by guessing from what was overheard */
	EDGE_MUTUAL_AUTH = 1 << 3,  /* the server proves itself, too */
};

/* How mailboxes are written, and by whom. */
struct edge_writing {
	uint64_t mailbox_limit;		  /* virtual_mailbox_limit, bytes; 0: none */
	uint64_t home_limit;		  /* mailbox_size_limit, bytes; 0: none */
	struct maps *uid_maps, *gid_maps; /* owners of mailboxes; NULL: all are our own */
	uint32_t minimum_uid;		  /* virtual_minimum_uid */
	struct carrier *carrier; /* for what is not our own, and homes; NULL: there is none */
};

struct edge_options {
	const char *hostname;
	const char *origin; /* myorigin: in maps its users may stand without it; NULL: none */
	const char *recipient_delimiter;   /* "" or NULL: addresses have no extensions */
	struct log *log;		   /* for lookups that fail; NULL: silent */
	struct domains *mailbox_domains;   /* virtual_mailbox_domains */
	struct domains *alias_domains;	   /* virtual_alias_domains; NULL: none */
	struct domains *local_domains;	   /* mydestination; NULL: none */
	struct domains *relay_domains;	   /* NULL: none */
	struct maps *relay_recipient_maps; /* who there is in them; NULL: nobody knows */
	struct maps *virtual_aliases;	   /* virtual_alias_maps; NULL: none */
	struct maps *local_aliases;	   /* alias_maps, opened as such; NULL: none */
	struct maps
		*local_recipients; /* what else local_recipient_maps has than these; NULL: none */
	bool knows_no_locals;	   /* that is empty: nobody is refused for being unknown */
	bool has_system_users;	   /* local_recipient_maps has the accounts of the system */
	const char *home_mailbox;  /* of these, "Maildir/"; "" or NULL: nowhere */
	unsigned int expansion_limit, recursion_limit; /* virtual_alias_…; 0: 1000 */
	unsigned int propagated; /* enum edge_propagation, or-ed: propagate_unmatched_extensions */
	int unknown_local_code, unknown_alias_code, unknown_mailbox_code; /* of replies; 0: 550 */
	struct maps
		*mailbox_maps;	  /* virtual_mailbox_maps; NULL: each user has domain/local-part/ */
	const char *mailbox_base; /* virtual_mailbox_base, absolute */
	const char *passdb; /* edge/accounts.h, path absolute; NULL: nobody knows who has one */
	struct maps *sender_login_maps; /* NULL: the login is the address */
	struct networks networks;	/* mynetworks */

	/* AUTH */
	const char *local_domain;     /* completes bare login names; "" or NULL: nothing does */
	const char *mechanism_filter; /* as sasl/sasl.h has it; "" or NULL: all are admitted */
	unsigned int security,
		tls_security;	  /* enum edge_security, or-ed: what mechanisms must have */
	int64_t failure_delay_ms; /* the longest (mta/slowdown.h); 0: nobody is slowed */
	struct edge_writing writing;
};

/* Maps, domains and strings stay the caller's and outlive the edge. Blocks: for two seconds where Dovecot hangs. */
int edge_new(const struct edge_options *options, struct edge **ret_edge, struct error *err);
void edge_free(struct edge *edge);

/* Why nobody could log in when the edge was made, though it may change: Dovecot is away; or NULL. */
const char *edge_trouble(const struct edge *edge);

/* Takes up a changed password file. Blocks. 0: changed, MAP_NOT_CHANGED, or an error. */
int edge_refresh(struct edge *edge, struct error *err);

/* How we have to do with a domain. The first that has it counts, as in Postfix's resolver. */
enum edge_class {
	EDGE_CLASS_OTHER,
	EDGE_CLASS_LOCAL,   /* mydestination */
	EDGE_CLASS_ALIAS,   /* virtual_alias_domains */
	EDGE_CLASS_MAILBOX, /* virtual_mailbox_domains */
	EDGE_CLASS_RELAY,   /* relay_domains */
};

/* 0, or an error, which begins with the parameter's name. */
int edge_classify(const struct edge *edge, struct slice domain, enum edge_class *ret,
		  struct error *err);

/* One line on the way from an address to those that it stands for. */
struct edge_alias {
	const char *address;   /* that was looked up; of an included file, its path */
	const char *parameter; /* "virtual_alias_maps", "alias_maps", ":include:" */
	const char *value;     /* of the line */
	const char *source;    /* "aliases:3" */
};

typedef void edge_alias_trace(void *arg, const struct edge_alias *alias);

/*
 * mta_policy.expand, telling of each line, within the call. trace may be NULL.
 * An address that stands for itself and others is one of these; one that is met
 * again, in a circle or otherwise, adds nothing. Where the status is set
 * ret_why, which may be NULL, says more than clients are told.
 */
void edge_expand_traced(struct edge *edge, const char *recipient, edge_alias_trace *trace,
			void *trace_arg, struct arena *arena, struct mta_expansion *ret,
			struct smtp_status *ret_status, struct error *ret_why);

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

/*
 * The login that owns a sender address where there are no such maps: itself, or
 * without extension. *ret is in the arena. 0, or an error: it may be an account.
 */
int edge_login_of(const struct edge *edge, const char *sender, struct arena *arena,
		  const char **ret, struct error *err);

/* Whether any mechanism is left by a filter, by demands, and by what is kept (edge/scheme.h). */
bool edge_admits_any_mechanism(const char *filter, unsigned int security, unsigned int secrets);

/* Whether somebody can log in by this name. True where the accounts cannot be read. */
bool edge_has_user(const struct edge *edge, const char *user);

/* The policy of an edge; its arg is the struct edge. */
extern const struct mta_policy edge_policy;
