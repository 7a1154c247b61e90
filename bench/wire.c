/*
 * wire - one system call a wake-up each way, where that is possible
 *
 * Events are level-triggered and a clear connection is read once for each, so
 * there is no second recv() just to see EAGAIN. OpenSSL reads ahead as much as
 * the socket gives; what it then holds raises no event and is fetched at once.
 * Writes gather in one buffer, and epoll is asked for writability only while
 * the socket does not take it.
 */
#include "bench/wire.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/tool.h"

#define READ_SIZE (32 * 1024)

static char *reserve(struct bytes *b, size_t n)
{
	size_t len = b->end - b->start;

	if (len == 0)
		b->start = b->end = 0;
	if (b->size - b->end < n && b->start > 0) {
		memmove(b->mem, b->mem + b->start, len);
		b->start = 0;
		b->end = len;
	}
	if (b->size - b->end < n) {
		b->size = 2 * b->size > b->end + n ? 2 * b->size : b->end + n;
		b->mem = realloc(b->mem, b->size);
		if (!b->mem)
			tool_die("out of memory");
	}
	return b->mem + b->end;
}

static void watch(struct wire *w, int operation)
{
	struct epoll_event event = { .events = EPOLLIN | (w->wants_out ? EPOLLOUT : 0),
				     .data.ptr = w->owner };

	if (epoll_ctl(w->epoll_fd, operation, w->fd, &event) < 0)
		tool_die("epoll_ctl: %s", strerror(errno));
}

static void want_out(struct wire *w, bool wants_out)
{
	if (w->wants_out == wants_out)
		return;
	w->wants_out = wants_out;
	watch(w, EPOLL_CTL_MOD);
}

void wire_open(struct wire *w, int fd, int epoll_fd, void *owner)
{
	struct bytes in = w->in, out = w->out; /* the memory of the connection before */
	int on = 1;

	/* Commands of one message and its content are separate writes: Nagle would hold them. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	in.start = in.end = out.start = out.end = 0;
	*w = (struct wire){ .fd = fd, .epoll_fd = epoll_fd, .owner = owner, .in = in, .out = out };
	watch(w, EPOLL_CTL_ADD);
}

void wire_close(struct wire *w)
{
	if (w->fd < 0)
		return;
	if (w->ssl) {
		if (SSL_is_init_finished(w->ssl) && !w->error)
			SSL_shutdown(w->ssl);
		SSL_free(w->ssl);
		w->ssl = NULL;
	}
	close(w->fd);
	w->fd = -1;
	w->ended = false;
	w->in.start = w->in.end = 0; /* nobody acts on what a closed connection said */
}

void wire_done(struct wire *w)
{
	wire_close(w);
	free(w->in.mem);
	free(w->out.mem);
	*w = (struct wire){ .fd = -1 };
}

static void end(struct wire *w, const char *error)
{
	w->ended = true;
	w->error = error;
}

