/* test_trace - the Received field we write, and the header that passes by */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/macros.h"
#include "mta/trace.h"

static void scan(const char *in, size_t len, size_t step, struct trace_scanner *t)
{
	*t = (struct trace_scanner){ 0 };
	for (size_t i = 0; i < len; i += step)
		trace_scan(t, slice_of(in + i, MIN(step, len - i)));
	trace_scan_end(t);
	trace_scanner_done(t);
}

static void test_what_a_header_tells(void **state)
{
	static const struct {
		const char *in;
		bool has_8bit, is_notice;
		unsigned int received;
	} headers[] = {
		{ "A: b\r\n\r\nm\303\274\r\n", false, false },
		{ "", false, false },
		{ "Received: a\r\n\tb\r\nRECEIVED: c\r\nX-Received: d\r\n\r\nReceived: e\r\n",
		  false, false, 2 },
		{ "Received: a", false, false, 1 },
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

			scan(headers[i].in, strlen(headers[i].in), step, &t);
			if (t.has_8bit != headers[i].has_8bit ||
			    t.received_count != headers[i].received ||
			    t.is_notice != headers[i].is_notice)
				fail_msg("%s, step %zu", headers[i].in, step);
		}
	}
}

static void test_long_line(void **state)
{
	size_t len = 300000;
	char *in = malloc(len);
	struct trace_scanner t;

	(void)state;
	memset(in, 'x', len);
	memcpy(in, "A: ", 3);
	memcpy(in + len - 8, "\r\nB: c\r\n", 8);
	scan(in, len, 4096, &t);
	assert_false(t.has_8bit);

	in[len / 2] = (char)0xc3;
	scan(in, len, 4096, &t);
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
		cmocka_unit_test(test_what_a_header_tells),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_received),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
