/* test_dane - which certificates TLSA records mean, in sessions (RFC 7672 section 3) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "certs/pem.h"
#include "certs/pemfile.h"
#include "tests/support/throwaway.h"
#include "tls/dane.h"
#include "tls/test_pair.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

struct fixture {
	char *dir;
	struct tls_context *client; /* trusts nobody: DNS says whom to trust */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->dir = throwaway_certs();
	f->client = test_client_context(f->dir, NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tls_context_unref(f->client);
	throwaway_remove(f->dir);
	free(f);
	tls_thread_done();
	return 0;
}

/* "3 1 1 hub": the record that means the first certificate of hub.pem. */
static void make_record(const char *dir, const char *text, struct buf *data, struct dns_tlsa *ret)
{
	unsigned int usage, selector, matching;
	struct certs_certificate c;
	struct buf der = { 0 };
	struct pemfile file;
	struct pem_block block;
	struct slice rest, bytes;
	unsigned char digest[64];
	char name[40], path[48];

	assert_int_equal(sscanf(text, "%u %u %u %39s", &usage, &selector, &matching, name), 4);
	snprintf(path, sizeof(path), "%s.pem", name);
	assert_int_equal(pemfile_read(throwaway_path(dir, path), &file, NULL), 0);
	rest = pemfile_text(&file);
	assert_true(pem_next(&rest, &block) && pem_decode(&block, &der));
	pemfile_done(&file);
	assert_int_equal(certs_certificate_parse(buf_slice(&der), &c, NULL), 0);
	bytes = selector == 1 ? c.public_key : c.der;
	if (matching == 1)
		wc_Sha256Hash((const unsigned char *)bytes.ptr, (word32)bytes.len, digest);
	else if (matching == 2)
		wc_Sha512Hash((const unsigned char *)bytes.ptr, (word32)bytes.len, digest);
	buf_append(data, matching ? (const char *)digest : bytes.ptr,
		   matching ? matching * 32 : bytes.len);
	*ret = (struct dns_tlsa){
		.usage = (unsigned char)usage,
		.selector = (unsigned char)selector,
		.matching = (unsigned char)matching,
		.data = buf_slice(data),
	};
	buf_done(&der);
}

/* "3 1 1 hub, 2 0 1 ca" */
static struct tls_dane *make_dane(const char *dir, const char *text, const char *base)
{
	struct slice rest = slice_from(text), word;
	struct dns_tlsa records[4];
	struct buf data[4] = { 0 };
	struct tls_dane *dane;
	size_t count = 0;

	while (slice_next_word(&rest, ",", &word)) {
		char one[64];

		assert_true(slice_copy(slice_trim(word), one, sizeof(one)));
		make_record(dir, one, &data[count], &records[count]);
		count++;
	}
	dane = tls_dane_new(records, count, base);
	for (size_t i = 0; i < count; i++)
		buf_done(&data[i]);
	return dane;
}

static int run(struct pair *p, struct tls_context *client, struct tls_context *server,
	       const struct tls_dane *dane, bool is_1_2, const char *cache_key)
{
	const struct tls_policy policy = { .level = TLS_LEVEL_DANE, .dane = dane };

	pair_open_to(p, client, server, &policy, "mx.example.net", cache_key);
	if (is_1_2)
		end_limit_to_1_2(&p->server);
	pair_run(p, SIZE_MAX);
	return p->client.state;
}

#define NONE_MEANT "certificate is none that the TLSA records mean (it is sha256:"

