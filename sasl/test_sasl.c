/*
 * test_sasl - our client against libgsasl's server, and against servers that
 * do not know the password, or mean harm
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/macros.h"
#include "sasl/sasl.h"

#include <gsasl.h>

#define BINDING "0123456789abcdef0123456789abcdef"

struct server {
	Gsasl *library;
	Gsasl_session *session;
	const char *password, *binding, *iterations;
};

struct rig {
	struct sasl *sasl;
	struct server server;
};

/* What tampers with a message on its way to the client; NULL: nobody. */
typedef void tamperer(unsigned int step, char **message, size_t *len);

static int give(Gsasl *library, Gsasl_session *session, Gsasl_property wanted)
{
	const struct server *s = gsasl_callback_hook_get(library);

	switch (wanted) {
	case GSASL_PASSWORD:
		return gsasl_property_set(session, GSASL_PASSWORD, s->password);
	case GSASL_SCRAM_ITER:
		return gsasl_property_set(session, GSASL_SCRAM_ITER, s->iterations);
#if GSASL_VERSION_NUMBER >= 0x020200
	case GSASL_CB_TLS_EXPORTER: {
		char encoded[BASE64_ENCODED_SIZE(64)];

		if (!s->binding)
			return GSASL_NO_CALLBACK;
		base64_encode(slice_from(s->binding), encoded);
		return gsasl_property_set(session, GSASL_CB_TLS_EXPORTER, encoded);
	}
#endif
	case GSASL_VALIDATE_SIMPLE: /* PLAIN and LOGIN */
		return strcmp(gsasl_property_fast(session, GSASL_AUTHID), "joe") == 0 &&
				       strcmp(gsasl_property_fast(session, GSASL_PASSWORD),
					      s->password) == 0
			       ? GSASL_OK
			       : GSASL_AUTHENTICATION_ERROR;
	default:
		return GSASL_NO_CALLBACK;
	}
}

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_int_equal(sasl_new(&rig->sasl, NULL), 0);
	assert_int_equal(gsasl_init(&rig->server.library), GSASL_OK);
	gsasl_callback_set(rig->server.library, give);
	gsasl_callback_hook_set(rig->server.library, &rig->server);
	rig->server.password = "secret";
	rig->server.iterations = "4096";
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	gsasl_done(rig->server.library);
	sasl_free(rig->sasl);
	free(rig);
	return 0;
}

/*
 * Until the client is done or fails. Returns its last outcome; *ret_accepted:
 * the server has accepted it.
 */
static int converse(struct rig *rig, const char *mechanism, const struct sasl_credentials *c,
		    tamperer *tamper, bool *ret_accepted, struct error *err)
{
	struct sasl_exchange *x = NULL;
	struct buf said = { 0 };
	char *heard = NULL;
	size_t heard_len = 0;
	int r = SASL_MORE, rc = GSASL_NEEDS_MORE;
	unsigned int step = 0;

	*ret_accepted = false;
	assert_int_equal(gsasl_server_start(rig->server.library, mechanism, &rig->server.session),
			 GSASL_OK);
	assert_int_equal(sasl_client_new(rig->sasl, mechanism, c, &x, err), 0);
	if (sasl_client_speaks_first(mechanism))
		r = sasl_exchange_step(x, slice_of(NULL, 0), &said, err);
	while (r > 0) {
		struct slice bytes = buf_slice(&said);

		gsasl_free(heard);
		heard = NULL;
		rc = gsasl_step(rig->server.session, bytes.len ? bytes.ptr : "", bytes.len, &heard,
				&heard_len);
		buf_clear(&said);
		*ret_accepted = rc == GSASL_OK;
		if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE)
			break;
		if (rc == GSASL_OK && heard_len == 0)
			break; /* 235, without a last challenge */
		if (tamper)
			tamper(step++, &heard, &heard_len);
		r = sasl_exchange_step(x, slice_of(heard, heard_len), &said, err);
		if (rc == GSASL_OK)
			break;
	}
	if (r > 0)
		assert_int_equal(sasl_exchange_is_done(x), r == SASL_DONE);
	gsasl_free(heard);
	gsasl_finish(rig->server.session);
	sasl_exchange_free(x);
	buf_wipe(&said);
	return r;
}

