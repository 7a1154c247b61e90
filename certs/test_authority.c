/*
 * test_authority - what our CA writes, as our own reader and the library see
 * it; tests/integration/test_certs.py has openssl look at it
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "base/macros.h"
#include "certs/authority.h"
#include "certs/der.h"
#include "certs/identity.h"
#include "certs/pem.h"
#include "tests/support/throwaway.h"

#define NOW_S	  1795273200 /* 2026-11-21 */
#define IN_2049_S 2524607999 /* the last second that UTCTime has */
#define IN_2050_S 2524608000

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

static struct certs_authority *new_authority(const char *name, int64_t not_after_s)
{
	const struct certs_period period = { NOW_S, not_after_s };
	struct certs_authority *a = NULL;
	struct error err = { 0 };

	if (certs_authority_new(name, &period, &a, &err) < 0)
		fail_msg("%s", err.text);
	return a;
}

/* How many certificates are in pem; the first is parsed, its bytes appended to der. */
static unsigned int read_first(struct slice pem, struct buf *der, struct certs_certificate *ret)
{
	struct buf more = { 0 };
	struct pem_block block;
	unsigned int count = 0;
	struct error err = { 0 };

	while (pem_next(&pem, &block)) {
		assert_true(slice_equal(block.label, SLICE("CERTIFICATE")));
		assert_true(pem_decode(&block, count++ == 0 ? der : &more));
	}
	buf_done(&more);
	if (certs_certificate_parse(buf_slice(der), ret, &err) < 0)
		fail_msg("%s", err.text);
	return count;
}

static unsigned int issue(struct certs_authority *a, const char *const *names, unsigned int count,
			  int64_t not_after_s, struct buf *der, struct certs_certificate *ret)
{
	struct certs_request request = {
		.names = names,
		.name_count = count,
		.period = { NOW_S, not_after_s },
	};
	struct certs_key *key = NULL;
	struct buf pem = { 0 };
	struct error err = { 0 };
	unsigned int found;

	if (certs_key_generate(&key, &err) < 0)
		fail_msg("%s", err.text);
	request.public_key = certs_key_public(key);
	if (certs_authority_issue(a, &request, &pem, &err) < 0)
		fail_msg("%s", err.text);
	found = read_first(buf_slice(&pem), der, ret);
	assert_true(slice_equal(ret->public_key, request.public_key));
	buf_done(&pem);
	certs_key_free(key);
	return found;
}

static void test_ca(void **state)
{
	struct certs_authority *a = new_authority("A CA of ours", IN_2050_S);
	const struct certs_certificate *c = certs_authority_certificate(a);
	char name[64];

	(void)state;
	assert_true(c->is_ca);
	assert_true(slice_equal(c->issuer, c->subject));
	assert_string_equal(certs_name_show(c->subject, name, sizeof(name)), "CN=A CA of ours");
	assert_int_equal(c->not_before_s, NOW_S);
	assert_int_equal(c->not_after_s, IN_2050_S);
	assert_int_equal(c->key_id.len, 20);
	certs_authority_free(a);
}

/* Two of them in one file of trust must not be taken for each other. */
static void test_ca_names_differ(void **state)
{
	struct certs_authority *a = new_authority(NULL, IN_2049_S);
	struct certs_authority *b = new_authority(NULL, IN_2049_S);

	(void)state;
	assert_false(slice_equal(certs_authority_certificate(a)->subject,
				 certs_authority_certificate(b)->subject));
	certs_authority_free(a);
	certs_authority_free(b);
}

static void test_ca_name_refused(void **state)
{
	static const char *const names[] = {
		"",
		"line\nbreak",
		"\xff\xfe",
		"12345678901234567890123456789012345678901234567890123456789012345",
	};
	const struct certs_period period = { NOW_S, IN_2049_S };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct certs_authority *a = NULL;
		struct error err = { 0 };

		if (certs_authority_new(names[i], &period, &a, &err) != -EINVAL)
			fail_msg("name %zu was taken", i);
	}
}

static void test_leaf(void **state)
{
	static const char *const names[] = { "hub.example", "*.vm.vm", "192.0.2.1", "2001:db8::1" };
	struct certs_authority *a = new_authority(NULL, IN_2050_S);
	struct certs_certificate c;
	struct certs_name found;
	struct buf der = { 0 };
	unsigned char address[16];
	char subject[64];

	(void)state;
	assert_int_equal(issue(a, names, ARRAY_SIZE(names), IN_2049_S, &der, &c), 1);
	assert_false(c.is_ca);
	assert_true(slice_equal(c.issuer, certs_authority_certificate(a)->subject));
	assert_string_equal(certs_name_show(c.subject, subject, sizeof(subject)), "CN=hub.example");
	assert_int_equal(c.not_after_s, IN_2049_S);
	for (size_t i = 0; i < 2; i++) {
		assert_true(certs_next_name(&c.alt_names, &found));
		assert_int_equal(found.type, CERTS_NAME_DNS);
		assert_true(slice_equal(found.text, slice_from(names[i])));
	}
	for (size_t i = 2; i < 4; i++) {
		assert_true(certs_next_name(&c.alt_names, &found));
		assert_int_equal(found.type, CERTS_NAME_ADDRESS);
		inet_pton(i == 2 ? AF_INET : AF_INET6, names[i], address);
		assert_memory_equal(found.text.ptr, address, found.text.len);
	}
	assert_false(certs_next_name(&c.alt_names, &found));
	buf_done(&der);
	certs_authority_free(a);
}

