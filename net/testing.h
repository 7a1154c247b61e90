/*
 * testing - what the tests of net/ share: both ends of a connection, recorded
 *
 * Each event of a recorded end stops the loop, so a test reads as a script:
 * do something, RUN_UNTIL() what must follow, look.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/listener.h"

/* A test that waits for what never comes ends by the alarm that test_start() sets. */
#define RUN_UNTIL(loop, condition)                                                                 \
	while (!(condition))                                                                       \
	loop_run(loop)

struct end {
	struct loop *loop;
	struct stream *stream; /* NULL: not made yet, or freed by free_in */
	struct buf received;   /* all input, in order */
	bool leaves_input;     /* do not consume: leave it to the test */
	char log[256];	       /* the events in order: "connected readable closed " */
	struct error error;    /* of closed() */
	size_t largest_input;
	unsigned int drained;

	/* Called at the end of each event, of which log has the name by then; may be NULL. */
	void (*then)(struct end *end, const char *event);

	const char *free_in; /* the event in which the stream is freed */
	int64_t linger_ms;   /* for that */
};

extern const struct stream_events end_events;

struct loop *test_start(void);

/* Frees the streams that are there, and their loop. */
void test_end(struct loop *loop, struct end *a, struct end *b);

bool end_has(const struct end *end, const char *event);
bool end_received(const struct end *end, const char *text);
void end_send(struct end *end, const char *text); /* and flush */

/* A listening socket on 127.0.0.1. */
int test_listen(struct net_address *ret_address);

/* Connect client to server through a listener; returns when both know. */
void test_connect(struct loop *loop, struct end *client, struct end *server);

/* A stream for server, and the blocking socket of its peer, which the caller closes. */
int test_connect_raw(struct loop *loop, struct end *server);

/* Read all that comes on fd until its end; run the loop meanwhile. */
void test_read_raw(struct loop *loop, int fd, struct buf *out);
