/* test_hello - what is understood of hellos, whole, cut and damaged */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/macros.h"
#include "tls/hello.h"

static void number(struct buf *out, size_t size, size_t value)
{
	for (size_t i = size; i-- > 0;) {
		char byte = (char)(value >> 8 * i);

		buf_append(out, &byte, 1);
	}
}

static void vector(struct buf *out, size_t length_size, struct buf *content)
{
	number(out, length_size, buf_len(content));
	buf_append_slice(out, buf_slice(content));
	buf_done(content);
}

static void extension(struct buf *out, size_t type, struct buf *data)
{
	number(out, 2, type);
	vector(out, 2, data);
}

/* Lists as they are written in hex: "c02b c02f". */
static void numbers(struct buf *out, const char *hex)
{
	char *end;

	while (*hex) {
		number(out, 2, strtoul(hex, &end, 16));
		hex = end + (*end == ' ');
	}
}

struct said {
	const char *name, *protocols, *algorithms, *suites; /* NULL: not at all */
	bool is_1_3;
	const char *psk_modes; /* in hex */
};

static void add_name(struct buf *out, const char *name)
{
	struct buf list = { 0 }, data = { 0 };

	number(&list, 1, 0);
	number(&list, 2, strlen(name));
	buf_append_string(&list, name);
	vector(&data, 2, &list);
	extension(out, 0, &data);
}

static void add_protocols(struct buf *out, const char *protocols)
{
	struct buf list = { 0 }, data = { 0 };
	struct slice rest = slice_from(protocols), word;

	while (slice_next_word(&rest, " ", &word)) {
		number(&list, 1, word.len);
		buf_append_slice(&list, word);
	}
	vector(&data, 2, &list);
	extension(out, 16, &data);
}

static void make_body(const struct said *said, struct buf *out)
{
	struct buf suites = { 0 }, extensions = { 0 }, list = { 0 }, data = { 0 };

	number(out, 2, 0x0303);
	buf_append(out, "................................", 32);
	number(out, 1, 0);
	numbers(&suites, said->suites ? said->suites : "1301");
	vector(out, 2, &suites);
	number(out, 2, 0x0100); /* no compression */
	extension(&extensions, 0xff01, &data);
	if (said->name)
		add_name(&extensions, said->name);
	if (said->protocols)
		add_protocols(&extensions, said->protocols);
	if (said->algorithms) {
		numbers(&list, said->algorithms);
		vector(&data, 2, &list);
		extension(&extensions, 13, &data);
	}
	if (said->is_1_3) {
		numbers(&list, "0304 0303");
		vector(&data, 1, &list);
		extension(&extensions, 43, &data);
	}
	if (said->psk_modes) {
		for (const char *mode = said->psk_modes; *mode; mode++)
			number(&list, 1, (size_t)(*mode - '0'));
		vector(&data, 1, &list);
		extension(&extensions, 45, &data);
	}
	vector(out, 2, &extensions);
}

/* In records of at most so many bytes. */
static void make_hello(const struct said *said, size_t record_max, struct buf *out)
{
	struct buf body = { 0 }, message = { 0 };

	make_body(said, &body);
	number(&message, 1, 1);
	vector(&message, 3, &body);
	while (buf_len(&message) > 0) {
		struct buf fragment = { 0 };
		size_t n = MIN(record_max, buf_len(&message));

		buf_append(&fragment, buf_slice(&message).ptr, n);
		buf_consume(&message, n);
		number(out, 1, 22);
		number(out, 2, 0x0301);
		vector(out, 2, &fragment);
	}
	buf_done(&message);
}

#define P256 (1u << CERTS_KEY_P256)
#define P384 (1u << CERTS_KEY_P384)
#define P521 (1u << CERTS_KEY_EC)
#define RSA  (1u << CERTS_KEY_RSA)

static const struct {
	struct said said;
	const char *name;
	bool has_alpn, has_smtp;
	unsigned int takes;
} cases[] = {
	{ { "Mail.Example", NULL, "0403 0804", NULL, true },
	  "mail.example",
	  false,
	  false,
	  P256 | RSA },
	{ { NULL, "smtp", "0403 0503 0603", "1301 c02b", true },
	  "",
	  true,
	  true,
	  P256 | P384 | P521 },
	{ { "a", "http/1.1 smtp", "0804", "c030", true }, "a", true, true, RSA },
	{ { "a_b-c.d.", "h2 http/1.1", "0401", NULL, true }, "a_b-c.d.", true, false, RSA },
	{ { "a", "smtps", "0807", NULL, true }, "a", true, false, 0 },
	{ { "a/b", "", "0403", NULL, true }, "", false, false, P256 },
	/* Of TLS 1.2 alone: the suites count, too. */
	{ { NULL, NULL, "0403 0804 0401", "c02b c02f", false }, "", false, false, P256 | RSA },
	{ { NULL, NULL, "0403 0804 0401", "c02f", false }, "", false, false, RSA },
	{ { NULL, NULL, "0403 0804 0401", "cca9", false }, "", false, false, P256 },
	{ { NULL, NULL, NULL, "c02c", false }, "", false, false, P256 | P384 | P521 },
	{ { NULL, NULL, NULL, "cca8", false }, "", false, false, RSA },
	{ { NULL, NULL, "0403 0401", "002f", false }, "", false, false, 0 },
};

