/* test_certificate - fields and names, and every prefix and flipped byte of a certificate */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/macros.h"
#include "certs/certificate.h"
#include "certs/der.h"
#include "certs/pem.h"
#include "certs/pemfile.h"
#include "tests/support/throwaway.h"

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

static void read_der(void **state, const char *name, struct buf *ret_der)
{
	struct pemfile file;
	struct pem_block block;
	struct slice rest;

	assert_int_equal(pemfile_read(throwaway_path(*state, name), &file, NULL), 0);
	rest = pemfile_text(&file);
	assert_true(pem_next(&rest, &block));
	assert_true(pem_decode(&block, ret_der));
	pemfile_done(&file);
}

static void test_usage(void **state)
{
	static const struct {
		const char *file;
		bool is_for_clients;
	} cases[] = {
		{ "hub.pem", true },
		{ "client-only.pem", true },
		{ "server-only.pem", false },
		{ "ca.pem", true }, /* says nothing */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct certs_certificate c;
		struct buf der = { 0 };

		read_der(state, cases[i].file, &der);
		assert_int_equal(certs_certificate_parse(buf_slice(&der), &c, NULL), 0);
		assert_int_equal(c.is_for_clients, cases[i].is_for_clients);
		buf_done(&der);
	}
}

static void test_fields(void **state)
{
	struct certs_certificate c;
	struct buf der = { 0 };
	char text[64];

	read_der(state, "ca.pem", &der);
	assert_int_equal(certs_certificate_parse(buf_slice(&der), &c, NULL), 0);
	assert_true(c.is_ca);
	assert_true(slice_equal(c.issuer, c.subject));
	assert_string_equal(certs_name_show(c.subject, text, sizeof(text)), "CN=ca.example");
	assert_int_equal(strlen(certs_name_show(c.subject, text, 6)), 5);
	assert_string_equal(certs_name_show(c.subject, text, 2), "");
	buf_clear(&der);

	read_der(state, "hub.pem", &der);
	assert_int_equal(certs_certificate_parse(buf_slice(&der), &c, NULL), 0);
	assert_false(c.is_ca);
	assert_int_equal(c.not_before_s, 1577836800); /* 2020-01-01 */
	assert_int_equal(c.not_after_s, 2493072000);  /* 2049-01-01 */
	assert_string_equal(certs_name_show(c.issuer, text, sizeof(text)), "CN=ca.example");
	buf_done(&der);
}

static void test_names(void **state)
{
	static const struct {
		const char *file, *names;
	} cases[] = {
		{ "hub.pem", "dns:hub.example ip:7f000001 ip:00000000000000000000000000000001 " },
		{ "wild.pem", "dns:*.example " },
		{ "cn-only.pem", "" },
		{ "nul.pem", "" }, /* never "hub.example" */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct certs_certificate c;
		struct buf der = { 0 }, got = { 0 };
		struct certs_name name;
		struct slice cursor;

		read_der(state, cases[i].file, &der);
		assert_int_equal(certs_certificate_parse(buf_slice(&der), &c, NULL), 0);
		cursor = c.alt_names;
		while (certs_next_name(&cursor, &name)) {
			buf_append_string(&got, name.type == CERTS_NAME_DNS ? "dns:" : "ip:");
			if (name.type == CERTS_NAME_DNS)
				buf_append_slice(&got, name.text);
			else
				for (size_t j = 0; j < name.text.len; j++)
					buf_printf(&got, "%02x", (unsigned char)name.text.ptr[j]);
			buf_append_string(&got, " ");
		}
		assert_true(slice_equal(buf_slice(&got), slice_from(cases[i].names)));
		buf_done(&got);
		buf_done(&der);
	}
}

