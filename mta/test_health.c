/* test_health - what workers learn from each other about a next hop */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/macros.h"
#include "mta/health.h"

#define START	  INT64_C(1795245121000)
#define MINIMAL_S 300
#define MAXIMAL_S 14400

static struct smtp_status refused;

static bool fail_at(struct health_entry *e, int64_t now_ms, bool is_probe)
{
	struct health_failure failure = {
		.status = &refused,
		.now_ms = now_ms,
		.minimal_s = MINIMAL_S,
		.maximal_s = MAXIMAL_S,
		.is_probe = is_probe,
	};

	return health_failed(e, &failure);
}

static void count(void *arg)
{
	++*(unsigned int *)arg;
}

static int setup(void **state)
{
	(void)state;
	smtp_status_set(&refused, 450, ESC(4, 4, 1), "connect to mx: refused");
	return 0;
}

/* One of those who ask may probe, the others wait for what it finds. */
static void test_one_probe(void **state)
{
	struct health *h = health_new();
	struct health_entry *e = health_get(h, "relay:[mx]:25"), *same;
	unsigned int told = 0, turns = health_turns(e);
	struct smtp_status last;
	int64_t retry_ms;

	(void)state;
	health_listen(h, count, &told);
	same = health_get(h, "relay:[mx]:25");
	assert_ptr_equal(same, e);
	assert_int_equal(health_ask(e, START), HEALTH_UP);

	assert_true(fail_at(e, START, false));
	retry_ms = health_retry_ms(e);
	assert_true(fail_at(e, START + 1, false)); /* another worker finds out as well */
	assert_int_equal(health_retry_ms(e), retry_ms);
	health_last_error(e, &last);
	assert_string_equal(last.text, refused.text);

	assert_int_equal(health_ask(e, retry_ms - 1), HEALTH_DOWN);
	assert_int_equal(health_ask(e, retry_ms), HEALTH_PROBE);
	assert_int_equal(health_ask(e, retry_ms), HEALTH_DOWN);
	told = 0;
	health_probe_dropped(e);
	assert_int_equal(told, 1); /* who could not probe may do it instead */
	assert_int_equal(health_ask(e, retry_ms + 5), HEALTH_PROBE);

	told = 0;
	assert_true(fail_at(e, retry_ms + 5, true));
	assert_int_equal(told, 1);
	assert_int_equal(health_ask(e, retry_ms + 5), HEALTH_DOWN);
	assert_int_equal(health_turns(e), turns);

	health_succeeded(e, retry_ms + 6);
	assert_int_equal(told, 2);
	assert_true(health_turns(e) != turns);
	assert_int_equal(health_ask(e, retry_ms + 6), HEALTH_UP);
	health_succeeded(e, retry_ms + 7);
	assert_int_equal(told, 2); /* nothing new */
	health_put(same);
	health_put(e);
	health_free(h);
}

/* Whoever asks for it, a next hop is not probed again at once. */
static void test_hurry(void **state)
{
	struct health *h = health_new();
	struct health_entry *e = health_get(h, "relay:[mx]:25");
	unsigned int told = 0;

	(void)state;
	health_listen(h, count, &told);
	health_hurry(e, START, 10000);
	assert_int_equal(health_retry_ms(e), 0);
	assert_int_equal(told, 0);

	assert_true(fail_at(e, START, false));
	assert_true(health_retry_ms(e) > START + 10000);
	told = 0;
	health_hurry(e, START + 1, 10000);
	assert_int_equal(health_retry_ms(e), START + 10000);
	assert_int_equal(told, 1);
	health_hurry(e, START + 2, 10000);
	assert_int_equal(told, 1);
	assert_int_equal(health_ask(e, START + 9999), HEALTH_DOWN);
	assert_int_equal(health_ask(e, START + 10000), HEALTH_PROBE);
	health_hurry(e, START + 10001, 10000); /* it is being probed */
	assert_int_equal(told, 1);

	assert_true(fail_at(e, START + 10002, true));
	health_hurry(e, START + 30000, 10000);
	assert_int_equal(health_ask(e, START + 30000), HEALTH_PROBE);
	health_put(e);
	health_free(h);
}

/* The next probe comes after a quarter of the time that it was down, within the limits. */
static void test_interval(void **state)
{
	static const int64_t down_s[] = { 0, 300, 1200, 3600, 20000, 57600, 400000 };
	static const int64_t want_s[] = { 300, 300, 300, 900, 5000, 14400, 14400 };
	struct health *h = health_new();
	struct health_entry *e = health_get(h, "relay:[mx]:25");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(down_s); i++) {
		int64_t now_ms = START + down_s[i] * 1000;
		int64_t wait_ms;

		assert_true(fail_at(e, now_ms, true));
		wait_ms = health_retry_ms(e) - now_ms;
		if (wait_ms < want_s[i] * 900 || wait_ms > want_s[i] * 1100)
			fail_msg("down for %lld s: next probe in %lld ms", (long long)down_s[i],
				 (long long)wait_ms);
	}
	health_put(e);
	health_free(h);
}

