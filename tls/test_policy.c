/* test_policy - Postfix's words, and what is said to those who mistype them */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/macros.h"
#include "tls/policy.h"

static void test_level(void **state)
{
	static const struct {
		const char *text;
		enum tls_level want;
		const char *error;
	} cases[] = {
		{ "none", TLS_LEVEL_NONE, NULL },
		{ "may", TLS_LEVEL_MAY, NULL },
		{ "encrypt", TLS_LEVEL_ENCRYPT, NULL },
		{ "verify", TLS_LEVEL_VERIFY, NULL },
		{ "Encrypt", TLS_LEVEL_ENCRYPT, NULL },
		{ "verfy", 0,
		  "unknown level; expected none, may, encrypt, verify, secure, fingerprint, dane, "
		  "dane-only (did "
		  "you mean verify?)" },
		{ "", 0,
		  "unknown level; expected none, may, encrypt, verify, secure, fingerprint, dane, "
		  "dane-only" },
		{ "yes", 0,
		  "unknown level; expected none, may, encrypt, verify, secure, fingerprint, dane, "
		  "dane-only" },
		{ "encrypt ", 0,
		  "unknown level; expected none, may, encrypt, verify, secure, fingerprint, dane, "
		  "dane-only (did "
		  "you mean encrypt?)" },
		{ "secure", TLS_LEVEL_SECURE, NULL },
		{ "fingerprint", TLS_LEVEL_FINGERPRINT, NULL },
		{ "dane", TLS_LEVEL_DANE, NULL },
		{ "dane-only", TLS_LEVEL_DANE_ONLY, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum tls_level got = TLS_LEVEL_NONE;
		struct error err = { 0 };
		int r = tls_level_parse(slice_from(cases[i].text), &got, &err);

		if (!cases[i].error) {
			assert_int_equal(r, 0);
			assert_int_equal(got, cases[i].want);
		} else {
			assert_true(r < 0 && err.code == r);
			assert_string_equal(err.text, cases[i].error);
		}
	}
	assert_string_equal(tls_level_name(TLS_LEVEL_VERIFY), "verify");
	assert_string_equal(tls_mode_name(TLS_MODE_STARTTLS), "starttls");
}

static void test_protocols(void **state)
{
	static const struct {
		const char *text;
		int want; /* 2, 3: TLS 1.2 or 1.3 and up; 0: refused */
		const char *error;
	} cases[] = {
		{ ">=TLSv1.2", 2, NULL },
		{ ">=tlsv1.3", 3, NULL },
		{ "TLSv1.3", 3, NULL },
		{ "TLSv1.2, TLSv1.3", 2, NULL },
		{ "TLSv1.2:TLSv1.3", 2, NULL },
		{ "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1", 2, NULL },
		{ "!SSLv2 !SSLv3", 2, NULL },
		{ "!SSLv2:!SSLv3:!TLSv1:!TLSv1.1:!TLSv1.2", 3, NULL },
		{ ">=TLSv1.2, <=TLSv1.3", 2, NULL },
		{ "", 2, NULL },
		{ ">=TLSv1", 0, "TLSv1 is not offered" },
		{ "TLSv1.1", 0, "TLSv1.1 is not offered" },
		{ "SSLv3 TLSv1.3", 0, "SSLv3 is not offered" },
		{ "TLSv1.2", 0, "TLSv1.3 can't be switched off" },
		{ "!TLSv1.3", 0, "TLSv1.3 can't be switched off" },
		{ "<=TLSv1.2", 0, "TLSv1.3 can't be switched off" },
		{ "TLS1.2", 0, "did you mean TLSv1.2?" },
		{ ">=", 0, "unknown protocol \">=\"" },
		{ "!", 0, "unknown protocol \"!\"" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum tls_version got = TLS_VERSION_1_2;
		struct error err = { 0 };
		int r = tls_protocols_parse(slice_from(cases[i].text), &got, &err);

		if (cases[i].want && (r < 0 || (got == TLS_VERSION_1_3) != (cases[i].want == 3)))
			fail_msg("\"%s\": %d %s", cases[i].text, r, err.text);
		if (!cases[i].want && (r >= 0 || !strstr(err.text, cases[i].error)))
			fail_msg("\"%s\": %d %s", cases[i].text, r, err.text);
	}
}

#define HEX_A	     HEX_A16 HEX_A16 HEX_A16 HEX_A16
#define HEX_A16	     "aaaaaaaaaaaaaaaa"
#define HEX_B_COLONS HEX_B16 ":" HEX_B16 ":" HEX_B16 ":" HEX_B16
#define HEX_B16	     "bC:bc:BC:BC:BC:BC:BC:BC"

/* The policy in one line, so that cases are easy to read. */
static void show(const struct tls_policy *p, bool level_given, char *out, size_t size)
{
	int n = snprintf(out, size, "%s%s %s", tls_level_name(p->level), level_given ? "!" : "",
			 p->min_version == TLS_VERSION_1_3 ? "1.3" : "1.2");

	for (unsigned int i = 0; i < p->match_count; i++)
		n += snprintf(out + n, size - (size_t)n, "%c%s", i ? ',' : ' ', p->match[i]);
	for (unsigned int i = 0; i < p->fingerprint_count; i++)
		n += snprintf(out + n, size - (size_t)n, "%c%.*s", i ? ',' : ' ',
			      (int)strlen(p->fingerprints[i]) - 56, p->fingerprints[i]);
	if (p->servername)
		snprintf(out + n, size - (size_t)n, " sni=%s", p->servername);
}

static void test_policy(void **state)
{
	static const struct {
		const char *text, *want, *error;
	} cases[] = {
		{ "", "encrypt 1.2 old.example sni=old", NULL },
		{ "tls=verify", "verify! 1.2 old.example sni=old", NULL },
		{ " \ttls=may  protocols=>=TLSv1.3 ", "may! 1.3 old.example sni=old", NULL },
		{ "match=a.example", "encrypt 1.2 a.example sni=old", NULL },
		{ "match=a.example:.b.example:nexthop",
		  "encrypt 1.2 a.example,.b.example,nexthop sni=old", NULL },
		{ "match=a.example tls=verify match=b.example",
		  "verify! 1.2 a.example,b.example sni=old", NULL },
		{ "match=[2001:db8::1]:192.0.2.7:x", "encrypt 1.2 2001:db8::1,192.0.2.7,x sni=old",
		  NULL },
		{ "servername=mx.example", "encrypt 1.2 old.example sni=mx.example", NULL },
		{ "servername=nexthop", "encrypt 1.2 old.example sni=nexthop", NULL },
		{ "servername=hostname", "encrypt 1.2 old.example", NULL },
		{ "protocols=!SSLv3:!TLSv1:!TLSv1.1", "encrypt 1.2 old.example sni=old", NULL },
		{ "tls=verfy", NULL,
		  "tls=verfy: unknown level; expected none, may, encrypt, verify, secure, "
		  "fingerprint, dane, dane-only (did you mean verify?)" },
		{ "tls=", NULL,
		  "tls=: unknown level; expected none, may, encrypt, verify, secure, fingerprint, "
		  "dane, dane-only" },
		{ "tls", NULL, "tls: expected tls=VALUE" },
		{ "verify", NULL, "verify: unknown attribute" },
		{ "mathc=x", NULL,
		  "mathc=x: unknown attribute; expected tls, match, fingerprint, protocols, "
		  "servername "
		  "(did you mean match?)" },
		{ "tls=may tls=verify", NULL, "tls=verify: given twice" },
		{ "match=", NULL, "match=: no name to match is given" },
		{ "match=:::", NULL, "match=:::: no name to match is given" },
		{ "match=a..b", NULL, "match=a..b: \"a..b\" is no name to match" },
		{ "match=*.example", NULL, "\"*.example\" is no name to match" },
		{ "match=[2001:db8::1", NULL, "\"[2001\" is no name to match" },
		{ "match=[]", NULL, "match=[]: \"\" is no name to match" },
		{ "servername=192.0.2.1", NULL, "servername=192.0.2.1: expected a host name" },
		{ "servername=mx.example.", NULL, "expected a host name" },
		{ "servername=", NULL, "servername=: expected a host name" },
		{ "protocols=", NULL, "protocols=: expected >=TLSv1.2" },
		{ "ciphers=high", NULL,
		  "ciphers=high: there is no ciphers here: only strong ones are used; remove it" },
		{ "tls=fingerprint fingerprint=sha256:" HEX_A,
		  "fingerprint! 1.2 old.example sha256:aaaaaaaa sni=old", NULL },
		{ "fingerprint=SHA256:" HEX_B_COLONS "|PubKey-SHA256:" HEX_A
		  " fingerprint=sha256:" HEX_A,
		  "encrypt 1.2 old.example sha256:bcbcbcbc,pubkey-sha256:aaaaaaaa,sha256:aaaaaaaa "
		  "sni=old",
		  NULL },
		{ "fingerprint=" HEX_A,
		  "encrypt 1.2 old.example sha256:aaaaaaaa,pubkey-sha256:aaaaaaaa sni=old", NULL },
		{ "match=" HEX_B_COLONS "|sha256:" HEX_A
		  " tls=fingerprint match=pubkey-sha256:" HEX_A,
		  "fingerprint! 1.2 old.example sha256:bcbcbcbc,pubkey-sha256:bcbcbcbc,"
		  "sha256:aaaaaaaa,pubkey-sha256:aaaaaaaa sni=old",
		  NULL },
		{ "tls=fingerprint match=hub.example", NULL,
		  "match=hub.example: \"hub.example\" is no fingerprint; expected sha256:HEX of a "
		  "certificate or pubkey-sha256:HEX of its key" },
		{ "fingerprint=|", NULL, "fingerprint=|: no fingerprint is given" },
		{ "fingerprint=sha256:00", NULL, "\"sha256:00\" has 2 digits, SHA-256 has 64" },
		{ "fingerprint=" HEX_A "0", NULL, "has 65 digits, SHA-256 has 64" },
		{ "fingerprint=sha1:" HEX_A, NULL, "is no fingerprint" },
		{ "fingerprint=a:a", NULL, "is no fingerprint" },
		{ "fingerprint=aa::aa", NULL, "is no fingerprint" },
		{ "fingerprint=aa:", NULL, "is no fingerprint" },
		{ "fingerprint=00112233445566778899aabbccddeeff", NULL,
		  "has the length of MD5, which can be forged" },
		{ "fingerprint=00112233445566778899aabbccddeeff00112233", NULL,
		  "has the length of SHA-1, which can be forged" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		static const char *const old[] = { "old.example" };
		struct tls_policy p = { .level = TLS_LEVEL_ENCRYPT,
					.match = old,
					.match_count = 1,
					.servername = "old" };
		struct arena arena = { 0 };
		struct error err = { 0 };
		bool level_given = false;
		char got[256];
		int r = tls_policy_parse(slice_from(cases[i].text), &arena, &p, &level_given, &err);

		show(&p, level_given, got, sizeof(got));
		if (cases[i].want && (r < 0 || strcmp(got, cases[i].want) != 0))
			fail_msg("\"%s\": %d \"%s\" %s", cases[i].text, r, got, err.text);
		if (cases[i].error && (r >= 0 || !strstr(err.text, cases[i].error)))
			fail_msg("\"%s\": %d %s", cases[i].text, r, err.text);
		if (r < 0) /* nothing was changed */
			assert_string_equal(got, "encrypt 1.2 old.example sni=old");
		arena_done(&arena);
	}
}

/* A line of smtp_tls_policy_maps: as attributes, but for the level in front. */
static void test_entry(void **state)
{
	static const struct {
		const char *text, *want, *error;
	} cases[] = {
		{ "encrypt", "encrypt 1.2", NULL },
		{ " Secure  match=a:nexthop protocols=>=TLSv1.3", "secure 1.3 a,nexthop", NULL },
		{ "fingerprint match=sha256:" HEX_A "|" HEX_B_COLONS,
		  "fingerprint 1.2 sha256:aaaaaaaa,sha256:bcbcbcbc,pubkey-sha256:bcbcbcbc", NULL },
		{ "", NULL, "expected a level: none, may" },
		{ "match=a", NULL, "match=a: unknown level" },
		{ "verify tls=may", NULL, "tls=may: given twice" },
		{ "verify secure", NULL, "secure: unknown attribute" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tls_policy p = { .level = TLS_LEVEL_MAY };
		struct arena arena = { 0 };
		struct error err = { 0 };
		char got[256];
		int r = tls_policy_parse_entry(slice_from(cases[i].text), &arena, &p, &err);

		show(&p, false, got, sizeof(got));
		if (cases[i].want && (r < 0 || strcmp(got, cases[i].want) != 0))
			fail_msg("\"%s\": %d \"%s\" %s", cases[i].text, r, got, err.text);
		if (cases[i].error && (r >= 0 || !strstr(err.text, cases[i].error)))
			fail_msg("\"%s\": %d %s", cases[i].text, r, err.text);
		arena_done(&arena);
	}
}

static void test_permits(void **state)
{
	static const char want[8][4] = {
		/* clear, (clear but verified), encrypted, verified */
		[TLS_LEVEL_NONE] = { 1, 1, 1, 1 },
		[TLS_LEVEL_MAY] = { 1, 1, 1, 1 },
		[TLS_LEVEL_ENCRYPT] = { 0, 0, 1, 1 },
		[TLS_LEVEL_VERIFY] = { 0, 0, 0, 1 },
		[TLS_LEVEL_SECURE] = { 0, 0, 0, 1 },
		[TLS_LEVEL_FINGERPRINT] = { 0, 0, 0, 1 },
		/* where there are records, else it is may */
		[TLS_LEVEL_DANE] = { 0, 0, 0, 1 },
		[TLS_LEVEL_DANE_ONLY] = { 0, 0, 0, 1 },
	};

	(void)state;
	for (unsigned int level = 0; level < ARRAY_SIZE(want); level++) {
		struct tls_policy p = { .level = (enum tls_level)level };

		for (unsigned int i = 0; i < 4; i++)
			assert_int_equal(tls_policy_permits(&p, i & 2, i & 1), want[level][i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_level),	cmocka_unit_test(test_protocols),
		cmocka_unit_test(test_policy),	cmocka_unit_test(test_entry),
		cmocka_unit_test(test_permits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
