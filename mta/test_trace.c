/* test_trace - the Received field we write, and the header that passes by */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/macros.h"
#include "mta/trace.h"

static const struct {
	const char *label, *in, *repaired;
	unsigned int received;
	bool in_body;
} cases[] = {
	{ "header and body", "A: b\r\n\r\ntext\r\n", "A: b\r\n\r\ntext\r\n", 0, true },
	{ "no header", "\r\ntext\r\n", "\r\ntext\r\n", 0, true },
	{ "only a header", "A: b\r\n", "A: b\r\n", 0, false },
	{ "nothing", "", "", 0, false },
	{ "runs into the body", "from: alice\r\nsubject: x\r\nalice say hello\r\n",
	  "from: alice\r\nsubject: x\r\n\r\nalice say hello\r\n", 0, true },
	{ "only a body", "hello there\r\n", "\r\nhello there\r\n", 0, true },
	{ "continuation lines", "A: b\r\n c\r\n\td: e\r\n\r\n x\r\n",
	  "A: b\r\n c\r\n\td: e\r\n\r\n x\r\n", 0, true },
	{ "continuation of nothing", " A: b\r\n\r\n", "\r\n A: b\r\n\r\n", 0, true },
	{ "a line of spaces continues", "A: b\r\n \r\nC: d\r\n\r\n", "A: b\r\n \r\nC: d\r\n\r\n", 0,
	  true },
	{ "counts Received",
	  "Received: a\r\n\tb\r\nRECEIVED: c\r\nX-Received: d\r\n\r\nReceived: e\r\n",
	  "Received: a\r\n\tb\r\nRECEIVED: c\r\nX-Received: d\r\n\r\nReceived: e\r\n", 2, true },
	{ "space before the colon", "A : b\r\n\r\nx\r\n", "A : b\r\n\r\nx\r\n", 0, true },
	{ "a URL is no field", "http://x\r\n", "http://x\r\n", 0, false },
	{ "a body line with a colon later", "say: hi\r\nhello you: there\r\n",
	  "say: hi\r\n\r\nhello you: there\r\n", 0, true },
};

static char *scan(const char *in, size_t step, bool repair, struct trace_scanner *t)
{
	struct buf out = { 0 };

	*t = (struct trace_scanner){ .repair = repair };
	for (size_t i = 0, len = strlen(in); i < len; i += step)
		trace_scan(t, slice_of(in + i, MIN(step, len - i)), &out);
	trace_scan_end(t, &out);
	trace_scanner_done(t);
	return buf_steal_string(&out);
}

static void test_scan(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t step = 1; step < 60; step++) {
			struct trace_scanner t;
			char *repaired = scan(cases[i].in, step, true, &t);
			char *plain;

			if (strcmp(repaired, cases[i].repaired) != 0 ||
			    t.received_count != cases[i].received || t.in_body != cases[i].in_body)
				fail_msg("%s, step %zu: got \"%s\", %u, %d", cases[i].label, step,
					 repaired, t.received_count, t.in_body);
			plain = scan(cases[i].in, step, false, &t);
			assert_string_equal(plain, cases[i].in); /* relayed mail is left alone */
			free(repaired);
			free(plain);
		}
	}
}

static void test_what_a_header_tells(void **state)
{
	static const struct {
		const char *in;
		bool has_8bit, is_notice;
	} headers[] = {
		{ "A: b\r\n\r\nm\303\274\r\n", false, false },
		{ "A: m\303\274\r\n\r\nx\r\n", true, false },
		{ "A: b\r\n m\303\274\r\n\r\n", true, false },
		{ "no header m\303\274\r\n", false, false },
		{ "A: b\r\n" TRACE_NOTICE "\r\n\r\n", false, true },
		{ "A: b\r\nX-POSTHOUSE-notice: double-bounce \r\n\r\n", false, true },
		{ "A: b\r\n " TRACE_NOTICE "\r\n\r\n" TRACE_NOTICE "\r\n", false, false },
		{ TRACE_NOTICE "d\r\n\r\n", false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		for (size_t step = 1; step <= strlen(headers[i].in); step++) {
			struct trace_scanner t;

			free(scan(headers[i].in, step, false, &t));
			if (t.has_8bit != headers[i].has_8bit ||
			    t.is_notice != headers[i].is_notice)
				fail_msg("%s, step %zu", headers[i].in, step);
		}
	}
}

/* A line of any length passes without being collected. */
static void test_long_line(void **state)
{
	size_t len = 300000;
	char *in = malloc(len + 1);
	struct trace_scanner t;
	char *out;

	(void)state;
	memset(in, 'x', len);
	memcpy(in, "A: ", 3);
	memcpy(in + len - 8, "\r\nB: c\r\n", 8);
	in[len] = '\0';
	out = scan(in, 4096, true, &t);
	assert_string_equal(out, in);
	assert_false(t.in_body || t.has_8bit);
	free(out);

	in[len / 2] = (char)0xc3;
	free(scan(in, 4096, false, &t));
	assert_true(t.has_8bit);
	free(in);
}

static void test_received(void **state)
{
	struct queue_recipient recipients[2] = { { .address = "bob@vm2.vm",
						   .original = "bob@vm2.vm" },
						 { .address = "x@y", .original = "x@y" } };
	struct queue_message m = {
		.name = "6F00D",
		.arrived_ms = 1763708400000,
		.recipients = recipients,
		.recipient_count = 1,
		.origin = { .client_ip = "192.0.2.1", .hello = "mta1", .protocol = "ESMTPS" },
	};
	struct trace_tls tls = { "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", 256 };
	struct buf out = { 0 };
	char *text;

	(void)state;
	trace_received(&out, &m, &tls, "mta.vm.vm", "Posthouse");
	text = buf_steal_string(&out);
	assert_non_null(strstr(text, "Received: from mta1 ([192.0.2.1])\r\n"
				     "\t(using TLSv1.3 with cipher TLS_CHACHA20_POLY1305_SHA256 "
				     "(256/256 bits))\r\n"
				     "\tby mta.vm.vm (Posthouse) with ESMTPS id 6F00D\r\n"
				     "\tfor <bob@vm2.vm>; "));
	free(text);

	/* Several recipients must not learn of each other; what a client calls itself is escaped. */
	m.recipient_count = 2;
	m.origin.hello = "evil\r\nX: y";
	m.origin.client_ip = "2001:db8::1";
	trace_received(&out, &m, NULL, "mta.vm.vm", "Posthouse");
	text = buf_steal_string(&out);
	assert_null(strstr(text, "for <"));
	assert_non_null(strstr(text, " id 6F00D; "));
	assert_null(strstr(text, "using"));
	assert_null(strstr(text, "\nX"));
	assert_non_null(strstr(text, "([IPv6:2001:db8::1])"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_what_a_header_tells),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
