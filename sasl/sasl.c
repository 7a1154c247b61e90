/*
 * libgsasl asks for what it needs by a callback, once for each property and
 * session. The context has that callback set before anybody else sees it; from
 * then on the library only reads it, so that threads can share it. What a
 * session changes is the session's own.
 *
 * The password is not given away before it is wanted: for SCRAM that is when
 * the iteration count of the server is known, and then it depends on that.
 */
#include "sasl/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/escape.h"
#include "base/memory.h"
#include "base/parse.h"

#include <gsasl.h>

/* Before 2.2 the library knows only tls-unique, which TLS 1.3 does not have. */
#if GSASL_VERSION_NUMBER >= 0x020200
#define HAS_EXPORTER 1
#else
#define HAS_EXPORTER 0
#endif

static struct slice property(const struct sasl_exchange *x, Gsasl_property which)
{
	return slice_from(gsasl_property_fast(x->session, which));
}

/* SCRAM only: what it would take to hash the password. */
static bool is_affordable(struct sasl_exchange *x)
{
	uint64_t count = UINT64_MAX;

	if (parse_uint(property(x, GSASL_SCRAM_ITER), UINT64_MAX, &count) &&
	    count <= SASL_ITERATIONS_MAX)
		return true;
	x->refused_count = count;
	return false;
}

static int give(Gsasl *library, Gsasl_session *session, Gsasl_property wanted)
{
	struct sasl_exchange *x = gsasl_session_hook_get(session);

	(void)library;
	if (!x)
		return GSASL_NO_CALLBACK;
	if (x->is_server)
		return sasl_server_give(x, wanted);
	switch (wanted) {
	case GSASL_AUTHID:
		return gsasl_property_set(session, GSASL_AUTHID, x->user);
	case GSASL_PASSWORD:
		if (x->is_scram && !is_affordable(x))
			return GSASL_AUTHENTICATION_ERROR;
		return gsasl_property_set(session, GSASL_PASSWORD, x->password);
	default:
		return GSASL_NO_CALLBACK;
	}
}

int sasl_new(struct sasl **ret_sasl, struct error *err)
{
	struct sasl *sasl = memory_zeroed(sizeof(*sasl));
	int rc = gsasl_init(&sasl->library);

	if (rc != GSASL_OK) {
		free(sasl);
		return error_set(err, -ENOMEM, "SASL: %s", gsasl_strerror(rc));
	}
	gsasl_callback_set(sasl->library, give);
	atomic_init(&sasl->references, 1);
	*ret_sasl = sasl;
	return 0;
}

bool sasl_can_bind(void)
{
	return HAS_EXPORTER;
}

void sasl_free(struct sasl *sasl)
{
	if (!sasl || atomic_fetch_sub_explicit(&sasl->references, 1, memory_order_acq_rel) > 1)
		return;
	gsasl_done(sasl->library);
	free(sasl);
}

static bool is_binding(const char *mechanism)
{
	static const char suffix[] = "-PLUS";
	size_t len = strlen(mechanism), n = sizeof(suffix) - 1;

	return len > n && strcmp(mechanism + len - n, suffix) == 0;
}

/*
 * The library gets to know the binding for -PLUS only. For other mechanisms RFC
 * 5802 section 6 wants the flag "y" then (I could, but you do not offer it), by
 * which a server would see that somebody has removed its offer. But libgsasl
 * up to 2.2 fails where it should say that, so "n" is said (I could not).
 */
int sasl_set_binding(struct sasl_exchange *x, struct slice binding)
{
	char encoded[BASE64_ENCODED_SIZE(BINDING_MAX)];

	assert(binding.len > 0 && binding.len <= BINDING_MAX);
	base64_encode(binding, encoded);
#if HAS_EXPORTER
	return gsasl_property_set(x->session, GSASL_CB_TLS_EXPORTER, encoded);
#else
	(void)x;
	return GSASL_NO_CB_TLS_UNIQUE;
#endif
}

int sasl_exchange_new(struct sasl *sasl, const char *mechanism, bool is_server,
		      struct sasl_exchange **ret_exchange, struct error *err)
{
	struct sasl_exchange *x = memory_zeroed(sizeof(*x));
	int rc;

	rc = is_server ? gsasl_server_start(sasl->library, mechanism, &x->session)
		       : gsasl_client_start(sasl->library, mechanism, &x->session);
	if (rc != GSASL_OK) {
		free(x);
		return error_set(err, -EPROTO, "%s: %s", mechanism, gsasl_strerror(rc));
	}
	gsasl_session_hook_set(x->session, x);
	atomic_fetch_add_explicit(&sasl->references, 1, memory_order_relaxed);
	x->sasl = sasl;
	x->is_server = is_server;
	x->binds = is_binding(mechanism);
	x->is_scram = slice_starts_nocase(slice_from(mechanism), SLICE("SCRAM-"));
	*ret_exchange = x;
	return 0;
}

int sasl_client_new(struct sasl *sasl, const char *mechanism,
		    const struct sasl_credentials *credentials, struct sasl_exchange **ret_exchange,
		    struct error *err)
{
	struct sasl_exchange *x;
	int rc = GSASL_OK, r = sasl_exchange_new(sasl, mechanism, false, &x, err);

