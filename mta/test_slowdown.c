/* test_slowdown - who waits for whom, by a clock of the test's */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mta/slowdown.h"

#define LIMIT_MS 15000

struct fixture {
	struct slowdown *slowdown;
	int64_t now_ms;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->slowdown = slowdown_new();
	f->now_ms = 1000000;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	slowdown_free(f->slowdown);
	free(f);
	return 0;
}

static struct slowdown_attempt attempt_of(const char *ip, const char *account,
					  struct net_address *memory)
{
	struct slowdown_attempt attempt = { .account = slice_from(account), .limit_ms = LIMIT_MS };

	if (ip) {
		assert_true(net_address_parse_ip(slice_from(ip), 1, memory));
		attempt.address = memory;
	}
	return attempt;
}

static int64_t wait_ms(struct fixture *f, const char *ip, const char *account)
{
	struct net_address address;
	struct slowdown_attempt attempt = attempt_of(ip, account, &address);

	return slowdown_wait(f->slowdown, &attempt, f->now_ms);
}

static void fails(struct fixture *f, const char *ip, const char *account)
{
	struct net_address address;
	struct slowdown_attempt attempt = attempt_of(ip, account, &address);

	slowdown_failed(f->slowdown, &attempt, f->now_ms);
}

static void logs_in(struct fixture *f, const char *ip, const char *account)
{
	struct net_address address;
	struct slowdown_attempt attempt = attempt_of(ip, account, &address);

	slowdown_succeeded(f->slowdown, &attempt, f->now_ms);
}

/* Wait, then fail; returns how long it was. */
static int64_t tries(struct fixture *f, const char *ip, const char *account)
{
	int64_t waited_ms = wait_ms(f, ip, account);

	assert_true(waited_ms >= 0);
	f->now_ms += waited_ms;
	fails(f, ip, account);
	return waited_ms;
}

static void test_one_after_the_other(void **state)
{
	static const int64_t want[] = { 0, 0, 0, 0, 1000, 2000, 4000, 8000, 15000, 15000 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(want) / sizeof(*want); i++) {
		char account[16];

		snprintf(account, sizeof(account), "user%zu", i);
		assert_int_equal(tries(f, "192.0.2.7", account), want[i]);
	}
	/* Of others nobody notices; nor of those who are exempt. */
	assert_int_equal(wait_ms(f, "192.0.2.8", "alice"), 0);
	assert_int_equal(wait_ms(f, NULL, "alice"), 0);
	/* Old failures are forgotten. */
	f->now_ms += 30 * 60 * 1000;
	assert_int_equal(tries(f, "192.0.2.7", "alice"), 0);
	assert_int_equal(tries(f, "192.0.2.7", "alice"), 0);
}

/* As many connections as it likes get no further than one. */
static void test_all_at_once(void **state)
{
	struct fixture *f = *state;
	unsigned int judged = 0;

	for (unsigned int i = 0; i < 9; i++)
		fails(f, "192.0.2.7", "alice");
	for (unsigned int i = 0; i < 1000; i++)
		judged += wait_ms(f, "192.0.2.7", "alice") != SLOWDOWN_REFUSED;
	assert_int_equal(judged, 4); /* at 15, 30, 45 and 60 seconds */
	assert_int_equal(wait_ms(f, "192.0.2.7", "bob"), SLOWDOWN_REFUSED);
	f->now_ms += 60000;
	assert_int_equal(wait_ms(f, "192.0.2.7", "bob"), 15000);
}

static void test_networks(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 6; i++) {
		char ip[64];

		snprintf(ip, sizeof(ip), "2001:db8:0:1::%u", i);
		fails(f, ip, "alice");
		fails(f, i % 2 ? "::ffff:192.0.2.7" : "192.0.2.7", "bob");
	}
	assert_int_equal(wait_ms(f, "2001:db8:0:1:ffff::", "x"), 4000);
	assert_int_equal(wait_ms(f, "2001:db8:0:2::1", "x"), 0);
	assert_int_equal(wait_ms(f, "192.0.2.7", "x"), 4000);
	assert_int_equal(wait_ms(f, "192.0.2.8", "x"), 0);
}

/* Who attacks an account from everywhere is slowed, and its owner for seconds at the most. */
static void test_an_account_from_everywhere(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 500; i++) {
		char ip[64];

		snprintf(ip, sizeof(ip), "10.0.%u.%u", i / 100, i % 100);
		wait_ms(f, ip, "alice");
		fails(f, ip, "alice");
	}
	assert_int_equal(wait_ms(f, "10.1.0.1", "alice"), 5000);
	assert_int_equal(wait_ms(f, "10.1.0.2", "alice"), 5000);
	assert_int_equal(wait_ms(f, "10.1.0.2", "bob"), 0);
}

static void test_who_is_known_waits_for_nobody(void **state)
{
	struct fixture *f = *state;

	logs_in(f, "192.0.2.7", "alice");
	for (unsigned int i = 0; i < 100; i++) {
		fails(f, "192.0.2.7", "bob"); /* behind the same NAT */
		fails(f, "198.51.100.1", "alice");
		wait_ms(f, "192.0.2.7", "bob");
	}
	assert_int_equal(wait_ms(f, "192.0.2.7", "carol"), SLOWDOWN_REFUSED);
	assert_int_equal(wait_ms(f, "192.0.2.7", "alice"), 0);
	/* But may not guess at others, nor others at it. */
	for (unsigned int i = 0; i < 4; i++)
		fails(f, "192.0.2.7", "alice");
	assert_int_equal(wait_ms(f, "192.0.2.7", "alice"), 1000);
	logs_in(f, "192.0.2.7", "alice");
	assert_int_equal(wait_ms(f, "192.0.2.7", "alice"), 0);
	f->now_ms += INT64_C(15) * 24 * 3600 * 1000;
	for (unsigned int i = 0; i < 8; i++)
		fails(f, "192.0.2.7", "bob");
	assert_int_not_equal(wait_ms(f, "192.0.2.7", "alice"), 0);
}

/* Many names, many addresses: those that matter are not driven out. */
static void test_bounded(void **state)
{
	struct fixture *f = *state;

	logs_in(f, "192.0.2.7", "alice");
	for (unsigned int i = 0; i < 50; i++) {
		fails(f, "192.0.2.66", "bob");
		fails(f, NULL, "carol");
	}
	for (unsigned int i = 0; i < 200000; i++) {
		char ip[64], account[32];

		snprintf(ip, sizeof(ip), "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		snprintf(account, sizeof(account), "user%u", i);
		fails(f, ip, account);
	}
	assert_int_not_equal(wait_ms(f, "192.0.2.66", "dave"), 0);
	assert_int_not_equal(wait_ms(f, NULL, "carol"), 0);
	for (unsigned int i = 0; i < 8; i++)
		fails(f, "192.0.2.7", "bob");
	assert_int_equal(wait_ms(f, "192.0.2.7", "alice"), 0);
}

static void test_switched_off(void **state)
{
	struct fixture *f = *state;
	struct slowdown_attempt attempt = { .account = SLICE("alice") };

	for (unsigned int i = 0; i < 100; i++)
		slowdown_failed(f->slowdown, &attempt, f->now_ms);
	assert_int_equal(slowdown_wait(f->slowdown, &attempt, f->now_ms), 0);
	assert_int_equal(wait_ms(f, NULL, "alice"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_after_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_an_account_from_everywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_who_is_known_waits_for_nobody, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_switched_off, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
