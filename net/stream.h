/*
 * stream - a buffered TCP or UNIX connection, with room for a filter (TLS)
 *
 * Bytes that arrived are in stream_input(): look, then buf_consume(). Bytes to
 * send are appended to stream_output() and go out with stream_flush(), which
 * is also called by the stream itself when a callback of its user returns; so
 * replies that are made in one callback leave in one write, and one TLS record.
 *
 * Limits: reading stops while the input holds 64 KiB or more, and goes on when
 * the user has consumed some: inside a callback, or anywhere else followed by
 * stream_flush(). The output grows as its user lets it: ask stream_pending()
 * and wait for drained().
 *
 * A stream is closed once: by its user (stream_free()), or by the peer or an
 * error, when closed() is called; after that nothing more is called, and the
 * user calls stream_free(), which may be done inside any callback.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "net/address.h"
#include "net/loop.h"

struct stream;

/*
 * What stands between the wire and the user. A filter is pure computation on
 * buffers, so it can be tested without sockets. It is made for one stream,
 * which frees it.
 */
enum stream_filter_state {
	STREAM_FILTER_BUSY = 1,	 /* the handshake goes on */
	STREAM_FILTER_OPEN = 2,	 /* bytes may pass */
	STREAM_FILTER_ENDED = 3, /* after OPEN: the peer ended it in order (close_notify) */
};

struct stream_filter {
	/*
	 * Take what can be taken from wire_in; append decoded bytes to input,
	 * and bytes for the peer (handshake, alerts) to wire_out, also when
	 * failing. Called with an empty wire_in to start a handshake. Returns
	 * a state or a negative error.
	 */
	int (*decode)(struct stream_filter *f, struct buf *wire_in, struct buf *input,
		      struct buf *wire_out, struct error *err);

	/*
	 * Consume all of output and append its encoded form to wire_out. Called
	 * once OPEN, and also when ENDED since, for the answers to what came
	 * before the end.
	 */
	int (*encode)(struct stream_filter *f, struct buf *output, struct buf *wire_out,
		      struct error *err);

	/* Append the farewell (close_notify) to wire_out. Not called before OPEN or after a failure. */
	void (*finish)(struct stream_filter *f, struct buf *wire_out);

	void (*free)(struct stream_filter *f);
};

/* Those that the user has no use for may be NULL, but for closed(). */
struct stream_events {
	void (*connected)(void *arg); /* after stream_connect() */
	void (*secured)(void *arg);   /* the filter's handshake is done */
	void (*readable)(void *arg);  /* new bytes in stream_input() */
	void (*drained)(void *arg);   /* all of the output has gone to the kernel: each time */

	/*
	 * No more bytes will come. err->code is 0 when the peer ended in order;
	 * the output side may still work then (half-close): unread input can
	 * be answered before stream_free(). During the filter's handshake
	 * this is the handshake's failure.
	 */
	void (*closed)(void *arg, const struct error *err);
};

/* Connect to address (from source, unless its len is 0). Failure comes by closed(). */
struct stream *stream_connect(struct loop *loop, const struct net_address *address,
			      const struct net_address *source, const struct stream_events *events,
			      void *arg);

/* The same to a UNIX socket. It is connected or fails at once, and stream_peer() has no address. */
struct stream *stream_connect_unix(struct loop *loop, const char *path,
				   const struct stream_events *events, void *arg);

/*
 * Close and free; inside any callback too. What is in the output is still
 * sent, followed by the filter's farewell, and the peer's end is awaited so
 * that it gets to read it all, for at most linger_ms (0: what one write takes).
 * Nothing is called back any more. loop_free() ends the lingering.
 */
void stream_free(struct stream *s, int64_t linger_ms);

/*
 * The same without a word: what has not left is never sent, neither by us nor
 * by the kernel, which tells the peer by a reset. For what must not arrive.
 */
void stream_abort(struct stream *s);

struct loop *stream_loop(struct stream *s);
void stream_set_events(struct stream *s, const struct stream_events *events, void *arg);
const struct net_address *stream_peer(const struct stream *s);
const struct net_address *stream_local(const struct stream *s);

/*
 * The account at the other end of a UNIX connection, as of its connect(): the
 * kernel's word, not the peer's. -ENOTSUP where this system does not tell.
 */
int stream_peer_user(const struct stream *s, uid_t *ret_uid);

struct buf *stream_input(struct stream *s);
struct buf *stream_output(struct stream *s);

/* Go on with what there is to send and to read, when the callback that runs now has returned. */
void stream_flush(struct stream *s);

/* Bytes that the kernel has not taken yet: output and encoded. */
size_t stream_pending(const struct stream *s);

/* Stop and resume reading from the kernel; streams start reading at once. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);

/*
 * Put a filter in front, once. All input that is buffered by now is dropped,
 * since it came in the clear (RFC 3207 section 4.2): consume none of it after.
 * What is in the output is sent before, in the clear, and what is appended
 * from now on waits until the filter is OPEN; if it never is, it is not sent.
 * secured() or closed() follows. The stream owns f.
 */
void stream_set_filter(struct stream *s, struct stream_filter *f);
struct stream_filter *stream_filter(struct stream *s); /* NULL when none */
bool stream_is_secured(const struct stream *s);	       /* filter OPEN, or ENDED since */
