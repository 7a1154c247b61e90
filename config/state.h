/*
 * state - what a config consists of; the files of config/ share it
 */
#pragma once

#include <sys/stat.h>

#include "base/strmap.h"
#include "certs/identity.h"
#include "config/config.h"

struct accounts; /* edge/accounts.h */

enum setting_state {
	SETTING_UNREAD,	   /* not expanded yet */
	SETTING_EXPANDING, /* met again in this state, it expands to itself */
	SETTING_READY,
	SETTING_FAULTY, /* a problem was reported */
	SETTING_ABSENT, /* has no meaning in this mode, or is not available */
};

struct config_setting {
	const char *raw;    /* as in the file; NULL: not given */
	unsigned int line;  /* 0: not given */
	const char *source; /* "FILE:LINE", or "default" */
	enum setting_state state;
	const char *value; /* expanded and normalized, when READY */
};

struct config_entry {
	struct config_problem problem;
	size_t rank, number; /* order of files, and of finding */
};

/* A file as it was at a moment. */
struct config_stamp {
	int trouble; /* the errno of stat(), or 0 */
	struct stat st;
};

/* A file with certificates or a key. */
struct config_file {
	enum config_parameter_id id;
	const char *path;
	struct config_stamp read;  /* before it was read */
	struct config_stamp tried; /* when it was last looked at for a renewal */
	struct config_stamp seen;  /* a moment ago */
};

/*
 * What the certificates, keys and CAs are, and what was made of them. It is
 * replaced as a whole when one of the files has changed.
 */
struct config_tls {
	struct arena arena;
	struct config_identity *server_identity, *client_identity; /* NULL also: the same */
	struct buf others; /* of struct config_identity *: those of chains.c */
	struct tls_context *server, *client;
	struct buf files;	 /* of struct config_file */
	struct buf certificates; /* of struct config_certificate */
};

/* A list of networks. */
struct config_networks {
	struct net_prefix *prefixes;
	unsigned int count;
	const char *specs; /* its maps; NULL: none */
	struct maps *maps; /* once opened */
};

struct config {
	struct arena arena;
	const char *file, *directory; /* directory is absolute */
	unsigned int mode;
	struct config_setting settings[CONFIG_PARAMETER_COUNT];

	struct buf problems; /* of struct config_entry */
	struct strmap ranks; /* file name -> size_t, its place among the files with problems */

	/* typed values */
	const struct config_listener *listeners;
	unsigned int listener_count;
	struct config_networks networks; /* mynetworks */
	struct config_networks
		limit_exceptions;   /* of smtpd_client_event_limit_exceptions, if given */
	const char *drop_directory; /* NULL: the queue_directory is faulty */

	/* opened */
	struct maps *transport_maps, *tls_policy_maps, *mailbox_maps, *sender_login_maps;
	struct maps *relay_recipient_maps;
	struct maps *uid_maps, *gid_maps; /* virtual_uid_maps, virtual_gid_maps */
	struct maps *password_maps;	  /* where somebody logs in at next hops, and with */
	struct sasl *sasl;
	struct domains *relay_domains, *mailbox_domains;
	struct domains *alias_domains, *local_domains; /* virtual_alias_domains, mydestination */
	struct maps *virtual_aliases, *local_aliases;  /* virtual_alias_maps, alias_maps */
	struct maps *local_recipients;	  /* of local_recipient_maps, but for the above and for */
	bool has_system_users;		  /*   the system's accounts, */
	bool knows_no_locals;		  /*   or it is empty */
	struct domains *verified_domains; /* relay_recipient_verify */
	struct clientcerts *relay_clientcerts;
	struct config_tls *tls;	     /* NULL until certificates are opened */
	struct buf renewal_problems; /* why changed files are not in use; each ends with NUL */
	struct transport_options transport; /* what the maps are judged by */
	const struct config *running;	    /* what it is to replace; only while it is opened */
	bool is_only_asked;		    /* opened by config_open_to_ask() */
	bool are_accounts_secret;	    /* whoever asks may not read them */
};

