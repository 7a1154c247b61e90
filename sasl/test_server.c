/* test_server - our server's side of SCRAM against our client's, and against clients that lie */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "base/macros.h"
#include "sasl/sasl.h"

#include <gsasl.h>

#define BINDING "0123456789abcdef0123456789abcdef"
#define SALT	"saltsaltsalt"

struct rig {
	struct sasl *sasl;
	char user[64], id[64];
	unsigned int finds;
	struct sasl_scram account;
	char stored_key[32], server_key[32];
	bool is_unknown;
};

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct error err;

	assert_return_code(sasl_new(&rig->sasl, &err), 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	sasl_free(rig->sasl);
	free(rig);
	return 0;
}

/* The keys of the password "secret". */
static void set_keys(struct rig *rig, bool is_long)
{
	char salted[GSASL_HASH_MAX_SIZE], client_key[GSASL_HASH_MAX_SIZE];
	size_t len = is_long ? 32 : 20;

	assert_int_equal(
		gsasl_scram_secrets_from_password(is_long ? GSASL_HASH_SHA256 : GSASL_HASH_SHA1,
						  "secret", 4096, SALT, strlen(SALT), salted,
						  client_key, rig->server_key, rig->stored_key),
		GSASL_OK);
	rig->account = (struct sasl_scram){
		.iterations = 4096,
		.salt = SLICE(SALT),
		.stored_key = slice_of(rig->stored_key, len),
		.server_key = slice_of(rig->server_key, len),
	};
}

static bool find(void *arg, const char *user, const char *authorization_id, struct sasl_scram *ret)
{
	struct rig *rig = arg;

	rig->finds++;
	snprintf(rig->user, sizeof(rig->user), "%s", user);
	snprintf(rig->id, sizeof(rig->id), "%s", authorization_id);
	*ret = rig->account;
	return !rig->is_unknown;
}

static struct sasl_exchange *server_new(struct rig *rig, const char *mechanism, const char *binding)
{
	const struct sasl_server_options options = {
		.binding = slice_from(binding),
		.find = find,
		.arg = rig,
	};
	struct sasl_exchange *x;
	struct error err;

	set_keys(rig, strstr(mechanism, "256") != NULL);
	rig->finds = 0;
	if (sasl_server_new(rig->sasl, mechanism, &options, &x, &err) < 0)
		fail_msg("%s", err.text);
	return x;
}

/* Plays both sides; the server's last outcome. */
static int play(struct rig *rig, const char *mechanism, const char *password,
		const char *client_binding, const char *server_binding)
{
	const struct sasl_credentials credentials = { "joe", password, slice_from(client_binding) };
	struct sasl_exchange *server = server_new(rig, mechanism, server_binding), *client;
	struct buf to_server = { 0 }, to_client = { 0 };
	struct error err;
	int r;

	assert_return_code(sasl_client_new(rig->sasl, mechanism, &credentials, &client, &err), 0);
	do {
		struct slice said = buf_slice(&to_client);

		assert_true(sasl_exchange_step(client, said, &to_server, &err) > 0);
		buf_clear(&to_client);
		r = sasl_exchange_step(server, buf_slice(&to_server), &to_client, &err);
		buf_clear(&to_server);
	} while (r == SASL_MORE);
	if (r == SASL_DONE) /* and the server's proof is one */
		assert_int_equal(sasl_exchange_step(client, buf_slice(&to_client), &to_server,
						    &err),
				 SASL_DONE);
	assert_int_equal(rig->finds, 1);
	assert_string_equal(rig->user, "joe");
	assert_string_equal(rig->id, "");
	buf_done(&to_server);
	buf_done(&to_client);
	sasl_exchange_free(client);
	sasl_exchange_free(server);
	return r;
}

static void test_both_sides(void **state)
{
	static const char *const names[] = { "SCRAM-SHA-256", "SCRAM-SHA-1" };
	struct rig *rig = *state;
	char plus[32];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(play(rig, names[i], "secret", NULL, NULL), SASL_DONE);
		/* Who could bind and does not want to ("n") is welcome. */
		assert_int_equal(play(rig, names[i], "secret", NULL, BINDING), SASL_DONE);
		assert_int_equal(play(rig, names[i], "wrong", NULL, NULL), -EACCES);
		if (!sasl_can_bind())
			continue;
		snprintf(plus, sizeof(plus), "%s-PLUS", names[i]);
		assert_int_equal(play(rig, plus, "secret", BINDING, BINDING), SASL_DONE);
		assert_int_equal(play(rig, plus, "wrong", BINDING, BINDING), -EACCES);
		/* Somebody sits in between. */
		assert_int_equal(play(rig, plus, "secret", BINDING "x", BINDING), -EACCES);
	}
}

static void test_unknown(void **state)
{
	struct rig *rig = *state;

	rig->is_unknown = true;
	assert_int_equal(play(rig, "SCRAM-SHA-256", "secret", NULL, NULL), -EACCES);
}

