/*
 * ledger - one row for each delivery attempt: how it went, and how it was encrypted
 *
 * Rows outlive their message. They are written in the transaction that records
 * the outcome, so what the ledger says is what the queue knows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct queue_ledger_row {
	int64_t time_ms;
	const char *transport, *next_hop, *peer; /* "relay-smtps", "[host]:465", "192.0.2.1:465" */
	const char *source;			 /* what chose the route: "ts:2" */
	const char *reply;			 /* the last words, escaped */
	bool by_peer;		       /* these are the peer's, and not our own about it */
	bool has_tls_policy;	       /* false for local deliveries: tls is null in JSON */
	const char *level, *mode;      /* "encrypt"; "implicit", "starttls", "none" as it went */
	const char *protocol, *cipher; /* "" when it went in the clear or no handshake was done */
	bool verified, resumed;
	const char *peer_name, *fingerprint;
};
