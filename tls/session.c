/*
 * session - the library between two buffers
 *
 * It reads the wire by a callback from the buffer that decode() was lent, and
 * writes by another that appends to wire_out and always succeeds: a library
 * that is told WANT_WRITE in a TLS 1.3 accept ends with no error to show.
 * Plain bytes go straight between its records and the user's buffers.
 *
 * After the handshake its resources are freed at once; what remains of a
 * session is what the library can't do without.
 */
#include "tls/session_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/escape.h"
#include "base/macros.h"
#include "tls/suites.h"
#include "tls/trouble.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#define RECORD_MAX	16384 /* bytes of the user's in one record */
#define RECORD_OVERHEAD 64    /* header, nonce and tag, with room to spare */
#define WRITE_MAX	(1 << 24)

/*
 * A peer may ask for new keys (RFC 8446 section 4.6.3), and each time we have
 * to answer. One that never reads the answers would have us keep them all;
 * honest ones ask once in millions of records.
 */
#define ANSWERED_MAX 65536

#define RECORD_TYPE_ALERT     21
#define RECORD_TYPE_HANDSHAKE 22

static struct tls_session *session_of(struct stream_filter *f)
{
	return CONTAINER_OF(f, struct tls_session, filter);
}

static int on_receive(WOLFSSL *ssl, char *to, int size, void *arg)
{
	struct tls_session *s = arg;
	struct buf *from = buf_len(&s->heard) > 0 ? &s->heard : s->wire_in;
	size_t n = from ? MIN((size_t)size, buf_len(from)) : 0;

	(void)ssl;
	if (n == 0)
		return WOLFSSL_CBIO_ERR_WANT_READ;
	memcpy(to, buf_slice(from).ptr, n);
	buf_consume(from, n);
	return (int)n;
}

static int on_send(WOLFSSL *ssl, char *bytes, int size, void *arg)
{
	struct tls_session *s = arg;

	(void)ssl;
	if (s->state == TLS_SESSION_OPEN && s->wire_in)
		s->answered_size += (size_t)size;
	if (s->wire_out)
		buf_append(s->wire_out, bytes, (size_t)size);
	return size;
}

/* Keeps err for later calls, too: the session is of no use any more. */
static int fail(struct tls_session *s, int r, const struct error *err)
{
	s->state = TLS_SESSION_FAILED;
	s->error = malloc(sizeof(*s->error));
	if (s->error)
		*s->error = *err;
	return r;
}

static int fail_again(const struct tls_session *s, struct error *err)
{
	if (s->error)
		return error_set(err, s->error->code, "%s", s->error->text);
	return error_set(err, -EPROTO, "TLS failed before");
}

/* Whether it is what an SMTP server says first (RFC 5321 section 4.2). */
static bool is_greeting(struct slice said)
{
	return slice_starts_nocase(said, SLICE("220 ")) ||
	       slice_starts_nocase(said, SLICE("220-")) ||
	       slice_starts_nocase(said, SLICE("421 ")) || slice_starts_nocase(said, SLICE("554 "));
}

/*
 * Somebody who does not speak TLS at all is told from a TLS that failed by the
 * first byte, and what it said instead is the best hint there is.
 */
static int check_first_byte(const struct tls_session *s, struct error *err)
{
	struct slice said = slice_first(buf_slice(s->wire_in), 60);
	unsigned char first = (unsigned char)said.ptr[0];
	char shown[80];

	if (first == RECORD_TYPE_HANDSHAKE || first == RECORD_TYPE_ALERT)
		return 0;
	said = slice_trim(slice_first(said, slice_find(said, '\n')));
	return error_set(err, s->client && is_greeting(said) ? -EPROTOTYPE : -EPROTO,
			 "%s is not TLS, it begins with \"%s\"",
			 s->client ? "the peer's reply" : "what the peer sent",
			 escape_cstr(said, shown, sizeof(shown)));
}

static void note_facts(struct tls_session *s)
{
	unsigned int id = (unsigned int)wolfSSL_get_current_cipher_suite(s->ssl);
	const struct tls_suite *suite = tls_suite_find(id);

	s->facts.protocol = wolfSSL_get_version(s->ssl);
	s->facts.cipher = suite ? suite->name : wolfSSL_get_cipher_name(s->ssl);
	s->facts.bits = suite ? suite->bits : 0;
	s->facts.resumed = wolfSSL_session_reused(s->ssl);
}

