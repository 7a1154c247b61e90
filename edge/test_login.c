/* test_login - exchanges of AUTH with an edge, as a session has them */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "certs/certificate.h"
#include "certs/pemfile.h"
#include "edge/accounts.h"
#include "edge/edge.h"
#include "mta/slowdown.h"
#include "net/loop.h"
#include "sasl/sasl.h"
#include "tests/support/throwaway.h"
#include "tls/session.h"

#define BINDING "0123456789abcdef0123456789abcdef"

#define ALICE "alice@vm1.vm:{PLAIN}alice\ntest1@vm1.vm:{PLAIN}test1\n"

/* Of the password "secret", as doveadm pw wrote them. */
#define SCRAM_256                                                                                  \
	"{SCRAM-SHA-256}4096,B58kHQ3Rbc9wrc3kZkMRwA==,"                                            \
	"H8THocy1PdepnjWVTNvecEKfFiPTZ45hpYIVphdTQjU=,"                                            \
	"PomTYUJ/cCBd3XexwV4lwFkaJTnKK1Rn7ofXyLMPaUg="
#define SCRAM_1                                                                                    \
	"{SCRAM-SHA-1}4096,bTdevBAdU91QDFsgK/AJ1A==,CwlQLNVbHIlIKm1GfylZoQMhKCg=,"                 \
	"r5ZlCtDZI7mWxFCvd+JkJNajALA="
#define CRAM "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56"
#define HASH                                                                                       \
	"{SHA512-CRYPT}$6$aS9ugR7kGEThAeSW$gC7Wz0JlNJD9JSgp7QgeW2wPET8zTi7LNkOhnpjCZ."             \
	"DrxWlMs7Dj0Rvh4hSK8hlysa1DHOvmKDPXKmLAp.OOl/"

struct fixture {
	char dir[32], users[64];
	struct edge_options options;
	char passdb[100];
	struct edge *edge;
	struct loop *loop;
	struct slowdown *slowdown; /* NULL: nobody is slowed */
	struct net_address address;
	struct tls_facts tls;
	struct mta_client client;
	struct login_client who;

	/* the exchange */
	struct login *login;
	bool is_asking;
	unsigned int answers;
	enum login_outcome outcome;
	char challenge[512], user[256];
	struct smtp_status status;
};

