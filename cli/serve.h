/*
 * serve - the server's side of commands: the control socket, and who answers
 *
 * Lives on the main loop of `posthouse run`. Commands on the queue are answered
 * here, by a port of the queue of their own; others are registered by whoever
 * has them.
 */
#pragma once

#include "control/control.h"
#include "mta/mta.h"

struct serve;

struct serve_options {
	const char *run_directory; /* has the socket, "control" */
	struct log *log;
	struct queue *queue;
	struct mta *mta;

	/* Maps are to be looked at again, as what comes next depends on them. */
	void (*refresh)(void *arg);
	void *arg;
};

/* -EBUSY: another server uses the run_directory. The strings are not copied. */
int serve_new(struct loop *loop, const struct serve_options *options, struct serve **ret_serve,
	      struct error *err);

/* Runs the loop until all that was asked has been answered. NULL is fine. */
void serve_free(struct serve *s);

/* For control_register(). */
struct control *serve_control(struct serve *s);

/* Log what was done, or not, because of a call. counts, status: as in cli/audit.h. */
void serve_audit(const struct serve *s, const struct control_call *call, const char *counts,
		 const char *status);
