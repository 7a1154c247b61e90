/* test_identity - what loads, and what is said of files that do not */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/macros.h"
#include "certs/identity.h"
#include "tests/support/throwaway.h"

static const char *dir_of(void **state)
{
	return *state;
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

static void write_file(const char *path, const char *text, size_t len)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	fclose(file);
}

/* Puts both files into a third, with text around, as people do. */
static void join_files(const char *a, const char *b, const char *out)
{
	struct buf all = { 0 };
	const char *paths[] = { a, b };

	for (size_t i = 0; i < 2; i++) {
		FILE *file = fopen(paths[i], "re");

		assert_non_null(file);
		buf_append_string(&all, "some text: of no meaning\r\n");
		buf_commit(&all, fread(buf_reserve(&all, 65536), 1, 65536, file));
		fclose(file);
	}
	write_file(out, buf_slice(&all).ptr, buf_len(&all));
	buf_done(&all);
}

static void test_loads(void **state)
{
	static const struct {
		const char *cert, *key;
	} cases[] = {
		{ "hub.pem", "hub.key" },
		{ "hub.pem", "hub-sec1.key" },
		{ "hub-rsa.pem", "hub-rsa.key" },
		{ "hub-rsa.pem", "hub-rsa-pkcs1.key" },
		{ "expired.pem", "expired.key" },
		{ "future.pem", "future.key" },
		{ "sub-chain.pem", "sub.key" },
		{ "both.pem", NULL },
		{ "both.pem", "" },
	};
	const char *dir = dir_of(state);

	join_files(throwaway_path(dir, "hub.key"), throwaway_path(dir, "hub.pem"),
		   throwaway_path(dir, "both.pem"));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct certs_identity *identity = NULL;
		struct error err = { 0 };
		const char *key = cases[i].key && cases[i].key[0]
					  ? throwaway_path(dir, cases[i].key)
					  : cases[i].key;
		int r = certs_identity_load(throwaway_path(dir, cases[i].cert), key, &identity,
					    &err);

		if (r < 0)
			fail_msg("%s: %s", cases[i].cert, err.text);
		assert_string_equal(certs_identity_info(identity)->subject, "hub.example");
		assert_true(slice_starts_nocase(certs_identity_key_pem(identity),
						SLICE("-----BEGIN ")));
		/* No private key leaves with the certificates. */
		assert_null(memmem(certs_identity_chain_pem(identity).ptr,
				   certs_identity_chain_pem(identity).len, "PRIVATE", 7));
		certs_identity_free(identity);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *cert, *key, *error; /* %s: the directory */
	} cases[] = {
		{ "absent.pem", "hub.key", "%s/absent.pem: No such file or directory" },
		{ "hub.pem", "absent.key", "%s/absent.key: No such file or directory" },
		{ "hub.pem", "edge.key",
		  "%s/edge.key: the private key does not belong to the certificate in "
		  "%s/hub.pem" },
		{ "hub.pem", "hub-rsa.key",
		  "%s/hub-rsa.key: the private key does not belong to the certificate in "
		  "%s/hub.pem" },
		{ "hub-rsa.pem", "hub.key",
		  "%s/hub.key: the private key does not belong to the certificate in "
		  "%s/hub-rsa.pem" },
		{ "hub-rsa.pem", "other-rsa.key",
		  "%s/other-rsa.key: the private key does not belong to the certificate in "
		  "%s/hub-rsa.pem" },
		{ "hub.pem", "hub-locked.key",
		  "%s/hub-locked.key: the private key is locked with a passphrase, which nobody "
		  "could type at a restart; store it without one" },
		{ "hub-rsa.pem", "hub-rsa-locked.key",
		  "%s/hub-rsa-locked.key: the private key is locked with a passphrase, which "
		  "nobody could type at a restart; store it without one" },
		{ "ed25519.pem", "ed25519.key",
		  "%s/ed25519.pem: the certificate's key is neither RSA nor EC" },
		{ "hub.pem", NULL, "%s/hub.pem: no private key in PEM form in it" },
		{ "hub.pem", "hub.pem", "%s/hub.pem: no private key in PEM form in it" },
		{ "hub.key", "hub.key", "%s/hub.key: holds a PRIVATE KEY, but no certificate" },
		{ "empty", "hub.key", "%s/empty: no certificate in PEM form in it" },
		{ "damaged.pem", "hub.key", "%s/damaged.pem: certificate 1 in it: damaged base64" },
		{ "nonsense.pem", "hub.key",
		  "%s/nonsense.pem: certificate 1 in it: damaged certificate" },
		{ "folder", "hub.key", "%s/folder: not a regular file" },
		{ "hub.pem", "nonsense.key", NULL },
	};
	static const char damaged[] = "-----BEGIN CERTIFICATE-----\nM*==\n"
				      "-----END CERTIFICATE-----\n";
	static const char nonsense[] = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n"
				       "-----END CERTIFICATE-----\n";
	static const char key[] = "-----BEGIN PRIVATE KEY-----\nMAMCAQE=\n"
				  "-----END PRIVATE KEY-----\n";
	const char *dir = dir_of(state);

	write_file(throwaway_path(dir, "empty"), "", 0);
	write_file(throwaway_path(dir, "damaged.pem"), damaged, strlen(damaged));
	write_file(throwaway_path(dir, "nonsense.pem"), nonsense, strlen(nonsense));
	write_file(throwaway_path(dir, "nonsense.key"), key, strlen(key));
	mkdir(throwaway_path(dir, "folder"), 0700);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct certs_identity *identity = NULL;
		struct error err = { 0 };
		char want[508];
		int r = certs_identity_load(throwaway_path(dir, cases[i].cert),
					    cases[i].key ? throwaway_path(dir, cases[i].key) : NULL,
					    &identity, &err);

		if (r >= 0)
			fail_msg("%s and %s load", cases[i].cert, cases[i].key);
		assert_int_equal(r, err.code);
		assert_null(identity);
		if (!cases[i].error)
			continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
		snprintf(want, sizeof(want), cases[i].error, dir, dir);