static void check(size_t i, const struct tls_hello *hello)
{
	unsigned int takes = 0;

	for (unsigned int kind = 0; kind < CERTS_KEY_KINDS; kind++)
		takes |= (unsigned int)hello->takes[kind] << kind;
	if (strcmp(hello->server_name, cases[i].name) != 0 ||
	    hello->has_alpn != cases[i].has_alpn || hello->has_smtp != cases[i].has_smtp ||
	    takes != cases[i].takes)
		fail_msg("%zu: \"%s\", %d %d, %x", i, hello->server_name, hello->has_alpn,
			 hello->has_smtp, takes);
}

/* However it is cut into records, and into what arrives at a time. */
static void test_read(void **state)
{
	static const size_t record_sizes[] = { 16384, 50, 3, 1 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(record_sizes); i++) {
		struct tls_hello hello;
		struct buf wire = { 0 };

		make_hello(&cases[i / 4].said, record_sizes[i % 4], &wire);
		for (size_t n = 0; n < buf_len(&wire); n++)
			if (tls_hello_read(slice_first(buf_slice(&wire), n), &hello) !=
			    TLS_HELLO_PARTIAL)
				fail_msg("%zu: done after %zu of %zu", i, n, buf_len(&wire));
		assert_int_equal(tls_hello_read(buf_slice(&wire), &hello), TLS_HELLO_DONE);
		check(i / 4, &hello);
		buf_append_string(&wire, "whatever comes behind");
		assert_int_equal(tls_hello_read(buf_slice(&wire), &hello), TLS_HELLO_DONE);
		buf_done(&wire);
	}
}

static void test_psk_modes(void **state)
{
	static const struct {
		const char *modes;
		bool is_psk_alone;
	} modes[] = {
		{ NULL, false }, { "1", false }, { "01", false }, { "0", true }, { "2", true }
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		struct said said = { .is_1_3 = true, .psk_modes = modes[i].modes };
		struct tls_hello hello;
		struct buf wire = { 0 };

		make_hello(&said, 16384, &wire);
		assert_int_equal(tls_hello_read(buf_slice(&wire), &hello), TLS_HELLO_DONE);
		assert_int_equal(hello.is_psk_alone, modes[i].is_psk_alone);
		buf_done(&wire);
	}
}

/* Who never comes to an end is handed on, and costs so much memory at most. */
static void test_endless(void **state)
{
	struct said said = { .name = "a" };
	struct buf body = { 0 }, wire = { 0 }, message = { 0 };
	struct tls_hello hello;

	(void)state;
	make_body(&said, &body);
	number(&message, 1, 1);
	number(&message, 3, 0xffffff);
	buf_append_slice(&message, buf_slice(&body));
	while (buf_len(&wire) < TLS_HELLO_MAX) {
		struct buf fragment = { 0 };

		buf_append_slice(&fragment, buf_slice(&message));
		assert_int_equal(tls_hello_read(buf_slice(&wire), &hello), TLS_HELLO_PARTIAL);
		number(&wire, 1, 22);
		number(&wire, 2, 0x0301);
		vector(&wire, 2, &fragment);
	}
	assert_int_equal(tls_hello_read(buf_slice(&wire), &hello), TLS_HELLO_DONE);
	buf_done(&body);
	buf_done(&wire);
	buf_done(&message);
}

/* Every byte changed, in each of its bits: read or not, and never past the end. */
static void test_damaged(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf wire = { 0 };
		size_t len;

		make_hello(&cases[i].said, 64, &wire);
		len = buf_len(&wire);
		for (size_t bit = 0; bit < len * 8; bit++) {
			char *copy = malloc(len); /* the sanitizer watches its end */
			struct tls_hello hello;

			memcpy(copy, buf_slice(&wire).ptr, len);
			copy[bit / 8] ^= (char)(1u << bit % 8);
			tls_hello_read(slice_of(copy, len), &hello);
			assert_true(strlen(hello.server_name) < sizeof(hello.server_name));
			free(copy);
		}
		buf_done(&wire);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_psk_modes),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
