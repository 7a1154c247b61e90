/* test_scheme - stored passwords; the hashes were made by doveadm pw */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <strings.h>

#include <cmocka.h>

#include "base/macros.h"
#include "edge/scheme.h"

static const struct {
	const char *stored, *password;
	bool valid, match;
} cases[] = {
	{ "{PLAIN}alice", "alice", true, true },
	{ "{Plain}alice", "alice", true, true }, /* as the how-to writes it */
	{ "{CLEARTEXT}alice", "alice", true, true },
	{ "{PLAIN}alice", "Alice", true, false },
	{ "{PLAIN}alice", "alic", true, false },
	{ "{PLAIN}alice", "alicealice", true, false },
	{ "{PLAIN}alice", "", true, false },
	{ "{PLAIN}", "", false, false },
	{ "", "", false, false },
	{ "{PLAIN}with}brace", "with}brace", true, true },
	{ "alice", "alice", false, false }, /* no scheme: a hash is expected */
	{ "{CRYPT}*", "*", false, false },  /* what crypt(3) says when it fails */
	{ "{SSHA512}abcd", "x", false, false },
	{ "{PLAIN", "x", false, false },
	{ "{SHA512-CRYPT}$6$VPx1PeLKc4WuQQ18$mA9sO9O336qfO.sg"
	  "Km6Y.3xwjeheKDfkP5S2moY9PBkz0Rgxyh/pVG2SHFAPflahUvA.DSHPUBpSBb.z6w.PY/",
	  "secret", true, true },
	{ "{SHA256-CRYPT}$5$JL1UKKSoK/LmNuHD$v3pL6meilDN8RLSu"
	  "56TwFtylMrvWUR7JpJpwYVM/RD.",
	  "secret", true, true },
	{ "{MD5-CRYPT}$1$BH5HRh3X$rlPY3zja0r9ldHU0xVGF/.", "secret", true, true },
	{ "{BLF-CRYPT}$2y$05$zkO11kaN/oVfhMU.Yvn1TumdeuXJN1e1"
	  "c1FoOASoRtRELPRiY18Ri",
	  "secret", true, true },
	{ "{CRYPT}$2y$05$fvqsY866a32P0U16VCaJYu.3fZjukJdVuLjdtucZ8bNEfWtc6JakC", "secret", true,
	  true },
	{ "$5$JL1UKKSoK/LmNuHD$v3pL6meilDN8RLSu56TwFtylMrvWUR7JpJpwYVM/RD.", "secret", true, true },
	{ "{CRYPT}$2y$05$fvqsY866a32P0U16VCaJYu.3fZjukJdVuLjdtucZ8bNEfWtc6JakC", "Secret", true,
	  false },
	{ "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac39573"
	  "1b56",
	  "secret", true, true },
	{ "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "secret", true, true },
	{ "{SSHA256}nvWN429Vs2pn92vN8/iQL3wz+n8CZ1J/Bdfq9W6KQfjCgiIE", "secret", true, true },
	{ "{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2"
	  "cmW192CF5bDufKRpayrW/isg==",
	  "secret", true, true },
	{ "{SSHA512}AG7ZO/5WF/Uj3cvKCLeHz8CFDef4JlRE7fjEs2O5JdaMxO8GcAgJc7RauMxYK"
	  "dgtyqs+H4dTNhqJXKBLOwdpUcaoMdI=",
	  "secret", true, true },
	{ "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$7uVLFgLucKxWP9Q0DogRWg$KLh8s4KN"
	  "3EWZ2W82wQNBVRgPNGt4Hc3i86kLvaVzdsA",
	  "secret", true, true },
	{ "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$ugd8xa25JTRJePLcZIRLGw$nGU468"
	  "0s8B7B8TkD8HrQ2oH0FqKuofP35/b83u6bv94",
	  "secret", true, true },
	{ "{SCRAM-SHA-1}4096,h5UzitEo3f4aUO2TfwcntQ==,CvPHZljiFM3h4K9SelGzo4lfe/M"
	  "=,qadobAACa9f/bbUxj0jwLb70Xg4=",
	  "secret", true, true },
	{ "{SCRAM-SHA-256}4096,oAGI/BXneGWTZZRpRLjtzQ==,DrYvooO+jhnuVnFjCfZapvdvK"
	  "qYuqAYEmh8vuuwSi0I=,ny5JzQHfrGFjMlUu9XSg81yByaYAwX7vGIMh1DikcHk=",
	  "secret", true, true },
	{ "{SHA256.HEX}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf5"
	  "27a25b",
	  "secret", true, true },
	{ "{SSHA256.HEX}47346537aeb653262da8ba93a3586cec787b8651b127b51e9d70ac30c"
	  "f4388d6721d1190",
	  "secret", true, true },
	{ "{SHA512.HEX}bd2b1aaf7ef4f09be9f52ce2d8d599674d81aa9d6a4421696dc4d93dd0"
	  "619d682ce56b4d64a9ef097761ced99e0f67265b5f76085e5b0ee7ca4696b2ad6fe2b2",
	  "secret", true, true },
	{ "{SCRAM-SHA-256.B64}NDA5NixaU3Q4WFhRTGgwc3cyRy9xMXQrZjdRPT0sVnpJNXpUdmh"
	  "wamowc0F3THZJb0dXcVoxZUJ2R0pGRDNjZkloVldvdWNmWT0sNmN1TzU1NUx5VTdCZmNEW"
	  "VNUTDYrRjBINEk1SEIvb3hTRS9PeEo2YWFRdz0=",
	  "secret", true, true },
	{ "{ARGON2ID.HEX}246172676f6e32696424763d3139246d3d36353533362c743d332c70"
	  "3d31246f44633268753066714f4351594a7371476a736d4e67244b3675463153464946"
	  "734f6a365935315a65364a524c7a4d497a2f4e34616d2f636b7171526a53652b4951",
	  "secret", true, true },
	{ "{CRAM-MD5.B64}zTun3qrW5cojRIukLjeXR6ng9/H7wAyKgbuqw5VzG1Y=", "secret", true, true },
	{ "{PLAIN.B64}c2VjcmV0", "secret", true, true },
	{ "{PLAIN.HEX}736563726574", "secret", true, true },
	{ "{CLEARTEXT.B64}c2VjcmV0", "secret", true, true },
	{ "{SHA512-CRYPT.B64}JDYkaEtyVmdVYkhPeWhJa3RieCRpNDVTU3ZFSkxuWDBKR3pkcnRX"
	  "TTZnOXVZM3RRY0E4Z0JpZGRUNWJydmRMZEJDVjBhU3ppTFRuR00uRy5GZjF5anBCeEtLZ1"
	  "FwYThZY1lBTmVuZFhvLw==",
	  "secret", true, true },
	{ "{BLF-CRYPT.HEX}243279243035244e694c7a756362446e524172424f6f46686734493"
	  "675436730373733436c69684232576a3430743632677070646737634c2e36684b",
	  "secret", true, true },
	/* Without a suffix hex and base64 are told apart by the length. */
	{ "{SHA256}2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a2"
	  "5b",
	  "secret", true, true },
	{ "{CRAM-MD5}zTun3qrW5cojRIukLjeXR6ng9/H7wAyKgbuqw5VzG1Y=", "secret", true, true },
	{ "{sha256.base64}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "secret", true, true },
	{ "{SHA256.rot13}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "secret", false, false },
	{ "{SHA512}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "secret", false, false },
	{ "{SSHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "secret", false, false },
	{ "{PLAIN.hex}00", "", false, false },
	{ "{PLAIN.b64}AA==", "", false, false },
	/* What would take hours, or all of the memory. */
	{ "{SHA512-CRYPT}$6$rounds=99999999$VPx1PeLKc4WuQQ18$mA9sO9O336qfO.sgKm6Y."
	  "3xwjeheKDfkP5S2moY9"
	  "PBkz0Rgxyh/pVG2SHFAPflahUvA.DSHPUBpSBb.z6w.PY/",
	  "secret", false, false },
	{ "$y$j9T$abcdefgh$", "secret", true, false },
	{ "$y$jZZ$abcdefgh$", "secret", false, false },
	{ "$y$j9T1$abcdefgh$", "secret", false, false },
	{ "$y$", "secret", false, false },
	{ "$7$CU..../....abcdefgh$", "secret", false, false },
	{ "_J9..rasmBYk8r9AiWNc", "secret", false, false }, /* of BSD: up to minutes */
	{ "abJnggxhB/yWI", "secret", true, false },
	{ "secretsecrets", "secret", true, false }, /* might be one of DES */
	{ "{BLF-CRYPT}$2y$31$zkO11kaN/oVfhMU.Yvn1TumdeuXJN1e1c1FoOASoRtRELPRiY18Ri", "secret",
	  false, false },
	{ "{ARGON2ID}$argon2id$v=19$m=4194304,t=3,p=1$obeWIQWH9ad+kx0APox6Tw$URIO0x30/"
	  "8dkz6rbEP44jK3+"
	  "/pUTmmoJPMQ2bYjFEc0",
	  "secret", false, false },
	{ "{ARGON2ID}$argon2id$v=19$m=65536,t=999999,p=1$obeWIQWH9ad+kx0APox6Tw$URIO0x30/"
	  "8dkz6rbEP44jK"
	  "3+/pUTmmoJPMQ2bYjFEc0",
	  "secret", false, false },
	{ "{SCRAM-SHA-1}2000000,sf/EEKBAlFGrjvvJJG57/w==,OgfgYl8OQCQXo2fA3n+jhRCejXc=,"
	  "svTNcop92C/m9KZsTo93s2hKaeE=",
	  "secret", false, false },
	{ "{SCRAM-SHA-1}1,sf/EEKBAlFGrjvvJJG57/w==,OgfgYl8OQCQXo2fA3n+jhRCejXc=,"
	  "svTNcop92C/m9KZsTo93s2hKaeE=",
	  "secret", false, false },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice stored = slice_from(cases[i].stored);
		struct error err;

		if ((scheme_validate(stored, &err) == 0) != cases[i].valid)
			fail_msg("%s: valid?", cases[i].stored);
		if (scheme_matches(stored, cases[i].password) != cases[i].match)
			fail_msg("%s against %s: match?", cases[i].stored, cases[i].password);
	}
}

/* Whatever is cut off, added or turned over, it neither crashes nor lets anybody in. */
static void test_damaged(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *stored = cases[i].stored;
		size_t len = strlen(stored), brace = slice_find(slice_from(stored), '}');
		bool is_kept = scheme_secrets(slice_from(stored)) & SCHEME_CLEARTEXT;
		size_t step = scheme_memory(slice_from(stored)) > 0 ? 29 : 7;
		char damaged[SCHEME_STORED_MAX + 1];

		if (!cases[i].match || is_kept || brace == len)
			continue;
		for (size_t n = brace + 1; n < len; n += step) {
			if (scheme_matches(slice_of(stored, n), "secret"))
				fail_msg("%.*s matches", (int)n, stored);
			memcpy(damaged, stored, len + 1);
			/* The last character of base64 may be one whose spare bits do not count. */
			damaged[n] = damaged[n] == 'A' ? 'Z' : 'A';
			if (strcasecmp(damaged, stored) != 0 &&
			    scheme_matches(slice_of(damaged, len), "secret"))
				fail_msg("%s matches", damaged);
			damaged[n] = '\0';
			if (scheme_matches(slice_of(damaged, len), "secret"))
				fail_msg("%s with a NUL at %zu matches", stored, n);
			damaged[n] = (char)0xff;
			if (scheme_matches(slice_of(damaged, len), "secret"))
				fail_msg("%s with 0xff at %zu matches", stored, n);
		}
	}
}

static void test_too_long(void **state)
{
	char stored[SCHEME_STORED_MAX + 2] = "{PLAIN}";
	char password[SCHEME_PASSWORD_MAX + 2];
	struct buf out = { 0 };
	struct error err;

	(void)state;
	memset(stored + 7, 'x', sizeof(stored) - 8);
	stored[SCHEME_STORED_MAX + 1] = '\0';
	assert_true(scheme_validate(slice_of(stored, SCHEME_STORED_MAX), &err) == 0);
	assert_true(scheme_validate(slice_of(stored, SCHEME_STORED_MAX + 1), &err) < 0);
	memset(password, 'x', sizeof(password) - 1);
	password[sizeof(password) - 1] = '\0';
	assert_true(scheme_make("PLAIN", password, &out, &err) < 0);
	assert_true(scheme_make("PLAIN", "", &out, &err) < 0);
	assert_true(scheme_make("BLF-CRYPT", password + 100, &out, &err) < 0);
	assert_non_null(strstr(err.text, "reads 72 bytes"));
	assert_int_equal(buf_len(&out), 0);
}

/* What we make is what we take, with every suffix. */
static void test_make(void **state)
{
	static const char *const suffixes[] = { "", ".hex", ".b64" };
	const char *name;

	(void)state;
	for (size_t n = 0; (name = scheme_at(n)) != NULL; n++)
		for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
			char scheme[40];
			struct buf out = { 0 };
			struct error err;

			snprintf(scheme, sizeof(scheme), "%s%s", name, suffixes[i]);
			assert_return_code(scheme_make(scheme, "p\303\244ss: }", &out, &err), 0);
			assert_true(buf_len(&out) <= SCHEME_STORED_MAX);
			assert_int_equal(scheme_validate(buf_slice(&out), &err), 0);
			assert_string_equal(scheme_name(buf_slice(&out)), name);
			assert_true(scheme_matches(buf_slice(&out), "p\303\244ss: }"));
			assert_false(scheme_matches(buf_slice(&out), "p\303\244ss: "));
			buf_wipe(&out);
		}
}

static void test_secrets(void **state)
{
	struct slice context =
		SLICE("{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56");
	struct slice scram = SLICE("{SCRAM-SHA-1}4096,QSXCR+Q6sek8bf92,"
				   "6dlGYMOdZcOPutkcNY8U2g7vK9Y=,D+CSWLOshSulAsxiupA+qs2/fTE=");
	struct scheme_scram kept, made = { .iterations = 4096 };
	char password[SCHEME_STORED_MAX + 1];

	(void)state;
	assert_int_equal(scheme_secrets(SLICE("{PLAIN}x")), SCHEME_EVERY_SECRET);
	assert_int_equal(scheme_secrets(SLICE("{PLAIN.b64}???")), 0);
	assert_int_equal(scheme_secrets(SLICE("")), 0);
	assert_int_equal(scheme_secrets(context), SCHEME_CRAM_MD5);
	assert_int_equal(scheme_secrets(scram), SCHEME_SCRAM_SHA_1);

	assert_true(scheme_cleartext(SLICE("{PLAIN.hex}736563726574"), password));
	assert_string_equal(password, "secret");
	assert_false(scheme_cleartext(context, password));

	/* RFC 5802 section 5: "pencil", this salt. */
	assert_true(scheme_scram(scram, SCHEME_SCRAM_SHA_1, &kept));
	assert_false(scheme_scram(scram, SCHEME_SCRAM_SHA_256, &made));
	assert_false(scheme_scram(SLICE("{PLAIN}x"), SCHEME_SCRAM_SHA_1, &made));
	assert_int_equal(kept.iterations, 4096);
	assert_int_equal(kept.len, 20);
	made = kept;
	memset(made.stored_key, 0, sizeof(made.stored_key));
	assert_true(scheme_scram_derive("pencil", SCHEME_SCRAM_SHA_1, &made));
	assert_memory_equal(made.stored_key, kept.stored_key, kept.len);
	assert_memory_equal(made.server_key, kept.server_key, kept.len);
	assert_true(scheme_matches(scram, "pencil"));
}

/* RFC 2195 section 2. */
static void test_cram_md5(void **state)
{
	struct slice challenge = SLICE("<1896.697170952@postoffice.reston.mci.net>");
	struct slice digest = SLICE("b913a602c7eda7a495b4e6e7334d3890");
	struct buf context = { 0 };
	struct error err;

	(void)state;
	assert_return_code(scheme_make("CRAM-MD5", "tanstaaftanstaaf", &context, &err), 0);
	assert_true(scheme_cram_md5_matches(SLICE("{PLAIN}tanstaaftanstaaf"), challenge, digest));
	assert_true(scheme_cram_md5_matches(buf_slice(&context), challenge, digest));
	assert_false(scheme_cram_md5_matches(buf_slice(&context), SLICE("<1@x>"), digest));
	assert_false(
		scheme_cram_md5_matches(buf_slice(&context), challenge, slice_first(digest, 30)));
	assert_false(scheme_cram_md5_matches(buf_slice(&context), challenge, SLICE("")));
	assert_false(scheme_cram_md5_matches(SLICE("{SHA256}x"), challenge, digest));
	assert_false(scheme_cram_md5_matches(SLICE("{PLAIN}secret"), challenge, digest));
	buf_wipe(&context);
}

static void test_unknown_is_explained(void **state)
{
	struct error err;

	(void)state;
	assert_true(scheme_validate(SLICE("{SSHB}x"), &err) < 0);
	assert_non_null(strstr(err.text, "{SSHB} is not known; expected SCRAM-SHA-256, "));
	assert_true(scheme_validate(SLICE("alice"), &err) < 0);
	assert_non_null(strstr(err.text, "write {PLAIN}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_make),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_cram_md5),
		cmocka_unit_test(test_unknown_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