static const struct sasl_credentials joe = {
	.user = "joe",
	.password = "secret",
};

static void test_good_password(void **state)
{
	static const char *const mechanisms[] = { "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5",
						  "PLAIN", "LOGIN" };
	struct error err = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++) {
		bool accepted;
		int r = converse(*state, mechanisms[i], &joe, NULL, &accepted, &err);

		if (r != SASL_DONE || !accepted)
			fail_msg("%s: %d %d %s", mechanisms[i], r, accepted, err.text);
	}
}

static void test_wrong_password(void **state)
{
	static const char *const mechanisms[] = { "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5",
						  "PLAIN", "LOGIN" };
	struct rig *rig = *state;
	struct error err = { 0 };

	rig->server.password = "other";
	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++) {
		bool accepted;
		int r = converse(rig, mechanisms[i], &joe, NULL, &accepted, &err);

		assert_false(accepted);
		/* Nobody but SCRAM's server would have had to prove anything. */
		assert_int_equal(r, i < 2 ? SASL_MORE : SASL_DONE);
	}
}

#if GSASL_VERSION_NUMBER >= 0x020200
static void test_channel_binding(void **state)
{
	struct sasl_credentials bound = joe;
	struct rig *rig = *state;
	struct error err = { 0 };
	bool accepted;

	bound.binding = SLICE(BINDING);
	rig->server.binding = BINDING;
	assert_int_equal(converse(rig, "SCRAM-SHA-256-PLUS", &bound, NULL, &accepted, &err),
			 SASL_DONE);
	assert_true(accepted);
	assert_int_equal(converse(rig, "SCRAM-SHA-1-PLUS", &bound, NULL, &accepted, &err),
			 SASL_DONE);
	assert_true(accepted);

	/* Somebody in between has one TLS session with us, and another with the server. */
	rig->server.binding = "another session of somebody else";
	assert_int_equal(converse(rig, "SCRAM-SHA-256-PLUS", &bound, NULL, &accepted, &err),
			 SASL_MORE);
	assert_false(accepted);
}
#endif

static void replace(char **message, size_t *len, const char *text)
{
	gsasl_free(*message);
	*message = strdup(text);
	*len = strlen(text);
}

