/*
 * test_name_server - a name server on the loop that asks it
 *
 * What it answers is said by the first label of the name: see zone[] and
 * signed_zone[]. Datagrams and TCP have the same port.
 */
#pragma once

#include "net/testing.h"

struct server {
	struct loop *loop;
	int fd;
	struct poller *poller;
	struct listener *listener; /* on the same port: what does not fit into a datagram */
	struct stream *stream;
	struct net_address address;
	unsigned int queries, tcp_queries;
};

/* Each question stops the loop. */
void server_start(struct server *server, struct loop *loop);
void server_stop(struct server *server);

/* The labels that it knows, by their number; NULL behind the last. */
const char *server_behaviour(unsigned int index);
