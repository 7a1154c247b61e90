/*
 * server - what the files of a running server share: run.c (start, signals,
 * end), prepare.c (what needs privileges), reload.c
 */
#pragma once

#include "cli/cli.h"
#include "cli/expiry.h"
#include "cli/generation.h"
#include "cli/ledger_note.h"
#include "cli/privileges.h"
#include "cli/serve.h"
#include "cli/watch.h"

struct server {
	const char *config_file;
	struct log *log;
	struct privileges privileges;
	struct arena arena;
	char *pid_file; /* NULL: not written */

	struct generation *current; /* its descriptors are open, unless are_services_closed */
	struct list generations;    /* all that are in use */

	struct carrier *carrier; /* NULL: not needed, or we were never root */
	struct queue *queue;
	struct ledger_note ledger_note;
	struct mta *mta;
	struct serve *serve;

	struct loop *loop;
	struct loop_timer *refresh_timer;
	struct expiry expiry;
	struct watch *watch; /* NULL: not started */
	int64_t started_ms;  /* Unix */
	struct loop_signal *signals[3];
	bool is_stopping, are_services_closed;
};

/* run.c: a line in the log; arg is the server. */
void server_log_problem(void *arg, const struct config_problem *problem);

/* Take up maps and accounts that have changed. */
void server_refresh(struct server *s);

/* prepare.c: all that needs privileges, which are gone then. */
int prepare_as_root(struct server *s, struct error *err);

/* Make what the configuration wants to have, unless it is there. */
int prepare_directories(const struct privileges *privileges, const struct config *config,
			struct error *err);

/* The directory that sendmail puts mail into (mta/drop.h), which queue_directory is there for. */
int prepare_drop_directory(const struct privileges *privileges, const struct config *config,
			   struct error *err);

/* reload.c: for SIGHUP; the log tells how it went. */
void reload_now(struct server *s);

/* serve_status.c: `posthouse status` is answered from now on. */
void status_serve(struct server *s);

/* `posthouse reload` is answered from now on. */
void reload_serve(struct server *s);