static void sign_wrongly(unsigned int step, char **message, size_t *len)
{
	if (step == 1)
		replace(message, len, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
}

static void sign_nothing(unsigned int step, char **message, size_t *len)
{
	if (step == 1)
		replace(message, len, "");
}

static void say_error(unsigned int step, char **message, size_t *len)
{
	if (step == 1)
		replace(message, len, "e=other-error");
}

static void begin_with_signature(unsigned int step, char **message, size_t *len)
{
	if (step == 0)
		replace(message, len, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
}

static void use_own_nonce(unsigned int step, char **message, size_t *len)
{
	if (step == 0)
		replace(message, len, "r=abc,s=c2FsdHNhbHQ=,i=4096");
}

static void set_iterations(char **message, size_t *len, const char *count)
{
	char *at = memmem(*message, *len, ",i=", 3), *text = NULL;

	assert_non_null(at);
	assert_true(asprintf(&text, "%.*s,i=%s", (int)(at - *message), *message, count) > 0);
	replace(message, len, text);
	free(text);
}

static void ask_much(unsigned int step, char **message, size_t *len)
{
	if (step == 0)
		set_iterations(message, len, "1000001");
}

static void ask_for_ever(unsigned int step, char **message, size_t *len)
{
	if (step == 0)
		set_iterations(message, len, "4294967295");
}

static void ask_past_32_bits(unsigned int step, char **message, size_t *len)
{
	if (step == 0)
		set_iterations(message, len, "4294971392"); /* 4096 in 32 bits */
}

static void ask_past_64_bits(unsigned int step, char **message, size_t *len)
{
	if (step == 0)
		set_iterations(message, len, "99999999999999999999999999999999999999");
}

static void ask_for_none(unsigned int step, char **message, size_t *len)
{
	if (step == 0)
		set_iterations(message, len, "0");
}

static void say_rubbish(unsigned int step, char **message, size_t *len)
{
	if (step == 0)
		replace(message, len, "r=,,,,,,,=s=\xff\xfei");
}

static void test_malicious_server(void **state)
{
	static const struct {
		const char *label;
		tamperer *tamper;
		const char *want; /* in the error */
	} cases[] = {
		{ "wrong signature", sign_wrongly, "could not prove that it knows the password" },
		{ "empty signature", sign_nothing, "" },
		{ "an error instead", say_error, "" },
		{ "a signature too early", begin_with_signature, "" },
		{ "not our nonce", use_own_nonce, "" },
		{ "a million and one", ask_much, "asks for 1000001 iterations" },
		{ "four milliards", ask_for_ever, "asks for 4294967295 iterations" },
		{ "more than 32 bits", ask_past_32_bits, "iterations" },
		{ "more than 64 bits", ask_past_64_bits, "" },
		{ "no iteration", ask_for_none, "" },
		{ "rubbish", say_rubbish, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = { 0 };
		bool accepted;
		int r = converse(*state, "SCRAM-SHA-256", &joe, cases[i].tamper, &accepted, &err);

		if (r >= 0 || !strstr(err.text, cases[i].want))
			fail_msg("%s: %d %s", cases[i].label, r, err.text);
		assert_null(strstr(err.text, "secret"));
	}
}

static void test_many_iterations_are_hashed(void **state)
{
	struct rig *rig = *state;
	struct error err = { 0 };
	bool accepted;

	rig->server.iterations = "20000";
	assert_int_equal(converse(rig, "SCRAM-SHA-256", &joe, NULL, &accepted, &err), SASL_DONE);
	assert_true(accepted);
}

/* Whatever it is that a server still wants to know, it is not told. */
static void test_endless_challenges(void **state)
{
	static const char *const mechanisms[] = { "PLAIN", "LOGIN", "CRAM-MD5" };
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++) {
		struct sasl_exchange *x = NULL;
		struct buf said = { 0 };
		struct error err;
		int r, steps = 0;

		assert_int_equal(sasl_client_new(rig->sasl, mechanisms[i], &joe, &x, &err), 0);
		do
			r = sasl_exchange_step(x, SLICE("<go@on>"), &said, &err);
		while (r > 0 && ++steps < 10);
		assert_true(steps < 4);
		assert_true(r < 0);
		assert_non_null(strstr(err.text, "nothing is left to say"));
		sasl_exchange_free(x);
		buf_wipe(&said);
	}
}

static void test_betrayal(void **state)
{
	static const struct {
		const char *text;
		bool want;
	} texts[] = {
		{ "535 5.7.8 no such user joe", false },
		{ "", false },
		{ "joe must not say sec?ret!", true },
		{ "500 What is AUTH PLAIN AGpvZQBzZWMBcmV0?", true }, /* \0 joe \0 sec\1ret */
		{ "500 What is c2VjAXJldA==?", true },
		{ "500 What is AUTH PLAIN AGpvZQA=?", false },
	};
	struct sasl_credentials c = { "joe", "sec\001ret", { 0 } };
	struct rig *rig = *state;
	struct sasl_exchange *x = NULL;

	assert_int_equal(sasl_client_new(rig->sasl, "PLAIN", &c, &x, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (sasl_exchange_is_betrayed(x, texts[i].text) != texts[i].want)
			fail_msg("%s", texts[i].text);
	sasl_exchange_free(x);
}

static void test_names_that_cannot_be(void **state)
{
	struct sasl_credentials c = { "jo\001e", "secret", { 0 } };
	struct rig *rig = *state;
	struct sasl_exchange *x = NULL;
	struct buf said = { 0 };
	struct error err = { 0 };

	assert_int_equal(sasl_client_new(rig->sasl, "SCRAM-SHA-256", &c, &x, &err), 0);
	assert_true(sasl_exchange_step(x, slice_of(NULL, 0), &said, &err) < 0);
	assert_true(err.text[0] != '\0');
	sasl_exchange_free(x);
	buf_wipe(&said);

	assert_true(sasl_client_new(rig->sasl, "NO-SUCH", &c, &x, &err) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good_password, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_password, set_up, tear_down),
#if GSASL_VERSION_NUMBER >= 0x020200
		cmocka_unit_test_setup_teardown(test_channel_binding, set_up, tear_down),
#endif
		cmocka_unit_test_setup_teardown(test_malicious_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_iterations_are_hashed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_endless_challenges, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_betrayal, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_names_that_cannot_be, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