	if (r < 0)
		return r;
	x->user = slice_strdup(slice_from(credentials->user));
	x->password = slice_strdup(slice_from(credentials->password));
	if (x->binds)
		rc = sasl_set_binding(x, credentials->binding);
	if (rc != GSASL_OK || !x->user || !x->password) {
		sasl_exchange_free(x);
		return error_set(err, -ENOMEM, "%s: out of memory", mechanism);
	}
	*ret_exchange = x;
	return 0;
}

/* The library's own copies, which it would only free. */
static void wipe_property(const struct sasl_exchange *x, Gsasl_property which)
{
	struct slice value = property(x, which);

	if (value.len > 0)
		explicit_bzero((void *)(uintptr_t)value.ptr, value.len);
}

static void wipe_string(char *string)
{
	if (string)
		explicit_bzero(string, strlen(string));
	free(string);
}

void sasl_exchange_free(struct sasl_exchange *x)
{
	if (!x)
		return;
	wipe_property(x, GSASL_PASSWORD);
	wipe_property(x, GSASL_SCRAM_SALTED_PASSWORD);
	wipe_property(x, GSASL_SCRAM_STOREDKEY);
	wipe_property(x, GSASL_SCRAM_SERVERKEY);
	gsasl_finish(x->session);
	wipe_string(x->password);
	free(x->user);
	sasl_free(x->sasl);
	free(x);
}

static int explain(const struct sasl_exchange *x, int rc, struct error *err)
{
	if (x->refused_count > 0)
		return error_set(err, -EPROTO,
				 "the server asks for %ju iterations of its hash; more than %d are "
				 "refused",
				 (uintmax_t)x->refused_count, SASL_ITERATIONS_MAX);
	if (x->is_scram && x->steps == 3 && rc == GSASL_AUTHENTICATION_ERROR)
		return error_set(err, -EPROTO,
				 "the server could not prove that it knows the password (its "
				 "signature is wrong)");
	return error_set(err, -EPROTO, "%s", gsasl_strerror(rc));
}

int sasl_exchange_step(struct sasl_exchange *x, struct slice input, struct buf *output,
		       struct error *err)
{
	char *answer = NULL;
	size_t len = 0;
	int rc;

	if (x->is_over)
		return error_set(err, -EPROTO, "the %s goes on although nothing is left to say",
				 x->is_server ? "client" : "server");
	if (sasl_server_is_misled(x, input)) {
		x->is_over = true;
		return error_set(err, -EACCES, "the client binds to what is not bound to");
	}
	x->steps++;
	rc = gsasl_step(x->session, input.len > 0 ? input.ptr : "", input.len, &answer, &len);
	if (rc == GSASL_OK || rc == GSASL_NEEDS_MORE) {
		buf_append(output, answer ? answer : "", len);
		x->is_done = x->is_over = rc == GSASL_OK;
	} else {
		x->is_over = true;
	}
	if (answer)
		explicit_bzero(answer, len);
	gsasl_free(answer);
	if (rc == GSASL_OK)
		return SASL_DONE;
	if (rc == GSASL_NEEDS_MORE)
		return SASL_MORE;
	return x->is_server ? sasl_server_explain(rc, err) : explain(x, rc, err);
}

bool sasl_exchange_is_done(const struct sasl_exchange *x)
{
	return x->is_done;
}

static bool holds_base64(const char *text, struct slice secret)
{
	struct buf encoded = { 0 };
	bool is_found;

	base64_encode(secret, buf_reserve(&encoded, BASE64_ENCODED_SIZE(secret.len)));
	buf_commit(&encoded, BASE64_ENCODED_SIZE(secret.len));
	is_found = strstr(text, encoded.mem) != NULL;
	buf_wipe(&encoded);
	return is_found;
}

static bool holds_escaped(const char *text, struct slice secret)
{
	struct buf escaped = { 0 };
	bool is_found;

	buf_reserve(&escaped, secret.len + 1);
	escape_text(&escaped, secret, secret.len); /* nothing becomes longer */
	buf_append(&escaped, "", 1);
	is_found = strstr(text, escaped.mem) != NULL;
	buf_wipe(&escaped);
	return is_found;
}

/* RFC 4616: all of PLAIN's one message. */
static bool holds_plain(const char *text, const struct sasl_exchange *x)
{
	size_t user_len = strlen(x->user), password_len = strlen(x->password);
	struct buf message = { 0 };
	bool is_found;

	buf_reserve(&message, user_len + password_len + 2);
	buf_append(&message, "", 1);
	buf_append(&message, x->user, user_len + 1);
	buf_append(&message, x->password, password_len);
	is_found = holds_base64(text, buf_slice(&message));
	buf_wipe(&message);
	return is_found;
}

bool sasl_exchange_is_betrayed(const struct sasl_exchange *x, const char *text)
{
	struct slice password = slice_from(x->password);

	return holds_escaped(text, password) || holds_base64(text, password) ||
	       holds_plain(text, x);
}