/* What a failed call of OpenSSL means; ERR_clear_error() came before the call. */
static void after_ssl(struct wire *w, int result)
{
	unsigned long code;

	switch (SSL_get_error(w->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		break;
	case SSL_ERROR_WANT_WRITE:
		want_out(w, true);
		break;
	case SSL_ERROR_ZERO_RETURN:
		end(w, NULL);
		break;
	case SSL_ERROR_SYSCALL:
		end(w, errno ? strerror(errno) : "connection cut without close_notify");
		break;
	default:
		code = ERR_get_error();
		end(w, code ? ERR_reason_error_string(code) : "TLS error");
	}
}

/* Returns true when there is no handshake to be done (any more). */
static bool handshake(struct wire *w)
{
	int r;

	if (!w->ssl || SSL_is_init_finished(w->ssl))
		return true;
	ERR_clear_error();
	errno = 0;
	r = SSL_do_handshake(w->ssl);
	if (r == 1)
		return true;
	want_out(w, false);
	after_ssl(w, r);
	return false;
}

void wire_start_tls(struct wire *w, SSL_CTX *ctx, bool is_server)
{
	assert(!w->ssl && wire_input_len(w) == 0 && wire_output_len(w) == 0);
	w->ssl = SSL_new(ctx);
	if (!w->ssl || SSL_set_fd(w->ssl, w->fd) != 1)
		tool_die("SSL_new: %s", ERR_error_string(ERR_get_error(), NULL));
	if (is_server) {
		SSL_set_accept_state(w->ssl);
	} else {
		SSL_set_connect_state(w->ssl);
		handshake(w); /* says ClientHello */
	}
}

static void receive_tls(struct wire *w)
{
	int n;

	do {
		char *room = reserve(&w->in, READ_SIZE);

		ERR_clear_error();
		errno = 0;
		n = SSL_read(w->ssl, room, READ_SIZE);
		if (n > 0)
			w->in.end += (size_t)n;
		else
			after_ssl(w, n);
	} while (n > 0 && SSL_has_pending(w->ssl));
}

static void receive_clear(struct wire *w)
{
	ssize_t n = recv(w->fd, reserve(&w->in, READ_SIZE), READ_SIZE, 0);

	if (n > 0)
		w->in.end += (size_t)n;
	else if (n == 0)
		end(w, NULL);
	else if (errno != EAGAIN && errno != EINTR)
		end(w, strerror(errno));
}

void wire_receive(struct wire *w)
{
	if (!handshake(w))
		return;
	if (w->ssl)
		receive_tls(w);
	else
		receive_clear(w);
}

/* Returns how much went out, 0 when it must wait or the connection ended. */
static size_t send_some(struct wire *w, const char *ptr, size_t len)
{
	ssize_t n;

	if (w->ssl) {
		ERR_clear_error();
		errno = 0;
		n = SSL_write(w->ssl, ptr, len < INT32_MAX ? (int)len : INT32_MAX);
		if (n > 0)
			return (size_t)n;
		after_ssl(w, (int)n);
		return 0;
	}
	n = send(w->fd, ptr, len, MSG_NOSIGNAL);
	if (n >= 0)
		return (size_t)n;
	if (errno != EAGAIN && errno != EINTR)
		end(w, strerror(errno));
	return 0;
}

void wire_send(struct wire *w)
{
	/*
	 * The handshake is left to wire_receive(). Its last step may read ahead what
	 * the peer says next, of which no event tells, so that one must read on.
	 */
	if (w->ended || (w->ssl && !SSL_is_init_finished(w->ssl)))
		return;
	while (wire_output_len(w) > 0) {
		size_t n = send_some(w, w->out.mem + w->out.start, wire_output_len(w));

		if (n == 0)
			break;
		w->out.start += n;
	}
	if (!w->ended)
		want_out(w, wire_output_len(w) > 0);
}

void bytes_put(struct bytes *b, const void *ptr, size_t len)
{
	memcpy(reserve(b, len), ptr, len);
	b->end += len;
}

void wire_put(struct wire *w, const void *ptr, size_t len)
{
	bytes_put(&w->out, ptr, len);
}

void wire_printf(struct wire *w, const char *format, ...)
{
	char line[1024];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	assert(n >= 0 && (size_t)n < sizeof(line));
	wire_put(w, line, (size_t)n);
}

char *wire_eat_line(struct wire *w)
{
	char *line, *lf;

	if (wire_input_len(w) == 0)
		return NULL;
	line = w->in.mem + w->in.start;
	lf = memchr(line, '\n', wire_input_len(w));
	if (!lf)
		return NULL;
	wire_eat(w, (size_t)(lf - line) + 1);
	if (lf > line && lf[-1] == '\r')
		lf--;
	*lf = '\0';
	return line;
}

static SSL_CTX *new_context(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1)
		tool_die("SSL_CTX_new: %s", ERR_error_string(ERR_get_error(), NULL));
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_SIZE);
	return ctx;
}

SSL_CTX *wire_client_context(const char *ca_file)
{
	SSL_CTX *ctx = new_context(TLS_client_method());

	if (ca_file) {
		if (SSL_CTX_load_verify_locations(ctx, ca_file, NULL) != 1)
			tool_die("%s: %s", ca_file, ERR_error_string(ERR_get_error(), NULL));
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	}
	return ctx;
}

SSL_CTX *wire_server_context(const char *cert_file, const char *key_file)
{
	SSL_CTX *ctx = new_context(TLS_server_method());

	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		tool_die("%s, %s: %s", cert_file, key_file,
			 ERR_error_string(ERR_get_error(), NULL));
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"bench", 5);
	return ctx;
}
