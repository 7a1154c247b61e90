/*
 * queue_view - what the commands that look at the queue share
 */
#pragma once

#include "config/config.h"
#include "queue/reader.h"

struct queue_view {
	const struct config *config;
	struct queue_reader *reader; /* NULL while no queue has been made yet */
	int64_t now_ms;
	bool is_server_running; /* after queue_view_ask_server() */
	int64_t *active;	/* ids of messages that it works on */
	size_t active_count;
};

/*
 * Open the queue that the configuration names, whatever else is wrong with
 * it. CLI_DONE, or an exit code, and the reason has been told. To be closed
 * in either case.
 */
int queue_view_open(struct queue_view *v, const struct config *config);
void queue_view_close(struct queue_view *v);

/* Ask a running server what it works on. When none runs, or does not tell, nothing is active. */
void queue_view_ask_server(struct queue_view *v);

bool queue_view_is_active(const struct queue_view *v, const struct queue_message *m,
			  const struct queue_recipient *r);

/* "active" where it is that, else as it is stored. */
const char *queue_view_status(const struct queue_view *v, const struct queue_message *m,
			      const struct queue_recipient *r);

/* The message of this name, which the caller frees before the view is closed. */
int queue_view_load(struct queue_view *v, const char *name, struct queue_message **ret);

/* Tell an error; when the queue is somebody else's, whose. Returns the exit code. */
int queue_view_fail(const struct config *config, const struct error *err);
