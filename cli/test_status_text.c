/* test_status_text - what stays on the screen when there is too much for it */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "cli/status.h"

#define NOW_MS INT64_C(1795245121000)
#define MANY   3000

static unsigned int count_lines(const char *text)
{
	unsigned int lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

static void test_many(void **state)
{
	struct hop *hops = calloc(MANY, sizeof(*hops)), *list[MANY];
	struct status s = {
		.now_ms = NOW_MS,
		.started_ms = NOW_MS - 3600000,
		.mode = strdup("hub"),
		.version = strdup("1.0"),
		.hops = { .list = list, .count = MANY },
		.is_queue_known = true,
	};
	CLEANUP(free_strp) char *text = NULL;
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		list[i] = &hops[i];
		hops[i].next_hop = strdup("[mx.example]:25");
		hops[i].is_down = i < 100;
		hops[i].down_since_ms = NOW_MS - 60000;
		hops[i].retry_ms = NOW_MS + 90000;
	}
	free(hops[0].next_hop);
	hops[0].next_hop = strdup("\x1b[31m");
	hops[0].last_error = strdup("4.4.1 no\x1b\nroute");
	status_text(&s, &out);
	text = buf_steal_string(&out);
	assert_true(count_lines(text) < 60);
	assert_non_null(strstr(text, "and 2980 more, 80 of them down; --json has them all\n"));
	assert_non_null(strstr(text, "    down for 1m, next try in 1m30s: 4.4.1 no?"));
	assert_null(strchr(text, '\x1b'));
	for (size_t i = 0; i < MANY; i++)
		free(hops[i].next_hop);
	free(hops[0].last_error);
	free(hops);
	free(s.mode);
	free(s.version);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_many) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
