/* test_clientcerts - which certificates the list knows, in which forms, and when they count */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/macros.h"
#include "certs/certificate.h"
#include "certs/pemfile.h"
#include "mta/clientcerts.h"
#include "tests/support/throwaway.h"

#define NOW_S  INT64_C(1800000000)
#define LATE_S INT64_C(2600000000) /* in 2052 */

struct shown {
	struct tls_facts facts;
	struct buf der;
};

static int take(void *arg, const struct pem_block *block,
		const struct certs_certificate *certificate, struct error *err)
{
	struct shown *s = arg;
	char hex[65];

	(void)block;
	(void)err;
	buf_append_slice(&s->der, certificate->der);
	s->facts.has_peer_cert = true;
	certs_fingerprint(certificate->der, hex);
	snprintf(s->facts.fingerprint, sizeof(s->facts.fingerprint), "sha256:%s", hex);
	certs_fingerprint(certificate->public_key, hex);
	snprintf(s->facts.pubkey_fingerprint, sizeof(s->facts.pubkey_fingerprint),
		 "pubkey-sha256:%s", hex);
	return 0;
}

static void show(const char *dir, const char *name, bool is_trusted, struct shown *ret)
{
	*ret = (struct shown){ .facts.trusted = is_trusted };
	if (!is_trusted)
		snprintf(ret->facts.trouble, sizeof(ret->facts.trouble), "unknown CA");
	assert_int_equal(pemfile_certificates(throwaway_path(dir, name), take, ret, NULL), 0);
}