static const struct {
	const char *server, *records, *base, *trouble; /* NULL: verified */
} cases[] = {
	/* DANE-EE: neither dates nor names nor a CA */
	{ "hub", "3 0 0 hub", "x.example", NULL },
	{ "hub", "3 0 1 hub", "x.example", NULL },
	{ "hub", "3 0 2 hub", "x.example", NULL },
	{ "hub", "3 1 0 hub", "x.example", NULL },
	{ "hub", "3 1 1 hub", "x.example", NULL },
	{ "hub", "3 1 2 hub", "x.example", NULL },
	{ "hub-rsa", "3 1 1 hub-rsa", "x.example", NULL },
	{ "expired", "3 1 1 expired", "x.example", NULL },
	{ "future", "3 1 1 future", "x.example", NULL },
	{ "self-signed", "3 1 1 self-signed", "x.example", NULL },
	{ "client-only", "3 1 1 client-only", "x.example", NULL },
	{ "old-sub-chain", "3 0 1 old-sub", "x.example", NULL },
	{ "hub", "3 1 1 stranger, 3 0 1 hub", "x.example", NULL },
	{ "hub", "3 1 1 stranger", "hub.example", NONE_MEANT },
	{ "hub", "3 1 1 ca", "hub.example", NONE_MEANT },
	{ "hub", "3 1 2 hub, 3 1 1 stranger", "x.example", NULL },
	{ "hub", "3 1 1 hub, 3 1 2 stranger", "x.example", NONE_MEANT }, /* RFC 7671 section 9 */
	{ "hub", "3 1 1 hub, 3 0 2 stranger", "x.example", NULL },

	/* DANE-TA: the CA must be sent along; dates and names count */
	{ "sub-chain", "2 0 0 sub-ca", "hub.example", NULL },
	{ "sub-chain", "2 0 1 sub-ca", "hub.example", NULL },
	{ "sub-chain", "2 1 2 sub-ca", "hub.example", NULL },
	{ "sub-chain", "2 1 1 sub-ca", "HUB.example", NULL },
	{ "sub-chain", "2 1 1 sub-ca", "x.example",
	  "certificate is for none of the names mx.example.net, x.example (it names: hub.example" },
	{ "sub", "2 1 1 sub-ca", "hub.example", NONE_MEANT },
	{ "hub", "2 0 1 ca", "hub.example", NONE_MEANT },
	{ "sub-chain", "2 0 1 ca", "hub.example", NONE_MEANT },
	{ "sub-chain", "2 0 1 sub", "hub.example", NONE_MEANT }, /* the leaf is no CA */
	{ "old-sub-chain", "2 1 1 old-sub-ca", "hub.example",
	  "a CA above the certificate is not within its dates" },
	{ "evil-sub-chain", "2 1 1 evil-sub-ca", "hub.example", NULL }, /* DNS vouches for it */
	{ "leaf-as-ca-chain", "2 1 1 hub", "hub.example", NONE_MEANT },
};

static void test_records(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const char *trouble = cases[i / 2].trouble, *records = cases[i / 2].records;
		struct tls_context *server = test_server_context(f->dir, cases[i / 2].server);
		struct tls_dane *dane = make_dane(f->dir, records, cases[i / 2].base);
		const struct tls_facts *facts;
		struct pair p;

		run(&p, f->client, server, dane, i % 2, NULL);
		facts = tls_session_facts(p.client.filter);
		if ((p.client.state == STREAM_FILTER_OPEN) != !trouble)
			fail_msg("%s, %s: %s", cases[i / 2].server, records, p.client.err.text);
		assert_int_equal(p.server.state == STREAM_FILTER_OPEN, !trouble);
		assert_int_equal(facts->verified, !trouble);
		assert_string_equal(facts->verified_by, trouble ? "" : "dane");
		if (trouble && strncmp(p.client.err.text, trouble, strlen(trouble)) != 0)
			fail_msg("%s, %s: %s", cases[i / 2].server, records, p.client.err.text);
		pair_close(&p);
		tls_dane_free(dane);
		tls_context_unref(server);
	}
}

/* No record that can be used is no DANE; without any, the level verifies nobody. */
static void test_unusable(void **state)
{
	const struct dns_tlsa unusable[] = {
		{ 0, 0, 1, SLICE("0123456789abcdef0123456789abcdef") },
		{ 1, 1, 1, SLICE("0123456789abcdef0123456789abcdef") },
		{ 4, 1, 1, SLICE("0123456789abcdef0123456789abcdef") },
		{ 3, 2, 1, SLICE("0123456789abcdef0123456789abcdef") },
		{ 3, 1, 3, SLICE("0123456789abcdef0123456789abcdef") },
		{ 3, 1, 1, SLICE("0123456789abcdef0123456789abcde") },
		{ 3, 1, 2, SLICE("0123456789abcdef0123456789abcdef") },
		{ 3, 1, 0, SLICE("") },
	};
	struct fixture *f = *state;
	struct tls_context *server = test_server_context(f->dir, "hub");
	struct pair p;

	assert_null(tls_dane_new(unusable, ARRAY_SIZE(unusable), "x"));
	assert_null(tls_dane_new(NULL, 0, "x"));
	assert_true(run(&p, f->client, server, NULL, false, NULL) < 0);
	assert_string_equal(p.client.err.text, "there is no TLSA record to verify it by");
	pair_close(&p);
	tls_context_unref(server);
}

