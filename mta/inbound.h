/*
 * inbound - a session with a client that brings mail
 *
 * Joins the stream, its TLS, the protocol engine (smtp/server.h), the policy
 * and the queue. The 250 after the data is sent when the queue has committed.
 */
#pragma once

#include "mta/worker.h"
#include "net/stream.h"

/* How many connections each client address has, over all workers. */
struct inbound_limits *inbound_limits_new(void);
void inbound_limits_free(struct inbound_limits *limits);
unsigned int inbound_limits_sessions(const struct inbound_limits *limits); /* open now */

/* Serve an accepted stream, by the worker's view of now; the session frees itself when it has ended. */
void inbound_accept(struct mta_worker *worker, enum mta_service_kind kind, struct stream *stream);

/*
 * The server stops: sessions end with 421 4.3.2 as soon as they are between
 * transactions; hurry: now, unless the message is whole and being stored.
 */
void inbound_stop_all(struct mta_worker *worker, bool hurry);