/* Who is refused while others are connected has no news for them. */
static void test_shut_out(void **state)
{
	struct health *h = health_new();
	struct health_entry *e = health_get(h, "relay:[mx]:25");
	unsigned int told = 0, turns = health_turns(e);

	(void)state;
	health_listen(h, count, &told);
	health_connected(e);
	assert_false(fail_at(e, START, false));
	assert_false(health_is_down(e));
	assert_int_equal(told, 0);
	health_offer(e);
	assert_int_equal(told, 1);
	assert_true(health_turns(e) != turns);
	health_disconnected(e);
	assert_true(fail_at(e, START, false));
	health_put(e);
	health_free(h);
}

static void copy_report(void *arg, const struct health_report *report)
{
	struct health_report *reports = arg;

	reports[report->name[0] == 'b'] = *report;
}

static void test_report(void **state)
{
	struct health *h = health_new();
	struct health_entry *a = health_get(h, "a"), *b = health_get(h, "b");
	struct health_report reports[2];

	(void)state;
	health_succeeded(a, START);
	fail_at(b, START + 1, false);
	health_retry(h, START + 2);
	assert_int_equal(health_ask(b, START + 2), HEALTH_PROBE);
	health_put(b); /* it is remembered */
	health_each(h, copy_report, reports);
	assert_false(reports[0].is_down);
	assert_int_equal(reports[0].last_success_ms, START);
	assert_int_equal(reports[0].last_error_ms, 0);
	assert_true(reports[1].is_down && reports[1].is_probing);
	assert_int_equal(reports[1].failures, 1);
	assert_int_equal(reports[1].down_since_ms, START + 1);
	assert_int_equal(reports[1].retry_ms, START + 2);
	assert_int_equal(reports[1].last_error.code, 450);
	health_put(a);
	health_free(h);
}

/* Who answers is up again, but no mail was taken with that. */
static void test_answer(void **state)
{
	struct health *h = health_new();
	struct health_entry *e = health_get(h, "a");
	struct health_report report[2];

	(void)state;
	fail_at(e, START, false);
	health_answered(e, START + 1);
	assert_int_equal(health_ask(e, START + 1), HEALTH_UP);
	health_each(h, copy_report, report);
	assert_int_equal(report[0].last_answer_ms, START + 1);
	assert_int_equal(report[0].last_success_ms, 0);
	health_succeeded(e, START + 2);
	health_answered(e, START + 3);
	health_troubled(e, &(struct smtp_status){ .code = 421 }, START + 4);
	health_each(h, copy_report, report);
	assert_int_equal(report[0].last_answer_ms, START + 3);
	assert_int_equal(report[0].last_success_ms, START + 2);
	assert_int_equal(report[0].last_error_ms, START + 4);
	assert_int_equal(report[0].last_error.code, 421);
	assert_false(report[0].is_down);
	health_put(e);
	health_free(h);
}

/* Those that nobody uses are forgotten when there are very many. */
static void test_many(void **state)
{
	struct health *h = health_new();
	struct health_entry *e;
	char name[32];

	(void)state;
	for (unsigned int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "relay:[mx%u]:25", i);
		e = health_get(h, name);
		fail_at(e, START, false);
		health_put(e);
	}
	e = health_get(h, "relay:[mx2999]:25");
	assert_false(health_is_down(e));
	health_put(e);
	e = health_get(h, "relay:[mx0]:25");
	assert_true(health_is_down(e));
	health_put(e);
	health_free(h);
}

/* What operators are told of a next hop. */
static void note_report(void *arg, const struct health_report *report)
{
	*(struct health_report *)arg = *report;
}

static void test_passage(void **state)
{
	struct health *h = health_new();
	struct health_entry *e = health_get(h, "relay:[mx]:25 encrypt");
	struct health_passage passage = { .level = TLS_LEVEL_VERIFY, .mode = TLS_MODE_STARTTLS };
	struct health_report report;

	(void)state;
	health_set_next_hop(e, "[mx]:25");
	health_opened(e);
	health_opened(e);
	assert_int_equal(health_connections(h), 2);
	health_closed(e);
	assert_int_equal(health_connections(h), 1);
	health_each(h, note_report, &report);
	assert_string_equal(report.next_hop, "[mx]:25");
	assert_null(report.passage);

	snprintf(passage.peer, sizeof(passage.peer), "192.0.2.1:25");
	passage.tls.verified = true;
	health_passed(e, &passage);
	passage.tls.verified = false;
	health_each(h, note_report, &report);
	assert_true(report.passage->tls.verified);
	assert_string_equal(report.passage->peer, "192.0.2.1:25");
	assert_true(report.is_used);
	health_closed(e);
	health_put(e);
	health_each(h, note_report, &report);
	assert_false(report.is_used);
	health_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_one_probe, setup),
		cmocka_unit_test_setup(test_hurry, setup),
		cmocka_unit_test_setup(test_interval, setup),
		cmocka_unit_test_setup(test_shut_out, setup),
		cmocka_unit_test_setup(test_report, setup),
		cmocka_unit_test_setup(test_answer, setup),
		cmocka_unit_test_setup(test_many, setup),
		cmocka_unit_test(test_passage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
