/* test_inspect - kinds of keys, and chains that hold or do not */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/macros.h"
#include "certs/inspect.h"
#include "certs/pemfile.h"
#include "tests/support/throwaway.h"

#define CHAIN_MAX 4

struct chain {
	struct arena arena;
	struct certs_certificate list[CHAIN_MAX];
	unsigned int count;
};

static int take(void *arg, const struct pem_block *block,
		const struct certs_certificate *certificate, struct error *err)
{
	struct slice der = certificate->der;
	struct chain *chain = arg;

	(void)block;
	assert_true(chain->count < CHAIN_MAX);
	return certs_certificate_parse(slice_of(arena_slicedup(&chain->arena, der), der.len),
				       &chain->list[chain->count++], err);
}

/* Appends those of a file. */
static void load(struct chain *chain, const char *dir, const char *name)
{
	struct error err = { 0 };

	if (pemfile_certificates(throwaway_path(dir, name), take, chain, &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	*state = throwaway_certs();
	return 0;
}

static int teardown(void **state)
{
	throwaway_remove(*state);
	return 0;
}

static void test_keys(void **state)
{
	static const struct {
		const char *file, *want;
	} cases[] = {
		{ "hub.pem", "EC P-256" },
		{ "hub-rsa.pem", "RSA 2048" },
		{ "ed25519.pem", "Ed25519" },
	};
	char type[32];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct chain chain = { .count = 0 };

		load(&chain, *state, cases[i].file);
		assert_string_equal(certs_key_type(chain.list[0].public_key, type, sizeof(type)),
				    cases[i].want);
		arena_done(&chain.arena);
	}
	assert_string_equal(certs_key_type(slice_of("", 0), type, sizeof(type)), "unknown");
	assert_string_equal(certs_key_type(SLICE("\x30\x03\x30\x01\x06"), type, sizeof(type)),
			    "unknown");
}

static const struct {
	const char *files[2], *trust; /* NULL: none */
	const char *trouble;	      /* NULL: fine */
} chains[] = {
	{ { "hub.pem" }, NULL, NULL },
	{ { "hub.pem" }, "ca.pem", NULL },
	{ { "hub-rsa.pem" }, "ca.pem", NULL },
	{ { "hub.pem" },
	  "other-ca.pem",
	  "certificate 1 (CN=hub.example) is signed by an unknown CA" },
	{ { "hub.pem", "ca.pem" }, "ca.pem", NULL },
	{ { "hub.pem", "other-ca.pem" }, NULL, "is not signed by the one behind it" },
	{ { "sub-chain.pem" }, "ca.pem", NULL },
	{ { "sub-chain.pem" }, NULL, NULL },
	{ { "sub.pem" }, "ca.pem", "is signed by an unknown CA (issuer CN=Sub CA)" },
	{ { "self-signed.pem" }, "ca.pem", "signed by an unknown CA" },
	{ { "self-signed.pem" }, "self-signed.pem", NULL },
	/* Dates are somebody else's question, also those of CAs. */
	{ { "expired.pem" }, "ca.pem", NULL },
	{ { "old-sub-chain.pem" }, "ca.pem", NULL },
	{ { "of-old-ca.pem" }, "old-ca.pem", NULL },
	/* A leaf vouches for nobody, and names alone do not count. */
	{ { "leaf-as-ca-chain.pem" }, "ca.pem", "certificate 1 (CN=leaf) is signed by an unknown" },
	{ { "evil.pem" }, "ca.pem", "signature of certificate 1 (CN=hub.example) is wrong" },
	{ { "evil.pem", "evil-ca.pem" }, "ca.pem", "is wrong" },
	{ { "evil-sub-chain.pem" },
	  "ca.pem",
	  "signature of certificate 2 (CN=ca.example) is wrong" },
};

static void test_chains(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
		struct certs_trust *trust = NULL;
		struct chain chain = { .count = 0 };
		struct error err = { 0 };
		char trouble[300] = "";
		bool is_good;

		for (size_t n = 0; n < 2 && chains[i].files[n]; n++)
			load(&chain, *state, chains[i].files[n]);
		if (chains[i].trust &&
		    certs_trust_load(throwaway_path(*state, chains[i].trust), &trust, &err) < 0)
			fail_msg("%s", err.text);
		is_good =
			certs_chain_check(chain.list, chain.count, trust, trouble, sizeof(trouble));
		if (is_good != !chains[i].trouble ||
		    (chains[i].trouble && !strstr(trouble, chains[i].trouble)))
			fail_msg("%s by %s: %s", chains[i].files[0],
				 chains[i].trust ? chains[i].trust : "itself", trouble);
		certs_trust_free(trust);
		arena_done(&chain.arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_chains),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