/* Returns what was said, for the one or the other answer. */
static const char *judge(const char *text, const struct shown *s, int64_t now_s, bool wanted)
{
	static char why[CLIENTCERTS_WHY_SIZE];
	struct clientcerts *list = NULL;
	struct error err = { 0 };
	int r;

	if (clientcerts_open(slice_from(text), "/", &list, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	r = clientcerts_judge(list, &s->facts, buf_slice(&s->der), now_s, why, &err);
	if (r != (wanted ? MAP_FOUND : MAP_NOT_FOUND))
		fail_msg("%s: %d, %s", text, r, why);
	clientcerts_free(list);
	return why;
}

static void with_colons(const char *hex, char *out)
{
	for (size_t i = 0; hex[i]; i++) {
		if (i > 0 && i % 2 == 0)
			*out++ = ':';
		*out++ = (char)(hex[i] >= 'a' ? hex[i] - 'a' + 'A' : hex[i]);
	}
	*out = '\0';
}

/* With and without its kind, with and without colons, in a list and in a map. */
static void check_forms(const struct shown *s, const char *fingerprint)
{
	const char *hex = strchr(fingerprint, ':') + 1;
	char colons[128], text[256], kind[32];

	snprintf(kind, sizeof(kind), "%.*s", (int)(hex - fingerprint), fingerprint);
	with_colons(hex, colons);
	for (int form = 0; form < 8; form++) {
		snprintf(text, sizeof(text), "other.example, %s%s%s%s",
			 form & 4 ? "inline:{ x = y, {" : "", form & 1 ? kind : "",
			 form & 2 ? colons : hex, form & 4 ? " = yes} }" : "");
		if (form & 4) /* there, names of keys end at the first "=" */
			assert_non_null(strstr(judge(text, s, NOW_S, true), "inline:"));
		else
			assert_string_equal(judge(text, s, NOW_S, true), fingerprint);
	}
}

static void test_fingerprints(void **state)
{
	struct shown s;

	/* No CA is needed for them. */
	show(*state, "self-signed.pem", false, &s);
	check_forms(&s, s.facts.fingerprint);
	check_forms(&s, s.facts.pubkey_fingerprint);
	assert_string_equal(judge("", &s, NOW_S, false),
			    "not in relay_clientcerts, and unknown CA");

	/* Time and purpose count all the same. */
	assert_string_equal(judge(s.facts.fingerprint, &s, LATE_S, false),
			    "certificate has expired on 2049-01-01");
	assert_string_equal(judge(s.facts.fingerprint, &s, 0, false),
			    "certificate is not valid before 2020-01-01");
	buf_done(&s.der);
	show(*state, "server-only.pem", true, &s);
	assert_string_equal(judge(s.facts.fingerprint, &s, NOW_S, false),
			    "certificate may not be used by a client (extendedKeyUsage)");
	assert_string_not_equal(judge("all", &s, NOW_S, false), "");
	buf_done(&s.der);
}

static void test_names(void **state)
{
	static const struct {
		const char *certificate, *list;
		bool may_relay;
	} cases[] = {
		{ "edge.pem", "edge.example", true },
		{ "edge.pem", "x.example,EDGE.Example", true },
		{ "edge.pem", "inline:{ edge.example = x }", true },
		{ "edge.pem", "all", true },
		{ "edge.pem", "ALL", true },
		{ "edge.pem", "inline:{ all = x }", true },
		{ "edge.pem", "regexp:{ {/^edge\\./ x} }", true },
		{ "edge.pem", "regexp:{ {/^\\.example$/ x} }", false },
		{ "edge.pem", "example", false },
		{ "edge.pem", "edge.example.net", false },
		{ "edge.pem", "", false },
		{ "wild.pem", "edge.example", false }, /* who may be anybody is nobody */
		{ "cn-only.pem", "hub.example", false },
		{ "no-names.pem", "127.0.0.1", false },
		{ "nul.pem", "hub.example", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct shown s;

		show(*state, cases[i].certificate, true, &s);
		judge(cases[i].list, &s, NOW_S, cases[i].may_relay);
		s.facts.trusted = false; /* names are what a CA vouches for */
		judge(cases[i].list, &s, NOW_S, false);
		buf_done(&s.der);
	}
}

static void test_nothing_shown(void **state)
{
	struct shown s = { 0 };

	(void)state;
	assert_string_equal(judge("all", &s, NOW_S, false), "no certificate");
	snprintf(s.facts.fingerprint, sizeof(s.facts.fingerprint), "sha256:x");
	snprintf(s.facts.pubkey_fingerprint, sizeof(s.facts.pubkey_fingerprint), "pubkey-sha256:x");
	s.facts.trusted = true;
	buf_append_string(&s.der, "garbage");
	assert_string_equal(judge("all", &s, NOW_S, false), "damaged certificate");
	buf_done(&s.der);
}

static void test_needs_ca(void **state)
{
	static const struct {
		const char *list;
		bool needs_ca;
	} cases[] = {
		{ "", false },
		{ "edge.example", true },
		{ "all", true },
		{ "inline:{ a.example = x }", true },
		{ "regexp:{ {/^a\\.example$/ x} }", true },
		{ "inline:{ 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef = x }",
		  false },
		{ "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct clientcerts *list = NULL;

		assert_int_equal(clientcerts_open(slice_from(cases[i].list), "/", &list, NULL), 0);
		assert_int_equal(clientcerts_needs_ca(list), cases[i].needs_ca);
		clientcerts_free(list);
	}
}

/* A pattern may know any certificate as static: does, and more quietly. */
static void test_everybody(void **state)
{
	static const char *const lists[] = { "static:x", "regexp:{ {/./ x} }",
					     "regexp:{ {!/^sha256:00/ x} }",
					     "regexp:{ {/^[0-9a-f:]*$/ x} }" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct clientcerts *list = NULL;
		struct error err = { 0 };

		assert_true(clientcerts_open(slice_from(lists[i]), "/", &list, &err) < 0);
		assert_non_null(strstr(err.text, "would let anybody relay"));
	}
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fingerprints),  cmocka_unit_test(test_names),
		cmocka_unit_test(test_nothing_shown), cmocka_unit_test(test_needs_ca),
		cmocka_unit_test(test_everybody),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