/* A common name has 64 characters at most; a longer host has its name among the others only. */
static void test_long_name(void **state)
{
	static const char *const names[] = {
		"a23456789-123456789-123456789-123456789.a23456789-123456789.example",
	};
	struct certs_authority *a = new_authority(NULL, IN_2049_S);
	struct certs_certificate c;
	struct slice common_name;
	struct buf der = { 0 };

	(void)state;
	issue(a, names, 1, IN_2049_S, &der, &c);
	assert_false(certs_common_name(c.subject, &common_name));
	buf_done(&der);
	certs_authority_free(a);
}

static void test_serials_differ(void **state)
{
	static const char *const names[] = { "hub.example" };
	struct certs_authority *a = new_authority(NULL, IN_2049_S);
	struct slice serial[2], rest, skipped;
	struct buf der[2] = { 0 };
	struct certs_certificate c;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		issue(a, names, 1, IN_2049_S, &der[i], &c);
		rest = c.der;
		assert_true(der_take(&rest, DER_SEQUENCE, &rest));
		assert_true(der_take(&rest, DER_SEQUENCE, &rest));
		assert_true(der_take(&rest, DER_CONTEXT | DER_CONSTRUCTED, &skipped));
		assert_true(der_take(&rest, DER_INTEGER, &serial[i]));
		assert_int_equal(serial[i].len, 16);
		assert_int_equal(serial[i].ptr[0] & 0xc0,
				 0x40); /* positive, and as long as it looks */
	}
	assert_false(slice_equal(serial[0], serial[1]));
	buf_done(&der[0]);
	buf_done(&der[1]);
	certs_authority_free(a);
}

static void test_load(void **state)
{
	static const char *const names[] = { "edge.example" };
	const char *dir = *state;
	struct certs_authority *a = NULL;
	struct certs_certificate c;
	struct error err = { 0 };
	struct buf der = { 0 };
	char cert[512];

	snprintf(cert, sizeof(cert), "%s", throwaway_path(dir, "sub-ca.pem"));
	if (certs_authority_load(cert, throwaway_path(dir, "sub-ca.key"), &a, &err) < 0)
		fail_msg("%s", err.text);
	/* The intermediate comes with it, or nobody could follow the chain. */
	assert_int_equal(issue(a, names, 1, IN_2049_S, &der, &c), 2);
	assert_true(slice_equal(c.issuer, certs_authority_certificate(a)->subject));
	buf_done(&der);
	certs_authority_free(a);

	a = NULL;
	assert_int_equal(certs_authority_load(cert, throwaway_path(dir, "ca.key"), &a, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "does not belong"));
	assert_int_equal(certs_authority_load(throwaway_path(dir, "hub.pem"),
					      throwaway_path(dir, "hub.key"), &a, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, "not the certificate of a CA"));
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		const char *complaint; /* NULL: fine */
	} cases[] = {
		{ "hub", NULL },
		{ "hub.example", NULL },
		{ "*.example", NULL },
		{ "xn--bcher-kva.example", NULL },
		{ "4.example", NULL },
		{ "192.0.2.1", NULL },
		{ "::1", NULL },
		{ "b\xc3\xbc"
		  "cher.example",
		  "xn--" },
		{ "", "expected" },
		{ ".", "expected" },
		{ "hub..example", "expected" },
		{ "hub.example.", "expected" },
		{ "*", "expected" },
		{ "*.*.example", "expected" },
		{ "h*.example", "expected" },
		{ "-hub.example", "expected" },
		{ "hub_1.example", "expected" },
		{ "192.0.2.256", "expected" },
		{ "hub.example/CN=evil", "expected" },
		{ "a234567890123456789012345678901234567890123456789012345678901234.example",
		  "expected" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = { 0 };
		int r = certs_name_check(cases[i].name, &err);

		if (cases[i].complaint ? r == 0 || !strstr(err.text, cases[i].complaint) : r < 0)
			fail_msg("%s: %d %s", cases[i].name, r, err.text);
	}
}

/* Lengths on both sides of each step of their form. */
static void test_der(void **state)
{
	static const size_t lengths[] = { 0, 1, 127, 128, 255, 256, 65535, 65536 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct buf inner = { 0 }, out = { 0 };
		struct slice rest, content;
		size_t outer;

		memset(buf_reserve(&inner, lengths[i] + 1), 'x', lengths[i]);
		buf_commit(&inner, lengths[i]);
		buf_append_string(&out, "before");
		outer = der_begin(&out, DER_SEQUENCE);
		der_put(&out, DER_OCTET_STRING, buf_slice(&inner));
		der_end(&out, outer);
		rest = slice_skip(buf_slice(&out), strlen("before"));
		assert_true(der_take(&rest, DER_SEQUENCE, &content));
		assert_int_equal(rest.len, 0);
		assert_true(der_take(&content, DER_OCTET_STRING, &rest));
		assert_int_equal(content.len, 0);
		assert_true(slice_equal(rest, buf_slice(&inner)));
		buf_done(&inner);
		buf_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ca),
		cmocka_unit_test(test_ca_names_differ),
		cmocka_unit_test(test_ca_name_refused),
		cmocka_unit_test(test_leaf),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_serials_differ),
		cmocka_unit_test_setup_teardown(test_load, setup, teardown),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_der),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
