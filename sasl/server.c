/*
 * The server's side. libgsasl parses and proves; of an account it asks for the
 * iterations first and gets all four properties then, since only now, in the
 * midst of the client's first message, the name is known.
 */
#include "sasl/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "base/base64.h"

#include <gsasl.h>

#define KEY_MAX 64

static int set_base64(Gsasl_session *session, Gsasl_property which, struct slice value)
{
	char encoded[BASE64_ENCODED_SIZE(KEY_MAX)];
	int rc;

	if (value.len > KEY_MAX)
		return GSASL_AUTHENTICATION_ERROR;
	base64_encode(value, encoded);
	rc = gsasl_property_set(session, which, encoded);
	explicit_bzero(encoded, sizeof(encoded));
	return rc;
}

static int set_account(Gsasl_session *session, const struct sasl_scram *account)
{
	char iterations[16];
	int rc;

	snprintf(iterations, sizeof(iterations), "%u", account->iterations);
	rc = gsasl_property_set(session, GSASL_SCRAM_ITER, iterations);
	if (rc == GSASL_OK)
		rc = set_base64(session, GSASL_SCRAM_SALT, account->salt);
	if (rc == GSASL_OK)
		rc = set_base64(session, GSASL_SCRAM_STOREDKEY, account->stored_key);
	if (rc == GSASL_OK)
		rc = set_base64(session, GSASL_SCRAM_SERVERKEY, account->server_key);
	return rc;
}

int sasl_server_give(struct sasl_exchange *x, int wanted)
{
	const char *user = gsasl_property_fast(x->session, GSASL_AUTHID);
	const char *id = gsasl_property_fast(x->session, GSASL_AUTHZID);
	struct sasl_scram account = { 0 };

	if (wanted != GSASL_SCRAM_ITER || !user)
		return GSASL_NO_CALLBACK;
	if (!x->find(x->find_arg, user, id ? id : "", &account))
		return GSASL_NO_CALLBACK; /* without keys the proof of the client will fail */
	return set_account(x->session, &account);
}

int sasl_server_new(struct sasl *sasl, const char *mechanism,
		    const struct sasl_server_options *options, struct sasl_exchange **ret_exchange,
		    struct error *err)
{
	struct sasl_exchange *x;
	int r = sasl_exchange_new(sasl, mechanism, true, &x, err);

	if (r < 0)
		return r;
	x->find = options->find;
	x->find_arg = options->arg;
	if (options->binding.len > 0 && sasl_set_binding(x, options->binding) != GSASL_OK) {
		sasl_exchange_free(x);
		return error_set(err, -ENOMEM, "%s: out of memory", mechanism);
	}
	*ret_exchange = x;
	return 0;
}

bool sasl_server_is_misled(const struct sasl_exchange *x, struct slice input)
{
	return x->is_server && x->is_scram && !x->binds && slice_starts_nocase(input, SLICE("p="));
}

int sasl_server_explain(int rc, struct error *err)
{
	bool is_malformed = rc == GSASL_MECHANISM_PARSE_ERROR || rc == GSASL_BASE64_ERROR;

	return error_set(err, is_malformed ? -EBADMSG : -EACCES, "%s", gsasl_strerror(rc));
}

char *sasl_prepare(const char *text)
{
	char *prepared = NULL, *copy;

	if (gsasl_saslprep(text, GSASL_ALLOW_UNASSIGNED, &prepared, NULL) != GSASL_OK)
		return NULL;
	copy = slice_strdup(slice_from(prepared));
	explicit_bzero(prepared, strlen(prepared));
	gsasl_free(prepared);
	return copy;
}

int sasl_cram_challenge(const char *hostname, struct buf *out, struct error *err)
{
	unsigned char random[16];

	if (gsasl_nonce((char *)random, sizeof(random)) != GSASL_OK)
		return error_set(err, -EIO, "no random numbers");
	buf_append_string(out, "<");
	for (size_t i = 0; i < sizeof(random); i++)
		buf_printf(out, "%02x", random[i]);
	buf_printf(out, ".%jd@%s>", (intmax_t)time(NULL), hostname);
	return 0;
}