#pragma GCC diagnostic pop
		assert_string_equal(err.text, want);
	}
	rmdir(throwaway_path(dir, "folder"));
}

static void test_info(void **state)
{
	struct certs_identity *identity = NULL;
	struct error err = { 0 };
	const struct certs_info *info;

	assert_int_equal(certs_identity_load(throwaway_path(dir_of(state), "future.pem"),
					     throwaway_path(dir_of(state), "future.key"), &identity,
					     &err),
			 0);
	info = certs_identity_info(identity);
	assert_int_equal(info->not_before_s, 2493072000); /* 2049-01-01 */
	assert_int_equal(info->not_after_s, 2556144000);  /* 2051-01-01, a GeneralizedTime */
	assert_int_equal(strspn(info->sha256, "0123456789abcdef"), 64);

	assert_int_equal(certs_info_days_left(info, info->not_after_s), 0);
	assert_int_equal(certs_info_days_left(info, info->not_after_s - 86399), 0);
	assert_int_equal(certs_info_days_left(info, info->not_after_s - 86400), 1);
	assert_int_equal(certs_info_days_left(info, info->not_after_s + 1), -1);
	assert_int_equal(certs_info_days_left(info, info->not_after_s + 86400), -1);
	assert_int_equal(certs_info_days_left(info, info->not_after_s + 86401), -2);
	certs_identity_free(identity);
}

static void test_trust(void **state)
{
	const char *dir = dir_of(state);
	struct certs_trust *trust = NULL;
	struct error err = { 0 };

	join_files(throwaway_path(dir, "ca.pem"), throwaway_path(dir, "old-ca.pem"),
		   throwaway_path(dir, "cas.pem"));
	assert_int_equal(certs_trust_load(throwaway_path(dir, "cas.pem"), &trust, &err), 0);
	assert_int_equal(certs_trust_count(trust), 2);
	certs_trust_free(trust);

	trust = NULL;
	assert_true(certs_trust_load(throwaway_path(dir, "hub.key"), &trust, &err) < 0);
	assert_non_null(strstr(err.text, "hub.key: holds a PRIVATE KEY, but no certificate"));
	assert_true(certs_trust_load(throwaway_path(dir, "absent"), &trust, &err) < 0);
	assert_non_null(strstr(err.text, "absent: No such file or directory"));
	assert_null(trust);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loads),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_info),
		cmocka_unit_test(test_trust),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
