/* internal - what control.c, which has the socket, and call.c, one connection, share */
#pragma once

#include "control/control.h"
#include "net/listener.h"

struct control_entry {
	const struct control_handler *handler;
	void *arg;
};

struct control {
	struct loop *loop;
	struct control_options options;
	char *path;
	int lock_fd, fd;
	struct listener *listener;
	struct control_entry entries[CONTROL_HANDLERS];
	unsigned int entry_count;
	struct list calls;
	unsigned int call_count, member_count; /* member_count: of those who may only look */
	unsigned int pending;		       /* calls without an answer yet */
	bool is_leaving;
};

/* A new connection; takes the stream over. */
void control_call_new(struct control *c, struct stream *stream);

/* With the connection, at once; not while it is unanswered. */
void control_call_free(struct control_call *call);

/* End an answer that is made in pieces as if the client had gone. */
void control_call_cut(struct control_call *call);

struct control_call *control_call_from(struct list *link);
