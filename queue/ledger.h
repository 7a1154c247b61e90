/*
 * ledger - one row for each delivery attempt: how it went, and how it was encrypted
 *
 * Rows outlive their message. They are written in the transaction that records
 * the outcome, so what the ledger says is what the queue knows. Each also has
 * the sender, the recipient and how the message came in, and so stands for
 * itself when the message is gone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "queue/message.h"

enum queue_ledger_kind {
	QUEUE_LEDGER_ATTEMPT, /* a delivery was tried */
	QUEUE_LEDGER_DECISION, /* nothing was tried: returned by a route or the operator, discarded */
	QUEUE_LEDGER_DELETED, /* by the operator */
	QUEUE_LEDGER_GAP,     /* rows were lost with a damaged database, as the reply tells */
};

/* What whoever makes an attempt knows. */
struct queue_ledger_row {
	enum queue_ledger_kind kind;
	int64_t time_ms;
	const char *transport, *next_hop, *peer; /* "relay-smtps", "[host]:465", "192.0.2.1:465" */
	const char *source;			 /* what chose the route: "ts:2" */
	const char *reply;			 /* the last words, escaped */
	bool by_peer;		       /* these are the peer's, and not our own about it */
	bool has_tls_policy;	       /* false for local deliveries: tls is null in JSON */
	const char *level, *mode;      /* "encrypt"; "implicit", "starttls", "none" as it went */
	const char *protocol, *cipher; /* "" when it went in the clear or no handshake was done */
	bool in_clear;		       /* envelope or message could be read on the network */
	bool verified, resumed;
	const char *verified_by; /* "ca", "fingerprint", "dane"; "" unless verified */
	/*
	 * Of the certificate that the peer has shown; without a protocol in a
	 * handshake that failed, so that nothing proves that it is the peer's.
	 */
	const char *peer_name;
	const char *fingerprint, *pubkey_fingerprint; /* "sha256:HEX", "pubkey-sha256:HEX", "" */
};

/* A row as it is stored. Strings are never NULL when it was read. */
struct queue_ledger_entry {
	int64_t number;	 /* 1, 2, … in the order of commits, without holes */
	int64_t message; /* its id; 0 for a gap */
	enum queue_status status;
	const char *sender, *recipient;
	int64_t arrived_ms, size; /* of the message; of a gap: the rows that it lies between */
	struct queue_origin origin;
	struct queue_ledger_row row;
};

#define QUEUE_LEDGER_HASH_SIZE 32

/* A place in the chain of hashes: a row, and the hash that stands for it and all before it. */
struct queue_ledger_link {
	int64_t row;
	unsigned char hash[QUEUE_LEDGER_HASH_SIZE];
};

/* Where the ledger ends, and in front of what it begins. */
struct queue_ledger_ends {
	struct queue_ledger_link head;
	struct queue_ledger_link
		anchor;	   /* the last row that has expired, or is older than the chain */
	int64_t anchor_ms; /* when it was written; 0: no row has expired yet */
};

/* Two rows that do not follow each other as they should. */
struct queue_ledger_break {
	int64_t before, after;			      /* their numbers */
	unsigned char bridge[QUEUE_LEDGER_HASH_SIZE]; /* the hash that the second should have */
	bool is_gap; /* the second is the record of this very gap, and its hash is right */
};

/* Make all strings of an entry the arena's. */
void queue_ledger_keep(struct arena *arena, struct queue_ledger_entry *entry);