/* While the library still has the secret that it is made of. */
static void note_binding(struct tls_session *s)
{
	static const char label[] = "EXPORTER-Channel-Binding";

	s->has_binding =
		wolfSSL_version(s->ssl) == TLS1_3_VERSION &&
		wolfSSL_export_keying_material(s->ssl, (unsigned char *)s->binding,
					       sizeof(s->binding), label, sizeof(label) - 1, NULL,
					       0, 0) == WOLFSSL_SUCCESS;
}

static int handshake(struct tls_session *s, struct error *err)
{
	int r, code;

	if (s->server) {
		r = tls_server_hear(s, err);
		if (r != STREAM_FILTER_OPEN)
			return r;
	}
	r = s->client ? wolfSSL_connect(s->ssl) : wolfSSL_accept(s->ssl);
	if (r != WOLFSSL_SUCCESS) {
		code = wolfSSL_get_error(s->ssl, r);
		if (code == WOLFSSL_ERROR_WANT_READ)
			return STREAM_FILTER_BUSY;
		r = tls_trouble(s->ssl, code, err);
		return s->client ? tls_client_blame(s, r, err) : tls_server_blame(s, r, err);
	}

	note_binding(s);
	wolfSSL_FreeArrays(s->ssl);
	buf_done(&s->heard);
	note_facts(s);
	r = s->client ? tls_client_conclude(s, err) : tls_server_conclude(s, err);
	return r < 0 ? r : STREAM_FILTER_OPEN;
}

/* How much may come out of what is there, so that small reads take little memory. */
static size_t room_for(const struct tls_session *s)
{
	size_t there = buf_len(s->wire_in) + (size_t)wolfSSL_pending(s->ssl);

	return MAX(MIN(there, RECORD_MAX), 256);
}

static int read_records(struct tls_session *s, struct buf *input, struct error *err)
{
	for (;;) {
		size_t room = room_for(s);
		int n = wolfSSL_read(s->ssl, buf_reserve(input, room), (int)room), code;

		if (s->answered_size > ANSWERED_MAX)
			return error_set(err, -EPROTO, "the peer asks for new keys without end");
		if (n > 0) {
			buf_commit(input, (size_t)n);
			continue;
		}
		code = wolfSSL_get_error(s->ssl, n);
		if (code == WOLFSSL_ERROR_WANT_READ)
			return STREAM_FILTER_OPEN;
		if (code == WOLFSSL_ERROR_ZERO_RETURN) {
			s->state = TLS_SESSION_ENDED;
			return STREAM_FILTER_ENDED;
		}
		return tls_trouble(s->ssl, code, err);
	}
}

static int decode(struct tls_session *s, struct buf *input, struct error *err)
{
	int r;

	if (s->state == TLS_SESSION_START && buf_len(s->wire_in) > 0) {
		r = check_first_byte(s, err);
		if (r < 0)
			return r;
		s->state = TLS_SESSION_HANDSHAKE;
	}
	if (s->state < TLS_SESSION_OPEN) {
		r = handshake(s, err);
		if (r != STREAM_FILTER_OPEN)
			return r;
		s->state = TLS_SESSION_OPEN;
	}
	r = read_records(s, input, err);
	if (s->client)
		tls_client_keep(s);
	return r;
}

static int session_decode(struct stream_filter *f, struct buf *wire_in, struct buf *input,
			  struct buf *wire_out, struct error *err)
{
	struct tls_session *s = session_of(f);
	struct error local = { 0 };
	int r;

	if (s->state == TLS_SESSION_FAILED)
		return fail_again(s, err);
	if (s->state == TLS_SESSION_ENDED) { /* nothing counts behind close_notify */
		buf_clear(wire_in);
		return STREAM_FILTER_ENDED;
	}

	s->wire_in = wire_in;
	s->wire_out = wire_out;
	wolfSSL_ERR_clear_error(); /* it is the thread's, and may be of another session */
	r = decode(s, input, err ? err : &local);
	s->wire_in = NULL;
	s->wire_out = NULL;
	return r < 0 ? fail(s, r, err ? err : &local) : r;
}

static int session_encode(struct stream_filter *f, struct buf *output, struct buf *wire_out,
			  struct error *err)
{
	struct tls_session *s = session_of(f);
	struct error local = { 0 };
	size_t len = buf_len(output);
	int n = 1;

	if (s->state == TLS_SESSION_FAILED)
		return fail_again(s, err);
	if (s->state < TLS_SESSION_OPEN || s->is_finished)
		return error_set(err, -EPROTO, "TLS is not open");

