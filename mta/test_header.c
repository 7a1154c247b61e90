/* test_header - the lines of a header, split anywhere */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/macros.h"
#include "mta/header.h"

/* kinds: F field, C continued, E end, B broken; body: what was left to be it. */
static const struct {
	const char *label, *in, *kinds, *body;
} cases[] = {
	{ "header and body", "A: b\r\n\r\ntext\r\n", "FE", "text\r\n" },
	{ "line feeds alone", "A: b\n\ntext\n", "FE", "text\n" },
	{ "no header", "\r\ntext\r\n", "E", "text\r\n" },
	{ "only a header", "A: b\r\n", "F", "" },
	{ "nothing", "", "", "" },
	{ "no line end", "A: b", "F", "" },
	{ "ends in a CR", "A: b\r\n\r", "FE", "" },
	{ "runs into the body", "from: a\r\nalice say hello\r\nB: c\r\n", "FB", "B: c\r\n" },
	{ "only a body", "hello there\r\n", "B", "" },
	{ "continued", "A: b\r\n c\r\n\td: e\r\n\r\n x\r\n", "FCCE", " x\r\n" },
	{ "continues nothing", " A: b\r\n\r\n", "B", "\r\n" },
	{ "a line of spaces continues", "A: b\r\n \r\nC: d\r\n\r\n", "FCFE", "" },
	{ "space before the colon", "A : b\r\n\r\nx\r\n", "FE", "x\r\n" },
	{ "a URL is one, alas", "http://x\r\n", "F", "" },
	{ "a colon later", "say: hi\r\nhello you: there\r\n", "FB", "" },
	{ "no name", ": x\r\n", "B", "" },
	{ "8 bits in a name", "\303\274: x\r\n", "B", "" },
};

static void add(struct buf *kinds, struct buf *all, enum header_line kind, struct slice line)
{
	static const char letters[] = "?FCEB";

	buf_append(kinds, letters + kind, 1);
	buf_append_slice(all, line);
}

static void read_all(const char *in, size_t step, struct buf *kinds, struct buf *all)
{
	struct header_reader h = { 0 };
	enum header_line kind;
	struct slice line;

	for (size_t i = 0, len = strlen(in); i < len; i += step) {
		struct slice bytes = slice_of(in + i, MIN(step, len - i));

		while ((kind = header_next_line(&h, &bytes, &line)) != 0)
			add(kinds, all, kind, line);
		if (bytes.len > 0)
			buf_append(all, h.is_over ? bytes.ptr : "not taken", bytes.len);
	}
	kind = header_last_line(&h, &line);
	if (kind)
		add(kinds, all, kind, line);
	header_reader_done(&h);
}

static void test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t step = 1; step < 40; step++) {
			struct buf kinds = { 0 }, all = { 0 };
			char *got, *bytes;

			read_all(cases[i].in, step, &kinds, &all);
			got = buf_steal_string(&kinds);
			bytes = buf_steal_string(&all);
			if (strcmp(got, cases[i].kinds) != 0 || strcmp(bytes, cases[i].in) != 0)
				fail_msg("%s, step %zu: got %s, \"%s\"", cases[i].label, step, got,
					 bytes);
			free(got);
			free(bytes);
		}
	}
}

/* A line of any length passes without being collected. */
static void test_long_line(void **state)
{
	size_t len = 300000, told = 0;
	char *in = malloc(len);
	struct header_reader h = { 0 };
	struct slice line;

	(void)state;
	memset(in, 'x', len);
	memcpy(in, "A: ", 3);
	memcpy(in + len - 8, "\r\nB: c\r\n", 8);
	for (size_t i = 0; i < len; i += 500) {
		struct slice bytes = slice_of(in + i, MIN(500, len - i));

		while (header_next_line(&h, &bytes, &line))
			told += line.len;
		assert_true(h.kept.size < 8192);
	}
	assert_int_equal(told, len);
	assert_false(h.is_over);
	header_reader_done(&h);
	free(in);
}

/* "Bcc", blanks and a colon: the same however it is cut. */
static void test_blanks_before_the_colon(void **state)
{
	static const size_t blanks[] = { 1, 1019, 1020, 1021, 1022, 1500, 3000 };
	static const size_t steps[] = { 1, 7, 1000, 1024, 5000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(blanks); i++) {
		char *in = calloc(1, blanks[i] + 32);

		sprintf(in, "Bcc%*s: a\r\n\r\nx\r\n", (int)blanks[i], "");
		for (size_t j = 0; j < ARRAY_SIZE(steps); j++) {
			struct buf kinds = { 0 }, all = { 0 };
			char *got;

			read_all(in, steps[j], &kinds, &all);
			got = buf_steal_string(&kinds);
			if (got[0] != 'F' || strchr(got, 'B'))
				fail_msg("%zu blanks, step %zu: got %s", blanks[i], steps[j], got);
			free(got);
			buf_done(&all);
		}
		free(in);
	}
}

static void test_fields(void **state)
{
	(void)state;
	assert_true(slice_equal(header_field_name(SLICE("To : x\r\n")), SLICE("To")));
	assert_true(slice_equal(header_field_body(SLICE("To : x:y\r\n")), SLICE(" x:y\r\n")));
	assert_int_equal(header_field_body(SLICE("To:")).len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_blanks_before_the_colon),
		cmocka_unit_test(test_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
