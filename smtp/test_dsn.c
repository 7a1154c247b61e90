/* test_dsn - parameters of RFC 3461 and RFC 6533, as they are written and as they are meant */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/macros.h"
#include "smtp/dsn.h"

static void test_notify(void **state)
{
	static const struct {
		const char *text;
		unsigned int want; /* 0: malformed */
		const char *formatted;
	} cases[] = {
		{ "NEVER", SMTP_NOTIFY_NEVER, "NEVER" },
		{ "success", SMTP_NOTIFY_SUCCESS, "SUCCESS" },
		{ "Delay,FAILURE", SMTP_NOTIFY_DELAY | SMTP_NOTIFY_FAILURE, "FAILURE,DELAY" },
		{ "SUCCESS,FAILURE,DELAY", 14, "SUCCESS,FAILURE,DELAY" },
		{ "FAILURE,FAILURE", SMTP_NOTIFY_FAILURE, "FAILURE" },
		{ "NEVER,NEVER", 0, NULL },
		{ "NEVER,FAILURE", 0, NULL },
		{ "FAILURE,NEVER", 0, NULL },
		{ "", 0, NULL },
		{ ",", 0, NULL },
		{ "FAILURE,", 0, NULL },
		{ ",FAILURE", 0, NULL },
		{ "FAILURE,,DELAY", 0, NULL },
		{ "FAILURES", 0, NULL },
		{ "FAIL", 0, NULL },
		{ "FAILURE;DELAY", 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf formatted = { 0 };
		unsigned int got = 0;

		if (smtp_notify_parse(slice_from(cases[i].text), &got) != (cases[i].want != 0) ||
		    got != cases[i].want)
			fail_msg("%s: got %u", cases[i].text, got);
		smtp_notify_format(got, &formatted);
		if (got && !slice_equal(buf_slice(&formatted), slice_from(cases[i].formatted)))
			fail_msg("%s: formatted as something else", cases[i].text);
		buf_done(&formatted);
	}
}

static void test_return(void **state)
{
	enum smtp_return got = SMTP_RETURN_DEFAULT;

	(void)state;
	assert_true(smtp_return_parse(SLICE("full"), &got));
	assert_int_equal(got, SMTP_RETURN_FULL);
	assert_true(smtp_return_parse(SLICE("HDRS"), &got));
	assert_int_equal(got, SMTP_RETURN_HEADERS);
	assert_false(smtp_return_parse(SLICE(""), &got));
	assert_false(smtp_return_parse(SLICE("HEADERS"), &got));
}

/* An exact copy on the heap lets the sanitizer see a read behind the end. */
static struct slice exact(const char *text)
{
	size_t len = strlen(text);

	return slice_of(memcpy(malloc(len ? len : 1), text, len), len);
}

static void test_xtext(void **state)
{
	static const struct {
		const char *text, *want; /* NULL: malformed */
	} cases[] = {
		{ "abc", "abc" }, { "a+2Bb", "a+b" }, { "e+3Dmc2", "e=mc2" }, { "+20", " " },
		{ "a=b", "a=b" }, { "", NULL },	      { "+", NULL },	      { "+2", NULL },
		{ "+2b", NULL },  { "+0D+0A", NULL }, { "+00", NULL },	      { "+7F", NULL },
		{ "+80", NULL },  { "a\tb", NULL },   { "\303\274", NULL },   { "a+2B+", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice text = exact(cases[i].text);
		struct buf out = { 0 };
		bool is_fine = smtp_xtext_decode(text, &out);

		if (is_fine != (cases[i].want != NULL) ||
		    (is_fine && !slice_equal(buf_slice(&out), slice_from(cases[i].want))))
			fail_msg("%s: got %.*s", cases[i].text, (int)buf_len(&out),
				 buf_slice(&out).ptr);
		if (!is_fine && buf_len(&out) > 0)
			fail_msg("%s: left something behind", cases[i].text);
		buf_done(&out);
		free((char *)text.ptr);
	}
}

static void test_xtext_encode(void **state)
{
	struct buf out = { 0 };

	(void)state;
	smtp_xtext_encode("a+b=c d~", &out);
	assert_true(slice_equal(buf_slice(&out), SLICE("a+2Bb+3Dc+20d~")));
	buf_done(&out);
}

#define A100                                                                                       \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaa"

static const struct {
	const char *text;
	bool utf8;
	const char *want;    /* NULL: malformed */
	const char *encoded; /* NULL: as the text */
} originals[] = {
	{ "rfc822;bob@example.com", false, "rfc822;bob@example.com", NULL },
	{ "RFC822;bob+2Blists@example.com", false, "RFC822;bob+lists@example.com", NULL },
	{ "x400;/C+3Dus/", false, "x400;/C=us/", NULL },
	{ "utf-8;m\\x{FC}ller@example.com", false, "utf-8;m\303\274ller@example.com", NULL },
	{ "UTF-8;m\303\274ller@example.com", true, "UTF-8;m\303\274ller@example.com",
	  "UTF-8;m\\x{FC}ller@example.com" },
	{ "utf-8;\\x{20AC}\\x{1F4E7}@a\\x{2B}\\x{3D}\\x{5C}\\x{20}", false,
	  "utf-8;\342\202\254\360\237\223\247@a+=\\ ", NULL },
	{ "utf-8;\\x{10FFFF}", false, "utf-8;\364\217\277\277", NULL },
	{ "utf-8;m\303\274ller@example.com", false, NULL, NULL },
	{ "utf-8;m\303@example.com", true, NULL, NULL },
	{ "utf-8;\\x{0D}\\x{0A}", true, NULL, NULL },
	{ "utf-8;\\x{85}", true, NULL, NULL },
	{ "utf-8;\\x{2028}", true, NULL, NULL },
	{ "utf-8;\\x{D800}", true, NULL, NULL },
	{ "utf-8;\\x{110000}", true, NULL, NULL },
	{ "utf-8;\\x{1000000}", true, NULL, NULL },
	{ "utf-8;\\x{A}", true, NULL, NULL },
	{ "utf-8;\\x{fc}", true, NULL, NULL },
	{ "utf-8;\\x{FC", true, NULL, NULL },
	{ "utf-8;\\x", true, NULL, NULL },
	{ "utf-8;\\", true, NULL, NULL },
	{ "utf-8;", true, NULL, NULL },
	{ "rfc822;", false, NULL, NULL },
	{ "rfc822;m\303\274ller", true, NULL, NULL },
	{ "rfc822", false, NULL, NULL },
	{ ";bob@example.com", false, NULL, NULL },
	{ "rfc 822;bob", false, NULL, NULL },
	{ "rfc822\r\nX: y;bob", false, NULL, NULL },
	{ "", false, NULL, NULL },
	{ "rfc822;" A100 A100 A100 A100 A100, false, NULL, NULL },
};

static void test_original_recipient(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(originals); i++) {
		const char *label = originals[i].text;
		struct slice text = exact(label);
		struct buf out = { 0 }, again = { 0 };
		bool is_fine = smtp_original_recipient_decode(text, originals[i].utf8, &out);

		buf_append(&out, "", 1);
		if (is_fine != (originals[i].want != NULL))
			fail_msg("%s: %s", label, is_fine ? "taken" : "refused");
		if (is_fine) {
			const char *encoded = originals[i].encoded ? originals[i].encoded : label;

			assert_string_equal(buf_slice(&out).ptr, originals[i].want);
			if (!smtp_original_recipient_encode(buf_slice(&out).ptr, &again) ||
			    !slice_equal(buf_slice(&again), slice_from(encoded)))
				fail_msg("%s: encoded as %.*s", label, (int)buf_len(&again),
					 buf_slice(&again).ptr);
		}
		buf_done(&out);
		buf_done(&again);
		free((char *)text.ptr);
	}
}

static void test_original_recipient_without_type(void **state)
{
	struct buf out = { 0 };

	(void)state;
	assert_false(smtp_original_recipient_encode("bob", &out));
	assert_false(smtp_original_recipient_encode("a b\r\n;bob", &out));
	assert_int_equal(buf_len(&out), 0);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_return),
		cmocka_unit_test(test_xtext),
		cmocka_unit_test(test_xtext_encode),
		cmocka_unit_test(test_original_recipient),
		cmocka_unit_test(test_original_recipient_without_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