	s->wire_out = wire_out;
	buf_reserve(wire_out, len + (len / RECORD_MAX + 1) * RECORD_OVERHEAD);
	wolfSSL_ERR_clear_error();
	while (buf_len(output) > 0) {
		struct slice bytes = slice_first(buf_slice(output), WRITE_MAX);

		n = wolfSSL_write(s->ssl, bytes.ptr, (int)bytes.len);
		if (n <= 0)
			break;
		buf_consume(output, (size_t)n);
	}
	s->wire_out = NULL;
	if (n > 0)
		return 0;
	if (!err)
		err = &local;
	return fail(s, tls_trouble(s->ssl, wolfSSL_get_error(s->ssl, n), err), err);
}

static void session_finish(struct stream_filter *f, struct buf *wire_out)
{
	struct tls_session *s = session_of(f);

	/* A failure has sent its own alert; before the handshake there is nothing to end. */
	if (s->is_finished || s->state < TLS_SESSION_OPEN || s->state == TLS_SESSION_FAILED)
		return;
	s->is_finished = true;
	s->wire_out = wire_out;
	wolfSSL_ERR_clear_error();
	wolfSSL_shutdown(s->ssl);
	s->wire_out = NULL;
}

static void session_free(struct stream_filter *f)
{
	struct tls_session *s = session_of(f);

	wolfSSL_free(s->ssl);
	tls_client_free(s->client);
	tls_server_free(s->server);
	tls_context_unref(s->context);
	buf_done(&s->heard);
	free(s->error);
	explicit_bzero(s->binding, sizeof(s->binding));
	free(s);
}

int tls_session_use(struct tls_session *s, struct WOLFSSL_CTX *ctx, struct error *err)
{
	wolfSSL_free(s->ssl);
	wolfSSL_ERR_clear_error();
	s->ssl = wolfSSL_new(ctx);
	if (!s->ssl)
		return error_set(err, -ENOMEM, "TLS: out of memory");
	wolfSSL_SSLSetIORecv(s->ssl, on_receive);
	wolfSSL_SSLSetIOSend(s->ssl, on_send);
	wolfSSL_SetIOReadCtx(s->ssl, s);
	wolfSSL_SetIOWriteCtx(s->ssl, s);
	return 0;
}

int tls_session_new(struct tls_context *context, struct tls_session **ret_session,
		    struct error *err)
{
	struct tls_session *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return error_set(err, -ENOMEM, "TLS: out of memory");
	r = tls_session_use(s, context->ctx, err);
	if (r < 0) {
		free(s);
		return r;
	}
	s->context = tls_context_ref(context);
	s->facts.verified_by = "";
	s->filter = (struct stream_filter){
		.decode = session_decode,
		.encode = session_encode,
		.finish = session_finish,
		.free = session_free,
	};
	*ret_session = s;
	return 0;
}

int tls_session_new_server(struct tls_context *context, struct stream_filter **ret_filter,
			   struct error *err)
{
	struct tls_session *s;
	int r;

	assert(!context->is_client);
	r = tls_session_new(context, &s, err);
	if (r < 0)
		return r;
	r = tls_server_attach(s, err);
	if (r < 0) {
		session_free(&s->filter);
		return r;
	}
	*ret_filter = &s->filter;
	return 0;
}

int tls_session_new_client(struct tls_context *context, const struct tls_policy *policy,
			   const char *nexthop, const char *hostname, const char *cache_key,
			   struct stream_filter **ret_filter, struct error *err)
{
	struct tls_session *s;
	int r;

	assert(context->is_client && policy->level != TLS_LEVEL_NONE);
	r = tls_session_new(context, &s, err);
	if (r < 0)
		return r;
	r = tls_client_attach(s, policy, nexthop, hostname, cache_key, err);
	if (r < 0) {
		session_free(&s->filter);
		return r;
	}
	*ret_filter = &s->filter;
	return 0;
}

void tls_session_watch(struct stream_filter *filter, struct tls_chain *chain)
{
	tls_client_watch(session_of(filter), chain);
}

void tls_chain_done(struct tls_chain *chain)
{
	arena_done(&chain->arena);
	*chain = (struct tls_chain){ 0 };
}

const struct tls_facts *tls_session_facts(struct stream_filter *filter)
{
	return &session_of(filter)->facts;
}

struct slice tls_session_channel_binding(struct stream_filter *filter)
{
	const struct tls_session *s = session_of(filter);

	return slice_of(s->binding, s->has_binding ? sizeof(s->binding) : 0);
}

int tls_session_resumable(struct WOLFSSL *ssl, struct WOLFSSL_SESSION *session)
{
	tls_client_take_session(wolfSSL_GetIOReadCtx(ssl), session);
	return 0; /* we keep no reference to it */
}