static const struct {
	const char *mechanism, *binding, *message;
	int outcome;
} firsts[] = {
	{ "SCRAM-SHA-256", NULL, "", SASL_MORE }, /* begin! */
	{ "SCRAM-SHA-256", NULL, "n,,n=joe,r=abc", SASL_MORE },
	{ "SCRAM-SHA-256", NULL, "n,a=bob,n=joe,r=abc", SASL_MORE },
	{ "SCRAM-SHA-256", NULL, "y,,n=joe,r=abc", SASL_MORE },	 /* and we had no offer */
	{ "SCRAM-SHA-256", BINDING, "y,,n=joe,r=abc", -EACCES }, /* somebody took our offer away */
	{ "SCRAM-SHA-256", NULL, "p=tls-exporter,,n=joe,r=abc", -EACCES },
	{ "SCRAM-SHA-256-PLUS", BINDING, "n,,n=joe,r=abc", -EACCES },
	{ "SCRAM-SHA-256-PLUS", BINDING, "p=tls-exporter,,n=joe,r=abc", SASL_MORE },
	{ "SCRAM-SHA-256-PLUS", BINDING, "p=tls-unique,,n=joe,r=abc", -EACCES },
	{ "SCRAM-SHA-256-PLUS", BINDING, "p=x,,n=joe,r=abc", -EACCES },
	{ "SCRAM-SHA-256", NULL, "n,,n=,r=abc", -EBADMSG },
	{ "SCRAM-SHA-256", NULL, "n,,n=joe", -EBADMSG },
	{ "SCRAM-SHA-256", NULL, "n,,n=j\303oe,r=abc", -EBADMSG },
	{ "SCRAM-SHA-256", NULL, "n,,m=1,n=joe,r=abc", -EBADMSG },
	{ "SCRAM-SHA-256", NULL, "x", -EBADMSG },
	{ "SCRAM-SHA-256", NULL, ",,,,,,,,", -EBADMSG },
};

static void test_first_messages(void **state)
{
	struct rig *rig = *state;

	for (size_t i = 0; i < ARRAY_SIZE(firsts); i++) {
		bool is_plus = strstr(firsts[i].mechanism, "PLUS") != NULL;
		struct sasl_exchange *x;
		struct buf out = { 0 };
		struct error err;
		int r;

		if (is_plus && !sasl_can_bind())
			continue;
		x = server_new(rig, firsts[i].mechanism, firsts[i].binding);
		r = sasl_exchange_step(x, slice_from(firsts[i].message), &out, &err);
		/* Which of both errors is the library's choice. */
		if (r != firsts[i].outcome && (r > 0 || firsts[i].outcome > 0))
			fail_msg("%s: outcome %d", firsts[i].message, r);
		buf_done(&out);
		sasl_exchange_free(x);
	}
}

static void test_authorization_id(void **state)
{
	struct sasl_exchange *x = server_new(*state, "SCRAM-SHA-1", NULL);
	struct rig *rig = *state;
	struct buf out = { 0 };
	struct error err;

	assert_int_equal(sasl_exchange_step(x, SLICE("n,a=b=2Cb,n=j=3De,r=abc"), &out, &err),
			 SASL_MORE);
	assert_string_equal(rig->user, "j=e");
	assert_string_equal(rig->id, "b,b");
	buf_done(&out);
	sasl_exchange_free(x);
}

/* Messages cut, and with a byte changed, never pass, and read no memory that is not theirs. */
static void test_broken_messages(void **state)
{
	static const char first[] = "n,,n=joe,r=fyko+d2lbbFgONRv9qkxdawL";
	static const char last[] = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
				   "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
	struct rig *rig = *state;

	for (size_t i = 0; i < 2 * strlen(last); i++) {
		struct sasl_exchange *x = server_new(rig, "SCRAM-SHA-256", NULL);
		char *message = strdup(last);
		struct buf out = { 0 };
		struct error err;

		if (i % 2)
			message[i / 2] = '\0';
		else
			message[i / 2] ^= 1 + (char)(i % 7);
		assert_int_equal(sasl_exchange_step(x, slice_from(first), &out, &err), SASL_MORE);
		assert_true(sasl_exchange_step(x, slice_from(message), &out, &err) < 0);
		assert_true(sasl_exchange_step(x, slice_from(last), &out, &err) < 0);
		free(message);
		buf_done(&out);
		sasl_exchange_free(x);
	}
}

static void test_cram_challenge(void **state)
{
	struct buf one = { 0 }, other = { 0 };
	struct error err;

	(void)state;
	assert_return_code(sasl_cram_challenge("mx.test", &one, &err), 0);
	assert_return_code(sasl_cram_challenge("mx.test", &other, &err), 0);
	assert_false(slice_equal(buf_slice(&one), buf_slice(&other)));
	assert_int_equal(one.mem[one.start], '<');
	buf_append(&one, "", 1);
	assert_non_null(strstr(one.mem, "@mx.test>"));
	buf_done(&one);
	buf_done(&other);
}

static void test_prepare(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "joe@vm1.vm", "joe@vm1.vm" },
		{ "I\302\255X", "IX" },	  /* RFC 4013 section 3 */
		{ "\342\205\250", "IX" }, /* the Roman numeral nine */
		{ "a\302\240b", "a b" },  /* a space of another kind */
		{ "\007", NULL },	  /* control bytes */
		{ "\330\2471", NULL },	  /* both directions */
		{ "\303\303", NULL },	  /* no UTF-8 */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *got = sasl_prepare(cases[i].text);

		if (!got != !cases[i].want || (got && strcmp(got, cases[i].want) != 0))
			fail_msg("case %zu: %s", i, got ? got : "none");
		free(got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_sides, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_authorization_id, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_messages, setup, teardown),
		cmocka_unit_test(test_cram_challenge),
		cmocka_unit_test(test_prepare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
