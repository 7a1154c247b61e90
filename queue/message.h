/*
 * message - one mail on its way: envelope, origin, body
 *
 * A message is made by the session that receives it, or by the queue when it
 * is claimed for another attempt; it belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "smtp/dsn.h"
#include "smtp/status.h"

#define QUEUE_ID_SIZE 20 /* hexadecimal digits, upper case, and a NUL */

enum queue_status {
	QUEUE_QUEUED,	 /* never tried yet */
	QUEUE_DEFERRED,	 /* tried, waits for due_ms */
	QUEUE_HELD,	 /* waits for the operator */
	QUEUE_DELIVERED, /* done; kept until the message leaves */
	QUEUE_BOUNCED,	 /* done: returned to the sender, or dropped if there is none */
	QUEUE_DELETED,	 /* done: by the operator, and nobody was told */
};

const char *queue_status_name(enum queue_status status); /* "queued", "deferred", … */

/* Not done: queued, deferred or held. */
bool queue_status_is_pending(enum queue_status status);

struct queue_recipient {
	const char *address;  /* where it goes */
	const char *original; /* as the client gave it */
	const char *orcpt;    /* ORCPT=, decoded: "rfc822;bob@example.com"; "": not given */
	unsigned int notify;  /* enum smtp_notify, or-ed; 0: not given */
	enum queue_status status;
	unsigned int attempts;
	int64_t due_ms;	      /* next attempt, Unix milliseconds */
	const char *next_hop; /* of the last attempt, "" before the first */
	int reply_code;	      /* of the last attempt: 0 before the first */
	const char *enhanced; /* "4.7.5", "" */
	const char *reason;   /* escaped text, "" */
	int64_t waits_for; /* deferred until that can take mail again (queue_claim); 0: nothing */
	bool is_warned;	   /* the sender was told of the delay */
	bool is_returning; /* the operator has given it up: the next attempt returns it */
};

/* How the message came in. Strings are escaped, "" where there is nothing. */
struct queue_origin {
	const char *client_ip, *hello, *protocol; /* "192.0.2.1", "mta1", "ESMTPSA" */
	const char *auth_user, *tls_protocol, *tls_cipher;
	const char *cert_name, *cert_fingerprint; /* of the client's certificate; "sha256:HEX" */
	bool cert_verified;			  /* a CA of ours has signed it */
};

/* The bytes of a message: in memory when small, in a file of the queue directory when not. */
struct queue_body;

enum queue_kind {
	QUEUE_MAIL,
	QUEUE_REPORT, /* a delivery status notification of ours */
	QUEUE_DOUBLE_BOUNCE, /* tells a postmaster of a report that could not be delivered; also another's */
};

struct queue_message {
	int64_t id;
	char name[QUEUE_ID_SIZE]; /* the id as operators see it */
	int64_t arrived_ms;
	uint64_t size;		 /* bytes of the body; kept by the queue */
	const char *sender;	 /* "": null reverse-path */
	const char *envelope_id; /* ENVID=, decoded, "" */
	enum smtp_return returning;
	enum queue_kind kind;
	bool body_8bit;
	bool body_binary; /* BODY=BINARYMIME: it need not be lines (RFC 3030) */
	bool requiretls;  /* TLS with a known peer at every hop, or returned (RFC 8689) */
	bool smtputf8;	  /* its header is UTF-8, as was said at MAIL (RFC 6531) */
	struct queue_origin origin;
	struct queue_recipient *recipients;
	unsigned int recipient_count;
	struct queue_body *body;
	struct arena arena; /* owns all of the strings */
};

struct queue;

/* A new message with a fresh id and an empty body. */
struct queue_message *queue_message_new(struct queue *q);

/*
 * Frees the memory; a body file that was never committed is removed. NULL is
 * fine. All messages are freed before the queue (or the reader) that they
 * came from is closed.
 */
void queue_message_free(struct queue_message *m);
DEFINE_CLEANUP(struct queue_message *, queue_message_free);

/*
 * Add a recipient, queued and due at once; strings are copied into the
 * message's arena. The pointer is valid until the next one is added.
 */
struct queue_recipient *queue_message_add_recipient(struct queue_message *m, const char *address,
						    const char *original);

/* Parse and format ids. */
bool queue_id_parse(const char *name, int64_t *ret_id);
void queue_id_format(int64_t id, char out[QUEUE_ID_SIZE]);

/*
 * Writing a body: append as bytes come; when queue_body_must_spill() says so,
 * call queue_body_spill() on a thread that may block before appending more;
 * at the end queue_body_finish(), on such a thread if queue_body_in_file().
 * After a failure (-ENOSPC: no room) the message can only be freed.
 */
void queue_body_append(struct queue_body *b, struct slice bytes);
bool queue_body_must_spill(const struct queue_body *b);
bool queue_body_in_file(const struct queue_body *b);
int queue_body_spill(struct queue_body *b, struct error *err);	/* blocks */
int queue_body_finish(struct queue_body *b, struct error *err); /* blocks when in a file: syncs */
uint64_t queue_body_size(const struct queue_body *b);

/*
 * Reading: a body in memory is one slice. A body in a file is read in pieces,
 * on a thread that may block, in order; the checksum is verified with the
 * last piece, which is not handed out when it is wrong (-EBADMSG).
 */
struct slice queue_body_memory(const struct queue_body *b); /* unless in a file */

struct queue_body_reader {
	struct queue_body *body;
	uint64_t offset;
	void *checksum; /* the reader's */
};

void queue_body_reader_init(struct queue_body_reader *r, struct queue_body *b);

/* Append up to max bytes to out. Returns the count, 0 at the end, or an error. Blocks. */
int64_t queue_body_read(struct queue_body_reader *r, size_t max, struct buf *out,
			struct error *err);
void queue_body_reader_done(struct queue_body_reader *r);
