/* test_data - the mail data, read and written, in one piece and in many (RFC 5321 section 4.5.2) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/macros.h"
#include "smtp/data.h"

#define BYTES(literal)                                                                             \
	{                                                                                          \
		"" literal, sizeof(literal) - 1                                                    \
	}

static const struct {
	const char *label;
	struct slice wire, want;
	bool ends;
	enum smtp_data_fault fault;
	struct slice rest;
} cases[] = {
	{ "empty message", BYTES(".\r\n"), BYTES(""), true, SMTP_DATA_FINE, BYTES("") },
	{ "one line", BYTES("a\r\n.\r\n"), BYTES("a\r\n"), true, SMTP_DATA_FINE, BYTES("") },
	{ "commands behind it", BYTES("a\r\n.\r\nQUIT\r\n"), BYTES("a\r\n"), true, SMTP_DATA_FINE,
	  BYTES("QUIT\r\n") },
	{ "stuffed dots", BYTES("..\r\n...a\r\n.b\r\n.\r\n"), BYTES(".\r\n..a\r\nb\r\n"), true,
	  SMTP_DATA_FINE, BYTES("") },
	{ "dots inside of lines", BYTES("a.\r\nb.c\r\n.\r\n"), BYTES("a.\r\nb.c\r\n"), true,
	  SMTP_DATA_FINE, BYTES("") },
	{ "empty lines", BYTES("\r\n\r\n.\r\n"), BYTES("\r\n\r\n"), true, SMTP_DATA_FINE,
	  BYTES("") },
	{ "no end yet", BYTES("a\r\n.\r"), BYTES("a\r\n"), false, SMTP_DATA_FINE, BYTES("") },
	{ "CR held back", BYTES("a\r"), BYTES("a"), false, SMTP_DATA_FINE, BYTES("") },
	{ "8-bit", BYTES("\377\200\r\n.\r\n"), BYTES("\377\200\r\n"), true, SMTP_DATA_FINE,
	  BYTES("") },
	/* Each of the following has been taken for the end of a message by some server. */
	{ "LF . LF", BYTES("a\n.\nb\r\n.\r\n"), BYTES("a\n.\nb\r\n"), true, SMTP_DATA_BARE_LF,
	  BYTES("") },
	{ "LF . CRLF", BYTES("a\n.\r\nb\r\n.\r\n"), BYTES("a\n.\r\nb\r\n"), true, SMTP_DATA_BARE_LF,
	  BYTES("") },
	{ "CRLF . LF", BYTES("a\r\n.\nb\r\n.\r\n"), BYTES("a\r\n\nb\r\n"), true, SMTP_DATA_BARE_LF,
	  BYTES("") },
	{ "CRLF . CR", BYTES("a\r\n.\rb\r\n.\r\n"), BYTES("a\r\n\rb\r\n"), true, SMTP_DATA_BARE_CR,
	  BYTES("") },
	{ "CR . CR", BYTES("a\r.\rb\r\n.\r\n"), BYTES("a\r.\rb\r\n"), true, SMTP_DATA_BARE_CR,
	  BYTES("") },
	{ "CRLF . CR CRLF", BYTES("a\r\n.\r\r\nb\r\n.\r\n"), BYTES("a\r\n\r\r\nb\r\n"), true,
	  SMTP_DATA_BARE_CR, BYTES("") },
	{ "CR CRLF . CRLF", BYTES("a\r\r\n.\r\n"), BYTES("a\r\r\n"), true, SMTP_DATA_BARE_CR,
	  BYTES("") },
	{ "CRLF NUL . CRLF", BYTES("a\r\n\0.\r\n.\r\n"), BYTES("a\r\n\0.\r\n"), true, SMTP_DATA_NUL,
	  BYTES("") },
	{ "LF at the start", BYTES("\n.\r\n.\r\n"), BYTES("\n.\r\n"), true, SMTP_DATA_BARE_LF,
	  BYTES("") },
	{ "NUL first", BYTES("a\0\r.\n\r\n.\r\n"), BYTES("a\0\r.\n\r\n"), true, SMTP_DATA_NUL,
	  BYTES("") },
	{ "CR first", BYTES("a\r\0.\n\r\n.\r\n"), BYTES("a\r\0.\n\r\n"), true, SMTP_DATA_BARE_CR,
	  BYTES("") },
	{ "NUL behind the end", BYTES("a\r\n.\r\n\0"), BYTES("a\r\n"), true, SMTP_DATA_FINE,
	  BYTES("\0") },
};

