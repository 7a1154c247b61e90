/*
 * queue - messages accepted for delivery and not yet finished, on disk
 *
 * When an append has completed with 0 we have taken responsibility for the
 * message (RFC 5321 section 6.1): the 250 after DATA is sent after it, never
 * before. docs/queue.md lists every state and what a crash does to it.
 *
 * One thread, inside, owns the only connection that writes. Each worker has a
 * port: it submits requests and gets completions on its own thread. Requests
 * that arrive while a commit is syncing share the next transaction.
 *
 * Requests are served in two lines, each in the order of arrival. Claims,
 * releases, and records that only defer are patient: others may overtake them,
 * as somebody waits for these. So whoever depends on such a request waits for
 * its completion: a message is released when its records are done.
 *
 * Claims are held in memory only: after a crash everything unfinished is due.
 * A message is claimed as a whole by whoever appended it, or got it from
 * queue_claim(), until queue_release().
 *
 * Requests belong to the caller and must live until done() was called.
 */
#pragma once

#include "base/clock.h"
#include "base/list.h"
#include "queue/ledger.h"
#include "queue/message.h"

struct queue;

struct queue_options {
	const char *directory;	  /* queue.db, bodies/ and the lock live in it; created 0700 */
	size_t body_memory_bytes; /* larger bodies go to files; 0: 128 KiB */
	unsigned int batch_max;	  /* requests in one transaction; 0: 128 */
	uint64_t minfree_bytes;	  /* mail is refused while less is free */
	uint64_t ballast_bytes;	  /* 0: 32 MiB, or an eighth of a smaller file system */
	const struct clock *clock;
	void (*warn)(void *arg, const char *text); /* from the queue's thread; may be NULL */
	void *warn_arg;
};

/*
 * Open the queue, creating it if absent, sweep body files without a row, and
 * start its thread. -EBUSY: another process has it open.
 */
int queue_open(const struct queue_options *options, struct queue **ret_queue, struct error *err);

/* As it was given to queue_open(): for readers (queue/reader.h). */
const char *queue_directory(const struct queue *q);

/* Finishes what was submitted, stops the thread, closes. All ports must have been freed. */
void queue_close(struct queue *q);

/*
 * Whether there is room for a message of this size (0: not known), as of a
 * second ago at most; from any thread, at no cost. False: answer 452 4.3.1.
 * The queue warns when that begins and when it ends.
 */
bool queue_has_room(const struct queue *q, uint64_t size);

struct queue_port;

/*
 * wake() is called from the queue's thread when completions wait for
 * queue_port_dispatch(), once for all that were in a transaction. It must not
 * block or call the queue: uv_async_send() is what it is for.
 */
struct queue_port *queue_port_new(struct queue *q, void (*wake)(void *arg), void *arg);
void queue_port_free(struct queue_port *port); /* no request may be pending */

/* Call done() of what has completed. */
void queue_port_dispatch(struct queue_port *port);

enum queue_request_kind {
	QUEUE_REQUEST_APPEND,
	QUEUE_REQUEST_RECORD,
	QUEUE_REQUEST_CLAIM,
	QUEUE_REQUEST_RELEASE,
	QUEUE_REQUEST_ACTION, /* queue/action.h, as the next */
	QUEUE_REQUEST_ACTIVE,
};

struct queue_request {
	void (*done)(struct queue_request *request); /* may be NULL for releases */
	int result;				     /* 0 or a negative errno value */
	struct error error;
	/* the queue's */
	enum queue_request_kind kind;
	struct queue_port *port;
	struct list link;
	int64_t due_ms;
};

/* Store a message whose body is finished. On success it is claimed by the caller. */
struct queue_append {
	struct queue_request request;
	struct queue_message *message; /* stays the caller's, untouched until done */
};

void queue_submit_append(struct queue_port *port, struct queue_append *append);

/* What has become of recipients of one message in one attempt. */
struct queue_outcome {
	unsigned int recipient;	  /* index in the message */
	enum queue_status status; /* DEFERRED, DELIVERED or BOUNCED; HELD for a damaged body */
	int64_t due_ms;		  /* for DEFERRED */
	unsigned int attempts;
	const char *next_hop;
	int reply_code;
	const char *enhanced, *reason;
	int64_t waits_for; /* for DEFERRED: what queue_claim can ask for it by; 0: nothing */
	bool is_warned; /* the sender is told of the delay with this record; once told stays told */
	const struct queue_ledger_row
		*ledger; /* NULL: none; id, sender and recipient are filled in by the queue */
};

/*
 * Record outcomes, their ledger rows, and what is told to the sender, in one
 * transaction. When no recipient is left to do, the message is removed, and
 * its body file too; removed tells. Where an operator has deleted all of these
 * recipients meanwhile only the ledger's rows are stored: is_void.
 */
struct queue_record {
	struct queue_request request;
	struct queue_message *message;
	const struct queue_outcome *outcomes;
	size_t outcome_count;
	struct queue_message *const *notifications; /* reports: stored, and claimed by the caller */
	size_t notification_count;
	bool removed; /* result: the claim has ended with it */
	bool is_void; /* result: the notifications were not stored, and are to be freed */
};

void queue_submit_record(struct queue_port *port, struct queue_record *record);

/*
 * Claim messages that have a recipient due, the longest due first. They come
 * with all of their recipients, done ones too: the index of a recipient is
 * always the same. Small bodies are in memory. A message that is found to be
 * damaged is held, with a warning, and the claim goes on.
 *
 * With waits_for the order is that of arrival, and recipients that wait for it
 * come as due. Its numbers are the caller's, and must mean the same after a
 * restart: they are stored.
 */
struct queue_claim {
	struct queue_request request;
	int64_t now_ms;
	int64_t waits_for; /* 0, or what waits for this comes instead, though it is not due yet; */
	int64_t after_id; /*   of messages behind this one; result: where to go on, 0: at the end */
	unsigned int max_messages;
	size_t max_bytes; /* of bodies in memory; at least one message comes */

	struct queue_message *
		*messages; /* result: malloc'ed array, the caller's, as are the messages */
	unsigned int message_count;
	int64_t next_due_ms; /* result: when something unclaimed becomes due; INT64_MAX: nothing waits */
};

void queue_submit_claim(struct queue_port *port, struct queue_claim *claim);

/*
 * Give up the claim on a message that was not removed; what is due of it can
 * be claimed again. Without done() the request is copied: it may be gone as
 * soon as it was submitted.
 */
struct queue_release {
	struct queue_request request;
	int64_t id;
	int64_t due_ms; /* result: when it is due, operators' actions included; INT64_MAX: never */
};

void queue_submit_release(struct queue_port *port, struct queue_release *release);

struct queue_counts {
	int64_t messages, recipients, bytes, oldest_ms; /* oldest_ms: 0 when empty */
};

/* As of the last commit; from any thread. */
void queue_counts(struct queue *q, struct queue_counts *ret);

/*
 * Rows of the ledger go when they are older than this; 0, as it is in the
 * beginning: never. From any thread.
 */
void queue_keep_ledger(struct queue *q, int64_t lifetime_s);

/* Where the ledger ends, as of the last commit; from any thread. */
void queue_ledger_head(struct queue *q, struct queue_ledger_link *ret);