/* The CA that DNS named is trusted in that session, and in no other. */
static void test_no_poison(void **state)
{
	struct fixture *f = *state;
	struct tls_context *chain = test_server_context(f->dir, "sub-chain");
	struct tls_context *leaf = test_server_context(f->dir, "sub");
	struct tls_dane *dane = make_dane(f->dir, "2 1 1 sub-ca", "hub.example");
	struct pair p;

	assert_int_equal(run(&p, f->client, chain, dane, false, NULL), STREAM_FILTER_OPEN);
	assert_false(tls_session_facts(p.client.filter)->trusted);
	pair_close(&p);
	pair_open_to(&p, f->client, leaf, test_policy("tls=encrypt"), "hub.example", NULL);
	pair_connect(&p);
	assert_false(tls_session_facts(p.client.filter)->trusted);
	pair_close(&p);
	tls_dane_free(dane);
	tls_context_unref(chain);
	tls_context_unref(leaf);
}

/* A signature that is not the CA's, below a CA whose name and key id are right. */
static void test_forged_below_anchor(void **state)
{
	struct fixture *f = *state;
	struct tls_context *server;
	struct tls_dane *dane = make_dane(f->dir, "2 0 1 ca", "hub.example");
	char all[16384] = "";
	static const char *const parts[] = { "evil.pem", "ca.pem" };
	struct pair p;
	FILE *file;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		size_t len = strlen(all);

		file = fopen(throwaway_path(f->dir, parts[i]), "re");
		all[len + fread(all + len, 1, sizeof(all) - len - 1, file)] = '\0';
		fclose(file);
	}
	file = fopen(throwaway_path(f->dir, "evil-chain.pem"), "we");
	fputs(all, file);
	fclose(file);
	server = test_server_context(f->dir, "evil-chain");
	assert_true(run(&p, f->client, server, dane, false, NULL) < 0);
	assert_string_equal(p.client.err.text,
			    "signature of the certificate or of a CA above it is wrong");
	pair_close(&p);
	tls_dane_free(dane);
	tls_context_unref(server);
}

/* Resumed while DNS says the same; whoever it says something else of shows himself again. */
static void test_resume(void **state)
{
	struct fixture *f = *state;
	struct tls_context *server = test_server_context(f->dir, "hub");
	struct tls_dane *same = make_dane(f->dir, "3 1 1 hub", "hub.example");
	struct tls_dane *other = make_dane(f->dir, "3 1 1 stranger", "hub.example");
	struct pair p;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(&p, f->client, server, same, false, "k"), STREAM_FILTER_OPEN);
		assert_int_equal(tls_session_facts(p.client.filter)->resumed, i);
		assert_string_equal(tls_session_facts(p.client.filter)->verified_by, "dane");
		pair_close(&p);
	}
	assert_true(run(&p, f->client, server, other, false, "k") < 0);
	pair_close(&p);
	tls_dane_free(same);
	tls_dane_free(other);
	tls_context_unref(server);
}

/* The pinned key must be used, not only shown. */
static void test_stolen_certificate(void **state)
{
	struct fixture *f = *state;
	struct tls_context *server = test_server_context(f->dir, "self-signed");
	struct tls_dane *dane = make_dane(f->dir, "3 1 1 self-signed", "hub.example");
	const struct tls_policy policy = { .level = TLS_LEVEL_DANE, .dane = dane };
	struct pair p;

	for (int is_1_2 = 0; is_1_2 < 2; is_1_2++) {
		pair_open_to(&p, f->client, server, &policy, "hub.example", NULL);
		if (is_1_2)
			end_limit_to_1_2(&p.server);
		end_use_key(&p.server, throwaway_path(f->dir, "hub.key"));
		pair_run(&p, SIZE_MAX);
		assert_true(p.client.state < 0);
		pair_close(&p);
	}
	tls_dane_free(dane);
	tls_context_unref(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),	  cmocka_unit_test(test_unusable),
		cmocka_unit_test(test_no_poison), cmocka_unit_test(test_forged_below_anchor),
		cmocka_unit_test(test_resume),	  cmocka_unit_test(test_stolen_certificate),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