static void test_fingerprint(void **state)
{
	char hex[65];

	(void)state;
	certs_fingerprint(SLICE("abc"), hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* Walks over all that a caller would look at. */
static void look_at(struct slice der)
{
	struct certs_certificate c;
	struct certs_info info;
	struct certs_name name;
	struct slice cursor;
	char text[64];

	if (certs_certificate_parse(der, &c, NULL) < 0)
		return;
	cursor = c.alt_names;
	while (certs_next_name(&cursor, &name))
		;
	certs_name_show(c.issuer, text, sizeof(text));
	certs_certificate_info(&c, &info);
}

/* In memory of exactly the size, so that the sanitizer sees one byte too far. */
static void look_at_copy(struct slice der)
{
	char *copy = malloc(der.len ? der.len : 1);

	memcpy(copy, der.ptr, der.len);
	look_at(slice_of(copy, der.len));
	free(copy);
}

static void test_damaged(void **state)
{
	struct buf der = { 0 };
	struct certs_certificate c;
	struct slice whole;

	read_der(state, "hub.pem", &der);
	whole = buf_slice(&der);
	for (size_t len = 0; len < whole.len; len++) {
		assert_int_equal(certs_certificate_parse(slice_first(whole, len), &c, NULL),
				 -EBADMSG);
		look_at_copy(slice_first(whole, len));
	}
	for (size_t i = 0; i < whole.len; i++) {
		for (unsigned int bit = 0; bit < 8; bit++) {
			der.mem[der.start + i] ^= (char)(1u << bit);
			look_at_copy(whole);
			der.mem[der.start + i] ^= (char)(1u << bit);
		}
	}
	buf_append(&der, "", 1);
	assert_int_equal(certs_certificate_parse(buf_slice(&der), &c, NULL), -EBADMSG);
	buf_done(&der);
}

static void test_der(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		bool taken;
		size_t content;
	} cases[] = {
		{ "\x30\x00", 2, true, 0 },
		{ "\x30\x02xy", 4, true, 2 },
		{ "\x30\x02x", 3, false, 0 },
		{ "\x30", 1, false, 0 },
		{ "", 0, false, 0 },
		{ "\x30\x80", 2, false, 0 },		     /* indefinite length */
		{ "\x30\x81\x01x", 4, false, 0 },	     /* longer than need be */
		{ "\x30\x82\x00\x81", 4, false, 0 },	     /* the same */
		{ "\x30\x84\xff\xff\xff\xff", 6, false, 0 }, /* far past the end */
		{ "\x30\x85\x01\x01\x01\x01\x01", 7, false, 0 },
		{ "\x1f\x81\x00\x00", 4, false, 0 }, /* a tag of two bytes */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice rest = slice_of(cases[i].bytes, cases[i].len);
		struct der_item item;

		assert_int_equal(der_next(&rest, &item), cases[i].taken);
		if (cases[i].taken)
			assert_int_equal(item.content.len, cases[i].content);
		else
			assert_int_equal(rest.len, cases[i].len);
	}
}

static void test_pem(void **state)
{
	static const struct {
		const char *text, *labels;
	} cases[] = {
		{ "", "" },
		{ "-----BEGIN X-----\n-----END X-----\n", "X=0 " },
		{ "-----BEGIN X-----\r\nYWJj\r\n-----END X-----", "X=3 " },
		{ "text\n-----BEGIN X Y-----\n YW\nJj \n-----END X Y-----\nmore\n", "X Y=3 " },
		{ "-----BEGIN X-----\nYWJj\n-----END Y-----\n", "" },
		{ "-----BEGIN X-----\nYWJj\n", "" },
		{ "-----BEGIN X-----\n-----BEGIN Y-----\nYWJj\n-----END Y-----\n", "Y=3 " },
		{ "-----BEGIN X-----\nA: b\n\nYWJj\n-----END X-----\n", "X=3 " },
		{ "-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nYWJj\n-----END X-----\n", "X=3! " },
		{ "-----BEGIN ENCRYPTED PRIVATE KEY-----\n-----END ENCRYPTED PRIVATE KEY-----\n",
		  "ENCRYPTED PRIVATE KEY=0! " },
		{ "-----BEGIN X-----\nYWJ\n-----END X-----\n", "X=bad " },
		{ "-----BEGIN -----\n-----END -----\n-----BEGIN----\n", "=0 " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice rest = slice_from(cases[i].text);
		struct buf got = { 0 }, bytes = { 0 };
		struct pem_block block;

		while (pem_next(&rest, &block)) {
			buf_append_slice(&got, block.label);
			buf_clear(&bytes);
			if (pem_decode(&block, &bytes))
				buf_printf(&got, "=%zu", buf_len(&bytes));
			else
				buf_append_string(&got, "=bad");
			buf_append_string(&got, block.is_encrypted ? "! " : " ");
		}
		if (!slice_equal(buf_slice(&got), slice_from(cases[i].labels)))
			fail_msg("%zu: got %.*s", i, (int)buf_len(&got), buf_slice(&got).ptr);
		buf_done(&got);
		buf_done(&bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),	cmocka_unit_test(test_usage),
		cmocka_unit_test(test_names),	cmocka_unit_test(test_fingerprint),
		cmocka_unit_test(test_damaged), cmocka_unit_test(test_der),
		cmocka_unit_test(test_pem),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
