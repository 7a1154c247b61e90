/*
 * ledger_columns - the columns of q_ledger, and where an entry has them
 *
 * One table for writing, reading and hashing. The order is part of the format:
 * a row's hash covers the numbers of its columns. New ones come at the end,
 * with 0 or '' as the default, which is not hashed; so they change no hash of
 * a row that is there already.
 */
#pragma once

#include <stddef.h>

#include "queue/ledger.h"

enum queue_ledger_type {
	QUEUE_LEDGER_INT,
	QUEUE_LEDGER_ENUM,
	QUEUE_LEDGER_BOOL,
	QUEUE_LEDGER_TEXT,
};

#define QUEUE_LEDGER_COLUMNS(X, SEPARATOR)                                                         \
	X(INT, row, number)                                                                        \
	SEPARATOR X(INT, time_ms, row.time_ms) SEPARATOR X(INT, message, message)                  \
	SEPARATOR X(ENUM, kind, row.kind) SEPARATOR X(ENUM, status, status)                        \
	SEPARATOR X(TEXT, sender, sender)                                                          \
	SEPARATOR X(TEXT, recipient, recipient)                                                    \
	SEPARATOR X(TEXT, transport, row.transport) SEPARATOR X(TEXT, next_hop, row.next_hop)      \
		SEPARATOR                                                                          \
		X(TEXT, peer, row.peer) SEPARATOR                                                  \
		X(TEXT, source, row.source) SEPARATOR                                              \
		X(TEXT, reply, row.reply) SEPARATOR                                                \
		X(BOOL, by_peer, row.by_peer) SEPARATOR                                            \
		X(BOOL, has_tls_policy, row.has_tls_policy) SEPARATOR                              \
		X(TEXT, level, row.level) SEPARATOR                                                \
		X(TEXT, mode, row.mode) SEPARATOR                                                  \
		X(TEXT, protocol, row.protocol) SEPARATOR                                          \
		X(TEXT, cipher, row.cipher) SEPARATOR                                              \
		X(BOOL, in_clear, row.in_clear) SEPARATOR                                          \
		X(BOOL, verified, row.verified) SEPARATOR                                          \
		X(TEXT, verified_by, row.verified_by) SEPARATOR                                    \
		X(BOOL, resumed, row.resumed) SEPARATOR                                            \
		X(TEXT, peer_name, row.peer_name) SEPARATOR                                        \
		X(TEXT, fingerprint, row.fingerprint) SEPARATOR                                    \
		X(TEXT, pubkey_fingerprint, row.pubkey_fingerprint) SEPARATOR                      \
		X(INT, arrived_ms, arrived_ms)                                                     \
	SEPARATOR X(INT, size, size)                                                               \
	SEPARATOR X(TEXT, client_ip, origin.client_ip) SEPARATOR X(TEXT, hello, origin.hello)      \
		SEPARATOR                                                                          \
		X(TEXT, origin_protocol, origin.protocol) SEPARATOR                                \
		X(TEXT, auth_user, origin.auth_user) SEPARATOR                                     \
		X(TEXT, origin_tls_protocol, origin.tls_protocol) SEPARATOR                        \
		X(TEXT, origin_tls_cipher, origin.tls_cipher) SEPARATOR                            \
		X(TEXT, cert_name, origin.cert_name) SEPARATOR                                     \
		X(TEXT, cert_fingerprint, origin.cert_fingerprint) SEPARATOR                       \
		X(BOOL, cert_verified, origin.cert_verified)

#define QUEUE_LEDGER_NAME(type, column, field) #column

/* "row, time_ms, …", for SQL. */
#define QUEUE_LEDGER_COMMA ", "
#define QUEUE_LEDGER_NAMES QUEUE_LEDGER_COLUMNS(QUEUE_LEDGER_NAME, QUEUE_LEDGER_COMMA)

struct queue_ledger_column {
	const char *name;
	enum queue_ledger_type type;
	size_t offset; /* in struct queue_ledger_entry */
};

#define QUEUE_LEDGER_COLUMN_COUNT 36

extern const struct queue_ledger_column queue_ledger_columns[QUEUE_LEDGER_COLUMN_COUNT];

/* The value of a column that is no text, and of one that is; NULL counts as empty. */
int64_t queue_ledger_number(const struct queue_ledger_entry *entry,
			    const struct queue_ledger_column *column);
const char *queue_ledger_text(const struct queue_ledger_entry *entry,
			      const struct queue_ledger_column *column);

/* The other way; -EBADMSG where an enum has no such value. */
int queue_ledger_set_number(struct queue_ledger_entry *entry,
			    const struct queue_ledger_column *column, int64_t value);
void queue_ledger_set_text(struct queue_ledger_entry *entry,
			   const struct queue_ledger_column *column, const char *text);