/* Reads wire in pieces of at most piece bytes (0: random). Returns whether it ended. */
static bool read_in_pieces(struct smtp_data_reader *r, struct slice *wire, size_t piece,
			   struct buf *out)
{
	while (wire->len > 0) {
		size_t wanted = piece ? piece : (size_t)rand() % 9 + 1;
		size_t len = MIN(wanted, wire->len);
		char *exact = malloc(len);
		struct slice part = slice_of(memcpy(exact, wire->ptr, len), len);
		bool ended = smtp_data_read(r, &part, out);

		*wire = slice_skip(*wire, len - part.len);
		if (!ended && part.len > 0)
			fail_msg("stopped before the end");
		free(exact);
		if (ended)
			return true;
	}
	return false;
}

static void check_case(size_t i, size_t piece)
{
	struct smtp_data_reader r = { 0 };
	struct slice wire = cases[i].wire;
	struct buf out = { 0 };
	bool ended = read_in_pieces(&r, &wire, piece, &out);

	if (ended != cases[i].ends || !slice_equal(buf_slice(&out), cases[i].want) ||
	    !slice_equal(wire, cases[i].rest) || r.fault != cases[i].fault ||
	    r.size != cases[i].want.len)
		fail_msg("%s, in pieces of %zu: ended %d, fault %d, size %d, left %zu",
			 cases[i].label, piece, ended, r.fault, (int)r.size, wire.len);
	buf_done(&out);
}

static void test_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t piece = 1; piece <= cases[i].wire.len; piece++)
			check_case(i, piece);
}

/* Few kinds of bytes, so that every combination of those that matter comes up. */
static void fill_random(char *bytes, size_t len)
{
	static const char kinds[] = { '\r', '\n', '.', 'a', 'b', '\r', '\n', '\0' };

	for (size_t i = 0; i < len; i++)
		bytes[i] = kinds[(size_t)rand() % (rand() % 32 ? 7 : 8)];
}

static void test_read_splits_make_no_difference(void **state)
{
	(void)state;
	srand(1);
	for (int round = 0; round < 20000; round++) {
		struct smtp_data_reader whole = { 0 }, split = { 0 };
		struct buf whole_out = { 0 }, split_out = { 0 };
		char bytes[64];
		struct slice a = slice_of(bytes, (size_t)rand() % sizeof(bytes)), b = a;
		bool ended;

		fill_random(bytes, a.len);
		ended = smtp_data_read(&whole, &a, &whole_out);
		assert_int_equal(read_in_pieces(&split, &b, 0, &split_out), ended);
		assert_int_equal(whole.fault, split.fault);
		assert_int_equal(whole.size, split.size);
		assert_int_equal(whole.state, split.state);
		assert_int_equal(a.len, b.len);
		assert_true(slice_equal(buf_slice(&whole_out), buf_slice(&split_out)));
		buf_done(&whole_out);
		buf_done(&split_out);
	}
}

static void read_chunked(struct slice text, bool split, struct smtp_data_reader *r, struct buf *out)
{
	*r = (struct smtp_data_reader){ .is_chunked = true };
	while (text.len > 0) {
		size_t wanted = split ? (size_t)rand() % 9 + 1 : text.len;
		struct slice piece = slice_first(text, wanted);

		text = slice_skip(text, piece.len);
		assert_false(smtp_data_read(r, &piece, out));
		assert_int_equal(piece.len, 0);
	}
	smtp_data_read_end(r, out);
}

