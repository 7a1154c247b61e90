/*
 * config - one file, checked as a whole, and turned into the options of each module
 *
 * Three steps, each of which collects problems instead of stopping at the first:
 *	config_load()	the file itself: grammar, names, values
 *	config_open()	what it names: maps, domains, certificates, accounts
 *	config_…_options()	only when there was no error
 *
 * The config owns every map, certificate and string that it hands out, so it
 * outlives the modules that were made from it. Values do not change after
 * config_open(); maps do, by config_refresh(), and are safe to use meanwhile.
 * One thread at a time may call what is declared here.
 */
#pragma once

#include "config/listen.h"
#include "config/schema.h"
#include "edge/carrier.h"
#include "edge/edge.h"
#include "hub/hub.h"
#include "mta/mta.h"
#include "queue/queue.h"

struct config;

enum config_severity {
	CONFIG_ERROR,	/* nothing may be started with it */
	CONFIG_WARNING, /* works, but is likely not what is wanted */
	CONFIG_NOTICE,	/* good news: a changed map was taken up */
};

const char *config_severity_name(enum config_severity severity); /* "error", … */

struct config_problem {
	const char *file;  /* as the operator wrote it */
	unsigned int line; /* 1 for what concerns all of the file */
	enum config_severity severity;
	const char *text; /* escaped, safe to print */
};

/*
 * Read the file. There is always a config, which the caller frees; whether it
 * is of any use is told by its problems. A file that cannot be read is one.
 */
struct config *config_load(const char *file);

/* The same from memory; file gives the name in problems and the directory of relative paths. */
struct config *config_load_text(const char *file, struct slice text);
void config_free(struct config *config);
DEFINE_CLEANUP(struct config *, config_free);

/* Sorted: those of the configuration file by line, then those of other files. */
size_t config_problem_count(const struct config *config);
const struct config_problem *config_problem_at(const struct config *config, size_t index);
bool config_has_errors(const struct config *config);

/* CONFIG_HUB or CONFIG_EDGE; 0 when the file does not say. */
unsigned int config_mode(const struct config *config);

/*
 * The effective value: given or default, expanded, paths made absolute. NULL
 * for a parameter that has no meaning in this mode, is not available, or whose
 * value is faulty.
 */
const char *config_value(const struct config *config, enum config_parameter_id id);

/* The same for people to read: without passwords that stand in it. */
const char *config_shown_value(struct config *config, enum config_parameter_id id);

/* Where the effective value was given: "posthouse.conf:9"; "default" where it was not. */
const char *config_source(const struct config *config, enum config_parameter_id id);

/* The default as the manual gives it: "$mydomain". NULL as above. */
const char *config_default(struct config *config, enum config_parameter_id id);

/*
 * Open what the file names. Reads keys, so call it before dropping privileges.
 * Opens as much as it can when config_load() has found errors, to find more.
 */
void config_open(struct config *config);

/*
 * The same for one that answers questions and that no server will be started
 * with. Secrets that the asker may not read are warnings: without our key TLS
 * clients show no certificate, without the password file the edge knows no
 * accounts. What the server's account may do is not looked at.
 */
void config_open_to_ask(struct config *config);

/*
 * The same for one that is to replace another while the server runs. A key
 * whose file is the same is not read again: the account that we are by now may
 * not be able to. Clients resume their TLS sessions. What cannot change any
 * more is an error.
 */
void config_open_anew(struct config *config, const struct config *running);

/*
 * Append the names of the parameters that differ: "listen, smtpd_timeout", and
 * how many there are. Files of the same name count where they are certificates.
 */
size_t config_changes(const struct config *config, const struct config *running, struct buf *out);

/*
 * Take up maps that have changed; a broken new version is reported once, and
 * the old one stays in use. Blocks on files. Problems are valid during report().
 */
void config_refresh(struct config *config,
		    void (*report)(void *arg, const struct config_problem *problem), void *arg);

