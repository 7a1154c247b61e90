/*
 * wire - a non-blocking connection, in the clear or over TLS
 *
 * For the load generator and the sink. On purpose it shares nothing with the
 * server that is measured: OpenSSL for wolfSSL, bare epoll for libuv, buffers
 * of its own. A fault of ours can so never stand on both sides of a test and
 * cancel out, and with AES-NI the tools leave the processor to the server.
 *
 * The owner's loop: on an event call wire_receive(), eat from wire.in, answer
 * with wire_put(), then wire_send(); when wire.ended is set, wire_close().
 * Out of memory ends the process.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	char *mem;
	size_t start, end, size; /* the bytes are mem[start..end) */
};

void bytes_put(struct bytes *b, const void *ptr, size_t len);

struct wire {
	int fd; /* -1: closed */
	int epoll_fd;
	void *owner; /* what epoll reports in data.ptr */
	SSL *ssl;    /* NULL: in the clear */
	struct bytes in, out;
	bool wants_out;	   /* what epoll was told last */
	bool ended;	   /* closed or broken by the peer; bytes of in may be left to read */
	const char *error; /* why it broke; NULL where the peer just closed */
};

/*
 * Take over fd, a connected, accepted or still connecting non-blocking socket.
 * w is zeroed or was closed; its buffers are used again.
 */
void wire_open(struct wire *w, int fd, int epoll_fd, void *owner);
void wire_close(struct wire *w); /* a wire that is closed already is left alone */
void wire_done(struct wire *w);	 /* closes it and frees its buffers */

/*
 * Speak TLS from here on. What is put meanwhile is sent after the handshake.
 * All output must have been sent, and no input be left that came in the clear
 * (RFC 3207 section 4.2).
 */
void wire_start_tls(struct wire *w, SSL_CTX *ctx, bool is_server);

void wire_receive(struct wire *w);
void wire_put(struct wire *w, const void *ptr, size_t len);
void wire_printf(struct wire *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void wire_send(struct wire *w);

static inline const char *wire_input(const struct wire *w)
{
	return w->in.mem ? w->in.mem + w->in.start : "";
}

static inline size_t wire_input_len(const struct wire *w)
{
	return w->in.end - w->in.start;
}

static inline size_t wire_output_len(const struct wire *w)
{
	return w->out.end - w->out.start;
}

static inline void wire_eat(struct wire *w, size_t n)
{
	w->in.start += n;
}

/*
 * The next line without its line end, terminated in place and valid until the
 * next wire_receive(), or NULL when it is not there as a whole.
 */
char *wire_eat_line(struct wire *w);

/* Both end the process with a message when OpenSSL refuses. ca_file may be NULL: trust anyone. */
SSL_CTX *wire_client_context(const char *ca_file);
SSL_CTX *wire_server_context(const char *cert_file, const char *key_file);