/* By BDAT every byte counts, wherever the chunks end; and what is found fine are lines. */
static void test_read_chunked(void **state)
{
	(void)state;
	srand(4);
	for (int round = 0; round < 20000; round++) {
		struct smtp_data_reader whole, split;
		struct buf whole_out = { 0 }, split_out = { 0 };
		char bytes[24];
		struct slice text = slice_of(bytes, (size_t)rand() % sizeof(bytes)), got;

		fill_random(bytes, text.len);
		read_chunked(text, false, &whole, &whole_out);
		read_chunked(text, true, &split, &split_out);
		got = buf_slice(&whole_out);
		assert_true(slice_equal(got, buf_slice(&split_out)));
		assert_int_equal(whole.fault, split.fault);
		assert_int_equal(whole.size, got.len);
		assert_int_equal(split.size, got.len);

		assert_true(got.len == text.len || got.len == text.len + 2);
		assert_memory_equal(got.ptr, text.ptr, text.len);
		for (size_t i = 0; whole.fault == SMTP_DATA_FINE && i < got.len; i++) {
			assert_true(got.ptr[i] != '\r' ||
				    (i + 1 < got.len && got.ptr[i + 1] == '\n'));
			assert_true(got.ptr[i] != '\n' || (i > 0 && got.ptr[i - 1] == '\r'));
			assert_int_not_equal(got.ptr[i], '\0');
		}
		if (whole.fault == SMTP_DATA_FINE && got.len > 0)
			assert_int_equal(got.ptr[got.len - 1], '\n');
		buf_done(&whole_out);
		buf_done(&split_out);
	}
}

/* Random text with CRLF line ends. */
static size_t fill_lines(char *bytes, size_t size)
{
	size_t len = 0;

	while (len + 2 < size && rand() % 40) {
		if (rand() % 3) {
			bytes[len++] = rand() % 2 ? '.' : 'a';
		} else {
			bytes[len++] = '\r';
			bytes[len++] = '\n';
		}
	}
	return len;
}

static void write_in_pieces(struct slice bytes, bool split, struct buf *out)
{
	struct smtp_data_writer w = { 0 };

	while (bytes.len > 0) {
		size_t wanted = split ? (size_t)rand() % 9 + 1 : bytes.len;
		size_t len = MIN(wanted, bytes.len);

		smtp_data_write(&w, slice_first(bytes, len), out);
		bytes = slice_skip(bytes, len);
	}
	smtp_data_finish(&w, out);
}

static void test_what_is_written_is_read(void **state)
{
	(void)state;
	srand(2);
	for (int round = 0; round < 20000; round++) {
		char bytes[200];
		struct slice text = slice_of(bytes, fill_lines(bytes, sizeof(bytes))), got, wire;
		struct buf whole = { 0 }, split = { 0 }, out = { 0 };
		struct smtp_data_reader r = { 0 };

		write_in_pieces(text, false, &whole);
		write_in_pieces(text, true, &split);
		assert_true(slice_equal(buf_slice(&whole), buf_slice(&split)));

		wire = buf_slice(&whole);
		assert_true(smtp_data_read(&r, &wire, &out));
		assert_int_equal(wire.len, 0);
		assert_int_equal(r.fault, SMTP_DATA_FINE);
		got = buf_slice(&out);
		if (!slice_equal(got, text)) { /* the missing line end was added */
			assert_int_equal(got.len, text.len + 2);
			assert_memory_equal(got.ptr, text.ptr, text.len);
			assert_memory_equal(got.ptr + text.len, "\r\n", 2);
		}
		buf_done(&whole);
		buf_done(&split);
		buf_done(&out);
	}
}

/* Nothing that we send can be read as the end by a server that takes a bare LF for a line end. */
static void test_no_dot_leads_a_line_alone(void **state)
{
	(void)state;
	srand(3);
	for (int round = 0; round < 5000; round++) {
		char bytes[64];
		struct slice text = slice_of(bytes, (size_t)rand() % sizeof(bytes));
		struct buf whole = { 0 }, split = { 0 };
		struct slice wire;

		fill_random(bytes, text.len);
		write_in_pieces(text, false, &whole);
		write_in_pieces(text, true, &split);
		wire = buf_slice(&split);
		assert_true(slice_equal(buf_slice(&whole), wire));

		assert_true(wire.len == 3 || memcmp(wire.ptr + wire.len - 5, "\r\n.\r\n", 5) == 0);
		for (size_t i = 0; i + 3 < wire.len; i++)
			if (wire.ptr[i] == '\n' && wire.ptr[i + 1] == '.' && i + 4 < wire.len)
				assert_int_equal(wire.ptr[i + 2], '.');
		buf_done(&whole);
		buf_done(&split);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_read_splits_make_no_difference),
		cmocka_unit_test(test_read_chunked),
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_no_dot_leads_a_line_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