/*
 * Take up certificates, keys and CAs whose files have changed, once they have
 * stopped to change: all of them, or none. Then config_mta_options() has other
 * contexts, and those before are returned, to be freed when nobody uses them
 * any more, or to be put back. NULL: nothing is new. What cannot be used is
 * reported once, and the old ones stay.
 */
struct config_tls *config_renew(struct config *config,
				void (*report)(void *arg, const struct config_problem *problem),
				void *arg);

/* What has changed since, as notices: for when it is in use. */
void config_report_renewal(struct config *config, struct config_tls *before,
			   void (*report)(void *arg, const struct config_problem *problem),
			   void *arg);
void config_tls_free(struct config_tls *tls); /* NULL is fine */

/*
 * Why files that have changed are not in use: *cursor goes from NULL to one
 * text after another. False: that was the last.
 */
bool config_next_renewal_problem(const struct config *config, const char **cursor);
void config_tls_restore(struct config *config, struct config_tls *before);

/* A certificate in one of the files; the texts live as long as the files stay in use. */
struct config_certificate {
	enum config_parameter_id id; /* which names the file */
	const char *file;
	bool is_ca;	     /* one that we trust; else it is ours, or belongs to its chain */
	const char *subject; /* escaped */
	int64_t not_before_s, not_after_s;
};

/*
 * Those of a file are in its order; of many CAs in one file only those are
 * there that expire first.
 */
const struct config_certificate *config_certificates(const struct config *config,
						     size_t *ret_count);

/* Whole days until not_after, negative when it has passed. */
int64_t config_certificate_days_left(const struct config_certificate *certificate, int64_t now_s);

/*
 * Report each certificate that has expired (an error, as are the last
 * CONFIG_EXPIRES_NOW_DAYS) or will within CONFIG_EXPIRES_SOON_DAYS (a warning).
 */
#define CONFIG_EXPIRES_SOON_DAYS 30
#define CONFIG_EXPIRES_NOW_DAYS	 7
void config_report_expiry(const struct config *config, int64_t now_s,
			  void (*report)(void *arg, const struct config_problem *problem),
			  void *arg);

/* Where sendmail puts mail (mta/drop.h). Available after config_load(); NULL: nobody can say. */
const char *config_drop_directory(const struct config *config);

/*
 * What a program needs to know that hands mail to the server by its drop
 * directory. Available after config_load(), whatever is wrong elsewhere. False:
 * not even this can be told.
 */
struct config_submission {
	const char *hostname, *origin, *drop_directory;
	uint64_t size_limit;	/* bytes; 0: no limit */
	unsigned int hop_limit; /* Received fields */
};

bool config_submission(const struct config *config, struct config_submission *ret);

enum net_protocols config_protocols(const struct config *config); /* inet_protocols */

/* To bind, in the order given. Available after config_load() without errors. */
const struct config_listener *config_listeners(const struct config *config,
					       unsigned int *ret_count);

/*
 * What follows is available after config_open() without errors. Fields that do
 * not come from the file are left alone: clock, log, queue, policy, services.
 */
void config_queue_options(const struct config *config, struct queue_options *ret);
int64_t config_ledger_lifetime_s(const struct config *config);	 /* for queue_keep_ledger() */
int64_t config_destination_alarm_s(const struct config *config); /* 0: no alarms */
void config_mta_options(const struct config *config, struct mta_options *ret);
void config_edge_options(const struct config *config, struct edge_options *ret);

/*
 * What the process has to be told that writes mailboxes which are not the
 * server's own. False: there are no such mailboxes. Strings are the config's.
 */
bool config_carrier_rights(const struct config *config, struct carrier_rights *ret);

/*
 * False where each of virtual_mailbox_domains has a line in transport_maps that
 * leads elsewhere, as to Dovecot's LMTP: then virtual_mailbox_base is not ours,
 * and is neither made nor has to be writable.
 */
bool config_has_mailboxes(const struct config *config);

/* The one owner of all virtual mailboxes, where virtual_uid_maps names just one. */
bool config_mailbox_owner(const struct config *config, uid_t *ret_uid, gid_t *ret_gid);

void config_hub_options(const struct config *config, struct hub_options *ret);