/* problem.c: text is formatted and escaped; file is kept, not copied. */
void config_report(struct config *c, const char *file, unsigned int line,
		   enum config_severity severity, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

/* A problem with the value of a parameter, at its line: "NAME: TEXT". */
void config_report_setting(struct config *c, enum config_parameter_id id,
			   enum config_severity severity, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * A problem in a file that the value of a parameter names. A text that begins
 * with "FILE:LINE: ", as those of maps do, is reported there.
 */
void config_report_file(struct config *c, enum config_parameter_id id,
			enum config_severity severity, const char *text);

/* The same where the place is apart: "FILE:LINE", or anything else, which has no line. */
void config_report_source(struct config *c, enum config_parameter_id id,
			  enum config_severity severity, const char *source, const char *text);

void config_sort_problems(struct config *c);

/* open.c: findings about what one parameter names; config_on_finding() is a map_report of them. */
struct config_finder {
	struct config *config;
	enum config_parameter_id id;
};

void config_on_finding(void *arg, bool is_error, const char *source, const char *text);
void config_open_specs(struct config *c, enum config_parameter_id id, const char *specs,
		       struct maps **ret);
void config_open_maps(struct config *c, enum config_parameter_id id, struct maps **ret);
void config_refuse_substitutions(struct config *c, enum config_parameter_id id, struct maps *maps);
void config_check_maps(struct config *c, enum config_parameter_id id, struct maps *maps);
void config_open_domains(struct config *c, enum config_parameter_id id, struct domains **ret);

/* owners.c: whose mailboxes are, and who can write them. Once mydestination is open. */
void config_open_owners(struct config *c);
void config_edge_writing(const struct config *c, struct edge_writing *ret);

/* addresses.c: aliases, and the domains of local users. Once the mailboxes are open. */
void config_open_addresses(struct config *c);
void config_edge_addresses(const struct config *c, struct edge_options *ret);

/* reach.c: warns of relay_domains that no line of transport_maps is for. Once both are open. */
void config_check_reach(struct config *c);
void config_check_verified(struct config *c);	   /* and what is in relay_recipient_verify alone */
void config_check_relay_domains(struct config *c); /* and of all domains there are, as an error */

/* The place of a file among those that problems are told of; the first call for it decides. */
size_t config_rank_file(struct config *c, const char *file);

/* evaluate.c: sets state and value of a setting and of those that it refers to. */
void config_evaluate(struct config *c, enum config_parameter_id id);

/*
 * values.c: check an expanded value against its type, and normalize it: paths
 * become absolute. The result is in the arena. The error says what was expected.
 */
int config_value_check(struct config *c, const struct config_parameter *p, const char *value,
		       const char **ret_value, struct error *err);

/* A path of the file, made absolute; in the arena. */
const char *config_path(struct config *c, struct slice path);

/* Typed values; the setting must be READY. */
int64_t config_number(const struct config *c, enum config_parameter_id id);
bool config_bool(const struct config *c, enum config_parameter_id id);

/* The value, unless it is empty; NULL also when it is faulty or has no meaning. */
static inline const char *config_given_value(const struct config *c, enum config_parameter_id id)
{
	const char *value = config_value(c, id);

	return value && value[0] != '\0' ? value : NULL;
}

static inline bool config_is_given(const struct config *c, enum config_parameter_id id)
{
	return c->settings[id].raw != NULL;
}

/* rules.c: what one value alone does not show. */
void config_check_rules(struct config *c);

/* accounts.c: who may log in. Once the maps of mailboxes are open. */
void config_check_accounts(struct config *c);

/* Whether smtpd_sasl_passdb is of use: clients may log in by it, or its users have the mailboxes. */
bool config_needs_accounts(const struct config *c);

/* permissions.c: whether the account that the server runs as can use what it needs. */
void config_check_user(struct config *c);
void config_check_file_readable(struct config *c);
void config_check_directory(struct config *c, enum config_parameter_id id);

/* A queue that somebody else has made, restored or opened is of no use to the server. */
void config_check_queue_files(struct config *c);

/* The directory that sendmail puts mail into, once it is there: all accounts must get at it. */
void config_check_drop_directory(struct config *c);

/* A file that is read again while the server runs. */
void config_check_readable(struct config *c, enum config_parameter_id id, const char *path);

/* A socket that it connects to. One that is not there will be made by whoever listens. */
void config_check_socket(struct config *c, enum config_parameter_id id, const char *path);

/* A file of a map, and the database that it names. */
void config_check_map_readable(struct config *c, enum config_parameter_id id, struct map *map);

/* A file of secrets that others may read deserves a warning. */
void config_check_secret(struct config *c, enum config_parameter_id id, const char *path);

/* The same for passwords in the clear: nobody but the server's account needs to read them. */
void config_check_passwords(struct config *c, enum config_parameter_id id, const char *path);

/* A key that is read as root at the start, and by the account at a reload. */
void config_check_key_readable(struct config *c, enum config_parameter_id id, const char *path);

/* anew.c: an error for each parameter that cannot become what it is in c. */
void config_check_fixed(struct config *c);

/* stamp.c */
void config_stamp_take(const char *path, struct config_stamp *ret);
bool config_stamp_is_same(const struct config_stamp *a,
			  const struct config_stamp *b); /* contents */
bool config_stamp_is_equal(const struct config_stamp *a,
			   const struct config_stamp *b); /* owner, mode and all */

/*
 * identity.c: a certificate and its key, counted by the configurations that
 * have it. Loads them, or takes over what c->running has from the same files.
 */
struct config_identity;

int config_identity_load(struct config *c, const char *cert_file, const char *key_file,
			 struct config_identity **ret, struct error *err);
struct config_identity *config_identity_ref(struct config_identity *i);
void config_identity_unref(struct config_identity *i); /* NULL is fine */
bool config_identity_is_of(const struct config_identity *i, const char *chain_file);
const struct certs_identity *config_identity_get(const struct config_identity *i);

/* certificates.c: fills in c->tls. */
void config_open_certificates(struct config *c);

/*
 * open.c: how bad it is that a secret cannot be read: to whoever only asks, it
 * may be forbidden.
 */
enum config_severity config_secret_severity(const struct config *c, const struct error *err);

/* expiry.c: remember the certificates of a PEM text, and warn of those whose time is over. */
void config_add_certificates(struct config *c, enum config_parameter_id id, const char *file,
			     bool is_ca, struct slice pem);

/* certificates.c: load and complain; NULL then. key_file NULL: the key is in cert_file. */
struct config_identity *config_load_files(struct config *c, enum config_parameter_id cert_id,
					  enum config_parameter_id key_id, const char *cert_file,
					  const char *key_file);

/* From before the first byte is read: what changes later is looked at again. */
void config_note_file(struct config *c, enum config_parameter_id id, const char *path);

/* chains.c: the certificates of a server beside smtpd_tls_cert_file; they live in c->tls. */
struct config_chains {
	const struct certs_identity *const *list;
	unsigned int count;
	const struct tls_host *hosts;
	unsigned int host_count;
};

void config_open_chains(struct config *c, struct config_chains *ret);

/* Whether the server has a certificate for clients that ask for no name. */
static inline bool config_has_certificate(const struct config *c)
{
	return config_given_value(c, CONFIG_SMTPD_TLS_CERT_FILE) ||
	       config_given_value(c, CONFIG_SMTPD_TLS_CHAIN_FILES);
}

/* clients.c: whether they are asked for certificates, and what contradicts itself there. */
bool config_asks_clients(const struct config *c);
void config_check_clients(struct config *c);
void config_open_clients(struct config *c);

/* logins.c: what contradicts itself; and, when the routes are open, the passwords. */
void config_check_logins(struct config *c);
void config_open_logins(struct config *c);

/* auth.c: what clients log in by. The options are those of AUTH; the others are left alone. */
void config_check_auth(struct config *c);
void config_check_served(struct config *c, struct accounts *accounts); /* once they are open */
bool config_logs_in(const struct config *c);			       /* smtpd_sasl_auth_enable */
void config_auth_options(const struct config *c, struct edge_options *ret);
void config_credentials_options(const struct config *c, struct credentials_options *ret);

/* Of an error about a password map: what it quotes may be a password. */
void config_hide_secret(struct error *err);

/* options.c: what the resolver is told, also while there are errors elsewhere. */
void config_transport_options(const struct config *c, struct transport_options *ret);
