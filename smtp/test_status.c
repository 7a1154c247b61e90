/* test_status - what a status means, and how codes and texts are written and read */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "smtp/status.h"

static void test_class(void **state)
{
	static const struct {
		int code;
		enum smtp_class want;
	} cases[] = {
		{ 200, SMTP_DELIVERED }, { 250, SMTP_DELIVERED }, { 299, SMTP_DELIVERED },
		{ 500, SMTP_FAILED },	 { 554, SMTP_FAILED },	  { 599, SMTP_FAILED },
		{ 421, SMTP_DEFERRED },	 { 354, SMTP_DEFERRED },  { 0, SMTP_DEFERRED },
		{ 199, SMTP_DEFERRED },	 { 600, SMTP_DEFERRED },  { -250, SMTP_DEFERRED },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct smtp_status status = { .code = cases[i].code };

		if (smtp_status_class(&status) != cases[i].want)
			fail_msg("%d: got class %d", cases[i].code, smtp_status_class(&status));
	}
}

static void test_set(void **state)
{
	struct smtp_status status;
	char longer[2 * SMTP_STATUS_TEXT_SIZE + 100];

	(void)state;
	smtp_status_set(&status, 452, ESC(4, 3, 1), "only %d bytes\r\nleft\x01", 7);
	assert_int_equal(status.code, 452);
	assert_int_equal(status.enhanced.class, 4);
	assert_int_equal(status.enhanced.subject, 3);
	assert_int_equal(status.enhanced.detail, 1);
	assert_string_equal(status.text, "only 7 bytes left?");

	/* Its own text may be an argument. */
	smtp_status_set(&status, 450, ESC(0, 0, 0), "refused: %s", status.text);
	assert_string_equal(status.text, "refused: only 7 bytes left?");
	assert_int_equal(status.enhanced.class, 0);

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	smtp_status_set(&status, 550, ESC(5, 0, 0), "%s", longer);
	assert_int_equal(strlen(status.text), SMTP_STATUS_TEXT_SIZE - 1);
	assert_string_equal(status.text + SMTP_STATUS_TEXT_SIZE - 5, "x...");

	smtp_status_set_text(&status, 250, ESC(2, 0, 0), slice_of("a\0b", 3));
	assert_string_equal(status.text, "a?b");
}

static void test_enhanced_text(void **state)
{
	static const struct {
		struct smtp_status status;
		const char *want;
	} cases[] = {
		{ { 550, { 5, 1, 1 }, "" }, "5.1.1" },
		{ { 250, { 2, 999, 999 }, "" }, "2.999.999" },
		{ { 250, { 0, 0, 0 }, "" }, "2.0.0" },
		{ { 451, { 0, 0, 0 }, "" }, "4.0.0" },
		{ { 554, { 0, 0, 0 }, "" }, "5.0.0" },
		{ { 0, { 0, 0, 0 }, "" }, "4.0.0" },
		{ { 354, { 0, 0, 0 }, "" }, "4.0.0" },
	};
	char text[SMTP_ENHANCED_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(smtp_status_enhanced_text(&cases[i].status, text),
				    cases[i].want);
}

static void test_enhanced_parse(void **state)
{
	static const struct {
		const char *text;
		bool found;
		struct smtp_enhanced want;
		const char *rest;
	} cases[] = {
		{ "2.1.5 Ok", true, { 2, 1, 5 }, "Ok" },
		{ "4.0.0", true, { 4, 0, 0 }, "" },
		{ "5.7.509   access denied", true, { 5, 7, 509 }, "access denied" },
		{ "5.999.999 x", true, { 5, 999, 999 }, "x" },
		{ "5.1000.0 x", false, { 0 }, NULL },
		{ "5.1.1000 x", false, { 0 }, NULL },
		{ "5.01.1 x", false, { 0 }, NULL },
		{ "5.1.00 x", false, { 0 }, NULL },
		{ "05.1.1 x", false, { 0 }, NULL },
		{ "3.0.0 x", false, { 0 }, NULL },
		{ "1.0.0 x", false, { 0 }, NULL },
		{ "0.0.0 x", false, { 0 }, NULL },
		{ "25.0.0 x", false, { 0 }, NULL },
		{ "5.1.1: x", false, { 0 }, NULL },
		{ "5.1.1x", false, { 0 }, NULL },
		{ "5.1.1.1 x", false, { 0 }, NULL },
		{ "5.1. x", false, { 0 }, NULL },
		{ "5..1 x", false, { 0 }, NULL },
		{ "5.1 x", false, { 0 }, NULL },
		{ "5.-1.1 x", false, { 0 }, NULL },
		{ " 5.1.1 x", false, { 0 }, NULL },
		{ "", false, { 0 }, NULL },
		{ "5", false, { 0 }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice text = slice_from(cases[i].text);
		struct smtp_enhanced got = { 0 };
		bool found = smtp_enhanced_parse(&text, &got);
		const char *rest = cases[i].rest ? cases[i].rest : cases[i].text;

		if (found != cases[i].found || got.class != cases[i].want.class ||
		    got.subject != cases[i].want.subject || got.detail != cases[i].want.detail ||
		    !slice_equal(text, slice_from(rest)))
			fail_msg("\"%s\": found %d: %u.%u.%u, rest \"%.*s\"", cases[i].text, found,
				 got.class, got.subject, got.detail, (int)text.len, text.ptr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_class),
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_enhanced_text),
		cmocka_unit_test(test_enhanced_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