/* Another password file, and other options: another edge. */
static void use(struct fixture *f, const char *users)
{
	struct error err;
	FILE *stream = fopen(f->users, "we");

	fputs(users, stream);
	fclose(stream);
	edge_free(f->edge);
	if (edge_new(&f->options, &f->edge, &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err;

	strcpy(f->dir, "/tmp/edge.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->users, sizeof(f->users), "%s/users", f->dir);
	snprintf(f->passdb, sizeof(f->passdb), "passwd-file:%s", f->users);
	f->options.hostname = "mta1.vm1.vm";
	f->options.mailbox_base = f->dir;
	f->options.passdb = f->passdb;
	assert_return_code(domains_open(SLICE("vm1.vm"), "/", &f->options.mailbox_domains, &err),
			   0);
	use(f, ALICE);
	assert_return_code(loop_new(&f->loop, &err), 0);
	assert_true(net_address_parse_ip(SLICE("192.0.2.7"), 1, &f->address));
	f->client.address = &f->address;
	f->who.client = &f->client;
	f->who.tls = &f->tls;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	slowdown_free(f->slowdown);
	loop_free(f->loop);
	edge_free(f->edge);
	domains_free(f->options.mailbox_domains);
	unlink(f->users);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void on_answer(void *arg, const struct login_answer *answer)
{
	struct fixture *f = arg;

	assert_false(f->is_asking); /* never inside of begin() or step() */
	f->answers++;
	f->outcome = answer->outcome;
	f->status = answer->status;
	slice_copy(answer->challenge, f->challenge, sizeof(f->challenge));
	slice_copy(slice_from(answer->user ? answer->user : ""), f->user, sizeof(f->user));
	loop_stop(f->loop);
}

static void await(struct fixture *f)
{
	unsigned int answers = f->answers;

	while (f->answers == answers)
		loop_run(f->loop);
	assert_int_equal(f->answers, answers + 1);
}

static void begin(struct fixture *f, const char *mechanism, const struct slice *initial)
{
	const struct login_request request = {
		.loop = f->loop,
		.slowdown = f->slowdown,
		.who = &f->who,
		.service = "submission",
		.mechanism = mechanism,
		.initial = initial,
		.answer = on_answer,
		.arg = f,
	};

	f->is_asking = true;
	f->login = edge_policy.login_begin(f->edge, &request);
	f->is_asking = false;
	await(f);
}

static void say(struct fixture *f, struct slice response)
{
	f->is_asking = true;
	f->login->methods->step(f->login, response);
	f->is_asking = false;
	await(f);
}

static void end(struct fixture *f)
{
	f->login->methods->free(f->login);
	f->login = NULL;
}

/* The whole of a PLAIN exchange. */
static int plain(struct fixture *f, struct slice message)
{
	begin(f, "PLAIN", &message);
	end(f);
	assert_int_not_equal(f->outcome, LOGIN_CHALLENGE);
	assert_int_equal(f->outcome == LOGIN_SUCCESS, f->status.code == 235);
	return f->status.code;
}

static int login(struct fixture *f, struct slice user, struct slice password)
{
	begin(f, "LOGIN", NULL);
	assert_string_equal(f->challenge, "Username:");
	say(f, user);
	if (f->outcome == LOGIN_CHALLENGE) {
		assert_string_equal(f->challenge, "Password:");
		say(f, password);
	}
	end(f);
	return f->status.code;
}

static void test_good(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(plain(f, SLICE("\0Alice@vm1.vm\0alice")), 235);
	assert_string_equal(f->user, "alice@vm1.vm");
	assert_int_equal(plain(f, SLICE("alice@vm1.vm\0alice@vm1.vm\0alice")), 235);
	assert_int_equal(login(f, SLICE("alice@VM1.vm"), SLICE("alice")), 235);
	assert_string_equal(f->user, "alice@vm1.vm");
	begin(f, "PLAIN", NULL);
	assert_int_equal(f->outcome, LOGIN_CHALLENGE);
	assert_string_equal(f->challenge, "");
	say(f, SLICE("\0test1@vm1.vm\0test1"));
	assert_int_equal(f->status.code, 235);
	end(f);
}

/* One text for all, so that nobody learns who has an account. */
static void test_bad(void **state)
{
	static const struct slice messages[] = {
		{ "\0alice@vm1.vm\0bob", 17 },
		{ "\0bob@vm1.vm\0bob", 15 },
		{ "test1@vm1.vm\0alice@vm1.vm\0alice", 31 },
		{ "\0alice@vm1.vm\0", 14 }, /* empty: "anybody", to some checkers */
		{ "\0\0alice", 7 },
		{ "\0ali\rce\0alice", 13 },
		{ "x\ny\0alice@vm1.vm\0alice", 22 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		if (plain(f, messages[i]) != 535)
			fail_msg("case %zu: %d", i, f->status.code);
		assert_string_equal(f->status.text, "Error: authentication failed");
	}
	assert_int_equal(login(f, SLICE("alice@vm1.vm"), SLICE("")), 535);
	assert_int_equal(login(f, SLICE("alice@vm1.vm"), SLICE("b")), 535);
	assert_string_equal(f->user, "alice@vm1.vm");
}

static void test_malformed(void **state)
{
	static const struct slice messages[] = {
		{ "", 0 },
		{ "alice", 5 },
		{ "\0alice", 6 },
		{ "a\0b\0c\0", 6 },
		{ "\0alice\0pas\0d", 12 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
		if (plain(f, messages[i]) != 501)
			fail_msg("case %zu: %d", i, f->status.code);
	assert_int_equal(login(f, SLICE("ali\0ce"), SLICE("x")), 501);
	assert_int_equal(login(f, SLICE("alice"), SLICE("pass\0")), 501);
}

/* Who hangs up while a password is hashed is answered all the same, then freed. */
static void test_gone(void **state)
{
	const struct slice message = SLICE("\0alice@vm1.vm\0alice");
	struct fixture *f = *state;
	struct login_request request = {
		.loop = f->loop,
		.who = &f->who,
		.mechanism = "PLAIN",
		.initial = &message,
		.answer = on_answer,
		.arg = f,
	};

	f->login = edge_policy.login_begin(f->edge, &request);
	f->login->methods->cancel(f->login);
	await(f);
	end(f);
}

static const char *offer(struct fixture *f)
{
	static char mechanisms[LOGIN_MECHANISMS_SIZE];

	edge_policy.login_mechanisms(f->edge, &f->who, mechanisms);
	return mechanisms;
}

/* What every password can serve, and nothing that one could not. */
static void test_offer(void **state)
{
	static const struct {
		const char *users, *want;
	} cases[] = {
		{ ALICE, "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN" },
		{ "a:" HASH "\n", "PLAIN LOGIN" },
		{ "a:" SCRAM_256 "\n", "SCRAM-SHA-256 PLAIN LOGIN" },
		{ "a:" SCRAM_1 "\n", "SCRAM-SHA-1 PLAIN LOGIN" },
		{ "a:" CRAM "\n", "CRAM-MD5 PLAIN LOGIN" },
		{ "a:" CRAM "\nb:" SCRAM_1 "\n", "PLAIN LOGIN" },
		{ "a:" SCRAM_256 "\nb:{PLAIN}b\n", "SCRAM-SHA-256 PLAIN LOGIN" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		use(f, cases[i].users);
		assert_string_equal(offer(f), cases[i].want);
	}
	use(f, ALICE);
	f->who.binding = SLICE(BINDING);
	if (sasl_can_bind())
		assert_string_equal(offer(f), "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS "
					      "SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN");
	f->options.mechanism_filter = "!login, !scram-sha-1-plus, plain login scram-sha-1";
	use(f, ALICE);
	assert_string_equal(offer(f), "SCRAM-SHA-1 PLAIN");
	f->options.mechanism_filter = "";
	f->options.tls_security = EDGE_NOPLAINTEXT;
	f->who.binding = SLICE("");
	use(f, ALICE);
	assert_string_equal(offer(f), "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5");
	f->options.security = EDGE_MUTUAL_AUTH;
	use(f, ALICE);
	f->who.tls = NULL;
	assert_string_equal(offer(f), "SCRAM-SHA-256 SCRAM-SHA-1");
	/* What was not offered is not there. */
	begin(f, "PLAIN", NULL);
	assert_int_equal(f->status.code, 504);
	end(f);
}

/* Our own client. Returns the code; 0: the client could not believe the server. */
static int scram(struct fixture *f, const char *mechanism, const char *user, const char *password,
		 const char *binding)
{
	const struct sasl_credentials credentials = { user, password, slice_from(binding) };
	struct sasl_exchange *client;
	struct buf said = { 0 };
	struct sasl *sasl;
	struct error err;
	struct slice slice;
	bool is_proved;

	assert_return_code(sasl_new(&sasl, &err), 0);
	assert_return_code(sasl_client_new(sasl, mechanism, &credentials, &client, &err), 0);
	assert_int_equal(sasl_exchange_step(client, SLICE(""), &said, &err), SASL_MORE);
	slice = buf_slice(&said);
	begin(f, mechanism, &slice);
	while (f->outcome == LOGIN_CHALLENGE && !sasl_exchange_is_done(client)) {
		buf_clear(&said);
		if (sasl_exchange_step(client, slice_from(f->challenge), &said, &err) < 0)
			break;
		say(f, buf_slice(&said));
	}
	is_proved = sasl_exchange_is_done(client);
	end(f);
	buf_done(&said);
	sasl_exchange_free(client);
	sasl_free(sasl);
	if (f->outcome == LOGIN_SUCCESS)
		assert_true(is_proved);
	return f->outcome == LOGIN_CHALLENGE ? 0 : f->status.code;
}

static void test_scram(void **state)
{
	static const struct {
		const char *users, *mechanism, *password;
	} cases[] = {
		{ "alice@vm1.vm:" SCRAM_256 "\n", "SCRAM-SHA-256", "secret" },
		{ "alice@vm1.vm:" SCRAM_1 "\n", "SCRAM-SHA-1", "secret" },
		{ "alice@vm1.vm:{PLAIN}secret\n", "SCRAM-SHA-256", "secret" },
		{ "alice@vm1.vm:{PLAIN}secret\n", "SCRAM-SHA-1", "secret" },
		/* prepared by the client, as it must: RFC 4013 */
		{ "alice@vm1.vm:{PLAIN}se\302\255cret\n", "SCRAM-SHA-256", "s\302\255ecret" },
	};
	struct fixture *f = *state;
	char plus[32];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *m = cases[i].mechanism;

		f->who.binding = SLICE("");
		use(f, cases[i].users);
		assert_int_equal(scram(f, m, "alice@vm1.vm", cases[i].password, NULL), 235);
		assert_string_equal(f->user, "alice@vm1.vm");
		assert_int_equal(scram(f, m, "ALICE@vm1.vm", cases[i].password, NULL), 235);
		assert_string_equal(f->user, "alice@vm1.vm");
		assert_int_equal(scram(f, m, "alice@vm1.vm", "wrong", NULL), 535);
		assert_int_equal(scram(f, m, "nobody@vm1.vm", cases[i].password, NULL), 535);
		assert_string_equal(f->user, "nobody@vm1.vm");
		if (!sasl_can_bind())
			continue;
		f->who.binding = SLICE(BINDING);
		snprintf(plus, sizeof(plus), "%s-PLUS", m);
		assert_int_equal(scram(f, plus, "alice@vm1.vm", cases[i].password, BINDING), 235);
		assert_int_equal(scram(f, plus, "alice@vm1.vm", cases[i].password, "other"), 535);
		assert_int_equal(scram(f, plus, "nobody@vm1.vm", cases[i].password, BINDING), 535);
	}
}

/* The first answer of the server: "r=...,s=SALT,i=COUNT", without the nonce. */
static const char *parameters(struct fixture *f, const char *user)
{
	static char texts[4][512];
	static unsigned int turn;
	char first[128];
	struct slice said =
		slice_of(first, (size_t)snprintf(first, sizeof(first), "n,,n=%s,r=abc", user));
	char *text = texts[turn++ % 4];

	begin(f, "SCRAM-SHA-256", &said);
	assert_int_equal(f->outcome, LOGIN_CHALLENGE);
	end(f);
	strcpy(text, strstr(f->challenge, ",s="));
	return text;
}

/* Containers may have none, or an empty one: then salts are others after a restart. */
static bool has_machine_id(void)
{
	FILE *file = fopen("/etc/machine-id", "re");
	char id[32];
	bool is_whole = file && fread(id, 1, sizeof(id), file) == sizeof(id);

	if (file)
		fclose(file);
	return is_whole;
}

/* Nobody learns from salts and counts who has an account: not even by asking twice, or later. */
static void test_scram_of_nobody(void **state)
{
	static const char *const users[] = { "alice@vm1.vm:" SCRAM_256 "\n",
					     "alice@vm1.vm:{PLAIN}secret\n",
					     "alice@vm1.vm:" SCRAM_256 "\nbob@vm1.vm:" SCRAM_256
					     "\nnobody@vm1.vm:\n" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		const char *alice, *nobody;

		use(f, users[i]);
		alice = parameters(f, "alice@vm1.vm");
		nobody = parameters(f, "nobody@vm1.vm");
		assert_string_not_equal(alice, nobody);
		assert_int_equal(strlen(alice), strlen(nobody));
		assert_string_equal(strstr(alice, ",i="), strstr(nobody, ",i="));
		assert_string_equal(parameters(f, "NOBODY@vm1.vm"), nobody);
		assert_string_not_equal(parameters(f, "nobody2@vm1.vm"), nobody);
		use(f, users[i]); /* a restart */
		if (has_machine_id()) {
			assert_string_equal(parameters(f, "alice@vm1.vm"), alice);
			assert_string_equal(parameters(f, "nobody@vm1.vm"), nobody);
		}
		assert_int_equal(scram(f, "SCRAM-SHA-256", "nobody@vm1.vm", "", NULL), 535);
	}
}

static void test_scram_malformed(void **state)
{
	static const char *const firsts[] = { "x",	"n,,",		"n,,n=",
					      "n,,n=a", "p=x,,n=a,r=b", "n,,,,,,,," };
	struct fixture *f = *state;
	struct slice said;

	for (size_t i = 0; i < ARRAY_SIZE(firsts); i++) {
		said = slice_from(firsts[i]);
		begin(f, "SCRAM-SHA-256", &said);
		assert_int_equal(f->outcome, LOGIN_FAILURE);
		assert_true(f->status.code == 501 || f->status.code == 535);
		end(f);
	}
	said = SLICE("n,,n=a\0b,r=c");
	begin(f, "SCRAM-SHA-256", &said);
	assert_int_equal(f->status.code, 501);
	end(f);

	/* The client is asked to begin, and says too much behind the proof. */
	begin(f, "SCRAM-SHA-256", NULL);
	assert_int_equal(f->outcome, LOGIN_CHALLENGE);
	assert_string_equal(f->challenge, "");
	say(f, SLICE("n,a=test1@vm1.vm,n=alice@vm1.vm,r=abc"));
	assert_int_equal(f->outcome, LOGIN_CHALLENGE);
	say(f, SLICE("c=biws,r=abc,p=AAAA"));
	assert_int_equal(f->outcome, LOGIN_FAILURE);
	end(f);
}

static int cram(struct fixture *f, const char *user, const char *password)
{
	const struct sasl_credentials credentials = { .user = user, .password = password };
	struct sasl_exchange *client;
	struct buf said = { 0 };
	struct sasl *sasl;
	struct error err;

	assert_return_code(sasl_new(&sasl, &err), 0);
	assert_return_code(sasl_client_new(sasl, "CRAM-MD5", &credentials, &client, &err), 0);
	begin(f, "CRAM-MD5", NULL);
	assert_non_null(strstr(f->challenge, "@mta1.vm1.vm>"));
	assert_int_equal(sasl_exchange_step(client, slice_from(f->challenge), &said, &err),
			 SASL_DONE);
	say(f, buf_slice(&said));
	end(f);
	buf_done(&said);
	sasl_exchange_free(client);
	sasl_free(sasl);
	return f->status.code;
}

static void test_cram(void **state)
{
	static const char *const users[] = { "alice@vm1.vm:" CRAM "\n",
					     "alice@vm1.vm:{PLAIN}secret\n" };
	struct fixture *f = *state;
	struct slice said = SLICE("alice@vm1.vm 00000000000000000000000000000000");

	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		use(f, users[i]);
		assert_int_equal(cram(f, "alice@vm1.vm", "secret"), 235);
		assert_int_equal(cram(f, "alice@vm1.vm", "secre"), 535);
		assert_int_equal(cram(f, "nobody@vm1.vm", "secret"), 535);
		assert_int_equal(plain(f, SLICE("\0alice@vm1.vm\0secret")), 235);
	}
	begin(f, "CRAM-MD5", &said); /* RFC 4954 section 4: it has no initial response */
	assert_int_equal(f->status.code, 501);
	end(f);
	for (size_t i = 0; i < said.len; i++) {
		begin(f, "CRAM-MD5", NULL);
		say(f, slice_first(said, i));
		assert_int_equal(f->status.code, 501);
		end(f);
	}
	begin(f, "CRAM-MD5", NULL);
	say(f, said);
	assert_int_equal(f->status.code, 535);
	end(f);
}

static void test_bare_names(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(plain(f, SLICE("\0alice\0alice")), 535);
	f->options.local_domain = "vm1.vm";
	use(f, ALICE "root:{PLAIN}toor\n");
	assert_int_equal(plain(f, SLICE("\0alice\0alice")), 235);
	assert_string_equal(f->user, "alice@vm1.vm");
	assert_int_equal(plain(f, SLICE("alice\0alice\0alice")), 235);
	assert_int_equal(plain(f, SLICE("alice@vm1.vm\0alice\0alice")), 235);
	assert_int_equal(login(f, SLICE("ALICE"), SLICE("alice")), 235);
	assert_int_equal(scram(f, "SCRAM-SHA-256", "alice", "alice", NULL), 235);
	assert_string_equal(f->user, "alice@vm1.vm");
	assert_int_equal(cram(f, "alice", "alice"), 235);
	/* An account that is called so is found behind it. */
	assert_int_equal(plain(f, SLICE("\0root\0toor")), 235);
	assert_string_equal(f->user, "root");
}

/* RFC 4013: what looks the same is the same, whatever the keyboard made of it. */
static void test_prepared(void **state)
{
	struct fixture *f = *state;

	use(f, "joe@vm1.vm:{PLAIN}pass\nann@vm1.vm:{PLAIN}m\303\274hle\n");
	assert_int_equal(plain(f, SLICE("\0jo\302\255e@vm1.vm\0pa\302\255ss")), 235);
	assert_string_equal(f->user, "joe@vm1.vm");
	assert_int_equal(plain(f, SLICE("\0ann@vm1.vm\0mu\314\210hle")), 235);
	assert_int_equal(plain(f, SLICE("\0ann@vm1.vm\0m\303\274hle")), 235);
	assert_int_equal(scram(f, "SCRAM-SHA-256", "ann@vm1.vm", "mu\314\210hle", NULL), 235);
	/* No UTF-8 is no reason for another answer. */
	assert_int_equal(plain(f, SLICE("\0jo\377e@vm1.vm\0pass")), 535);
	assert_int_equal(plain(f, SLICE("\0joe@vm1.vm\0pa\377ss")), 535);
}

/* ---- certificates ---- */

static int take_certificate(void *arg, const struct pem_block *block,
			    const struct certs_certificate *certificate, struct error *err)
{
	(void)block;
	(void)err;
	buf_append_slice(arg, certificate->der);
	return 0;
}

static int external(struct fixture *f, struct slice id)
{
	begin(f, "EXTERNAL", &id);
	end(f);
	return f->status.code;
}

static void show(struct fixture *f, const char *dir, const char *name, struct buf *der)
{
	buf_clear(der);
	assert_int_equal(
		pemfile_certificates(throwaway_path(dir, name), take_certificate, der, NULL), 0);
	f->who.certificate = buf_slice(der);
	f->tls.has_peer_cert = f->tls.trusted = f->tls.verified = true;
}

static void test_external(void **state)
{
	struct fixture *f = *state;
	char *dir = throwaway_certs();
	struct buf der = { 0 };

	show(f, dir, "person.pem", &der);
	f->options.mechanism_filter = "!external, static:rest";
	use(f, ALICE);
	assert_null(strstr(offer(f), "EXTERNAL"));
	f->options.mechanism_filter = "external plain";
	f->options.local_domain = "vm1.vm";
	use(f, "alice@vm1.vm:" HASH "\ntest1@vm1.vm:\nprinter@vm1.vm:{PLAIN}x\n");
	assert_string_equal(offer(f), "PLAIN EXTERNAL");

	/* The first that has an account; or the one that is asked for, also without a password. */
	assert_int_equal(external(f, SLICE("")), 235);
	assert_string_equal(f->user, "alice@vm1.vm");
	assert_int_equal(external(f, SLICE("TEST1@vm1.vm")), 235);
	assert_string_equal(f->user, "test1@vm1.vm");
	begin(f, "EXTERNAL", NULL);
	assert_int_equal(f->outcome, LOGIN_CHALLENGE);
	say(f, SLICE("alice@vm1.vm"));
	end(f);
	assert_int_equal(f->status.code, 235);

	/* Not in the certificate; in it, but no account; completed, which is for what people type. */
	assert_int_equal(external(f, SLICE("bob@vm1.vm")), 535);
	assert_int_equal(external(f, SLICE("nobody@vm1.vm")), 535);
	assert_int_equal(external(f, SLICE("alice")), 535);
	assert_int_equal(external(f, SLICE("printer.vm1.vm")), 535);
	assert_int_equal(external(f, SLICE("a\0b")), 501);
	use(f, "printer.vm1.vm:{PLAIN}x\n");
	assert_int_equal(external(f, SLICE("")), 235);
	assert_string_equal(f->user, "printer.vm1.vm");

	/* What passes for a host's name, to a CA that looks at those alone. */
	use(f, "carol@vm1.vm:{PLAIN}x\n");
	assert_int_equal(external(f, SLICE("")), 535);
	assert_int_equal(external(f, SLICE("carol@vm1.vm")), 535);

	/* A closed account; the next one counts. */
	use(f, "alice@vm1.vm:" HASH "::::::nologin\ntest1@vm1.vm:\n");
	assert_int_equal(external(f, SLICE("alice@vm1.vm")), 535);
	assert_int_equal(external(f, SLICE("")), 235);
	assert_string_equal(f->user, "test1@vm1.vm");

	/* Nobody that we trust has signed it; out of its time; without names; none at all. */
	f->tls.verified = false;
	assert_string_equal(offer(f), "PLAIN");
	assert_int_equal(external(f, SLICE("")), 504);
	show(f, dir, "old-person.pem", &der);
	assert_string_equal(offer(f), "PLAIN");
	show(f, dir, "cn-only.pem", &der);
	assert_string_equal(offer(f), "PLAIN");
	f->who.certificate = SLICE("");
	assert_string_equal(offer(f), "PLAIN");
	buf_done(&der);
	throwaway_remove(dir);
}

/* ---- anything else ---- */

/* Whatever is said, there is an answer, which lets nobody in. */
static void test_anything(void **state)
{
	static const char alphabet[] = "\0\0,,==np=ry,=aliceAZ09+/@ \1\377\303\274";
	static const char *const names[] = { "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1",
					     "SCRAM-SHA-256" };
	struct fixture *f = *state;
	unsigned int random = 1;

	for (unsigned int i = 0; i < 2000; i++) {
		begin(f, names[i % ARRAY_SIZE(names)], NULL);
		for (unsigned int turns = 0; f->outcome == LOGIN_CHALLENGE && turns < 5; turns++) {
			char said[64];
			size_t len = 0;

			if (i % 3 == 0)
				len = (size_t)snprintf(said, sizeof(said), "n,,n=alice@vm1.vm,r=a");
			random = random * 1103515245u + 12345u;
			for (unsigned int n = random >> 16 & 31; n > 0; n--) {
				random = random * 1103515245u + 12345u;
				said[len++] = alphabet[(random >> 16) % sizeof(alphabet)];
			}
			say(f, slice_of(said, len));
		}
		assert_int_not_equal(f->outcome, LOGIN_SUCCESS);
		end(f);
	}
}

/* ---- as much work for nobody as for somebody ---- */

static unsigned int hashes;

bool __real_accounts_match(struct accounts *accounts, struct slice stored, const char *password);
bool __wrap_accounts_match(struct accounts *accounts, struct slice stored, const char *password);
bool __real_scheme_scram_derive(const char *password, enum scheme_secret hash,
				struct scheme_scram *scram);
bool __wrap_scheme_scram_derive(const char *password, enum scheme_secret hash,
				struct scheme_scram *scram);

bool __wrap_accounts_match(struct accounts *accounts, struct slice stored, const char *password)
{
	assert_true(stored.len > 0);
	hashes += slice_starts_nocase(stored, SLICE("{SHA512-CRYPT}")) ? 100 : 1;
	return __real_accounts_match(accounts, stored, password);
}

bool __wrap_scheme_scram_derive(const char *password, enum scheme_secret hash,
				struct scheme_scram *scram)
{
	hashes += scram->iterations;
	return __real_scheme_scram_derive(password, hash, scram);
}

static unsigned int work_of(struct fixture *f, const char *mechanism, const char *user,
			    const char *password)
{
	char message[128];
	size_t len = (size_t)snprintf(message, sizeof(message), "%c%s%c%s", 0, user, 0, password);

	hashes = 0;
	if (strcmp(mechanism, "PLAIN") == 0)
		assert_int_equal(plain(f, slice_of(message, len)), 535);
	else
		assert_int_equal(scram(f, mechanism, user, password, NULL), 535);
	return hashes;
}

static void test_same_work(void **state)
{
	static const struct {
		const char *users, *mechanism;
	} cases[] = {
		{ "a@vm1.vm:" HASH "\nempty@vm1.vm:\n", "PLAIN" },
		{ "a@vm1.vm:{PLAIN}x\nempty@vm1.vm:\n", "PLAIN" },
		{ "a@vm1.vm:" SCRAM_256 "\nempty@vm1.vm:\n", "PLAIN" },
		{ "a@vm1.vm:{PLAIN}x\n", "SCRAM-SHA-256" },
		{ "a@vm1.vm:" SCRAM_256 "\nempty@vm1.vm:\n", "SCRAM-SHA-256" },
	};
	static const char *const others[] = { "b@vm1.vm", "empty@vm1.vm", "c" };
	static const char *const passwords[] = { "wrong", "m\303\274hle", "mu\314\210hle" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		use(f, cases[i].users);
		for (size_t j = 0; j < ARRAY_SIZE(others); j++) {
			const char *password = passwords[j];
			unsigned int want = work_of(f, cases[i].mechanism, "a@vm1.vm", password);

			if (work_of(f, cases[i].mechanism, others[j], password) != want)
				fail_msg("case %zu, %s: %u instead of %u", i, others[j], hashes,
					 want);
			if (strcmp(cases[i].mechanism, "PLAIN") == 0)
				assert_true(want > 0);
		}
	}
}

/* ---- slowing ---- */

static void test_slowed(void **state)
{
	const struct slice good = SLICE("\0alice@vm1.vm\0alice");
	struct fixture *f = *state;
	struct login_request request = {
		.loop = f->loop,
		.who = &f->who,
		.mechanism = "PLAIN",
		.initial = &good,
		.answer = on_answer,
		.arg = f,
	};

	f->slowdown = slowdown_new();
	f->options.failure_delay_ms = 60000;
	use(f, ALICE);
	/* Malformed responses are no attempts. */
	for (unsigned int i = 0; i < 20; i++)
		assert_int_equal(plain(f, SLICE("x")), 501);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(plain(f, SLICE("\0alice@vm1.vm\0wrong")), 535);

	/* Now one would wait; and who hangs up waits no longer, and was not judged. */
	request.slowdown = f->slowdown;
	f->login = edge_policy.login_begin(f->edge, &request);
	f->login->methods->cancel(f->login);
	await(f);
	assert_int_equal(f->status.code, 454);
	end(f);
	/* The same of one who has said nothing yet. */
	begin(f, "SCRAM-SHA-256", NULL);
	say(f, SLICE(""));
	f->login->methods->step(f->login, SLICE("n,,n=alice@vm1.vm,r=abc"));
	f->login->methods->cancel(f->login);
	await(f);
	assert_int_equal(f->status.code, 454);
	assert_string_equal(f->user, "");
	end(f);
	/* After the queue is full, it is told at once to come later. */
	for (unsigned int i = 0; i < 400 && f->status.code == 454; i++) {
		f->login = edge_policy.login_begin(f->edge, &request);
		f->login->methods->cancel(f->login);
		await(f);
		end(f);
		if (strstr(f->status.text, "too many"))
			break;
	}
	assert_non_null(strstr(f->status.text, "too many failed logins"));
	/* From elsewhere, and from networks that we trust, it is judged at once. */
	assert_true(net_address_parse_ip(SLICE("192.0.2.8"), 1, &f->address));
	assert_int_equal(plain(f, good), 235);
}

static void test_known_is_not_slowed(void **state)
{
	struct fixture *f = *state;

	f->slowdown = slowdown_new();
	f->options.failure_delay_ms = 60000;
	use(f, ALICE);
	assert_int_equal(plain(f, SLICE("\0alice@vm1.vm\0alice")), 235);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(plain(f, SLICE("\0test1@vm1.vm\0wrong")), 535);
	assert_int_equal(plain(f, SLICE("\0alice@vm1.vm\0alice")), 235);
	assert_int_equal(scram(f, "SCRAM-SHA-256", "alice@vm1.vm", "alice", NULL), 235);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_of_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scram_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cram, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bare_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prepared, setup, teardown),
		cmocka_unit_test_setup_teardown(test_external, setup, teardown),
		cmocka_unit_test_setup_teardown(test_anything, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_work, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slowed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_known_is_not_slowed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
