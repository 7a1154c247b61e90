/* test_tickets - what opens, for how long, and in which scope only */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/macros.h"
#include "tls/tickets.h"

struct fake {
	struct clock clock;
	int64_t now_s;
};

static int64_t fake_ms(const struct clock *clock)
{
	return CONTAINER_OF(clock, const struct fake, clock)->now_s * 1000;
}

#define LEN 100

struct whole {
	unsigned char name[TLS_TICKET_NAME_SIZE], iv[TLS_TICKET_IV_SIZE], mac[TLS_TICKET_MAC_SIZE];
	unsigned char bytes[LEN + TLS_TICKET_EXTRA_SIZE];
	size_t len;
};

static const unsigned char peer[TLS_DIGEST_SIZE] = "whose certificate";

static struct fake fake = { { fake_ms, fake_ms }, 1000000 };

static struct whole seal(struct tls_tickets *tickets, const char *scope)
{
	struct whole w = { .len = LEN };
	struct tls_ticket ticket = { w.name, w.iv, w.mac, w.bytes, w.len };

	memset(w.bytes, 'x', LEN);
	assert_true(tls_ticket_seal(tickets, slice_from(scope), peer, &ticket));
	assert_int_equal(ticket.len, LEN + TLS_TICKET_EXTRA_SIZE);
	w.len = ticket.len;
	return w;
}

static bool opens(struct tls_tickets *tickets, const char *scope, struct whole w)
{
	struct tls_ticket ticket = { w.name, w.iv, w.mac, w.bytes, w.len };
	unsigned char got[TLS_DIGEST_SIZE];

	if (!tls_ticket_open(tickets, slice_from(scope), &ticket, got))
		return false;
	assert_int_equal(ticket.len, LEN);
	assert_memory_equal(got, peer, sizeof(peer));
	for (size_t i = 0; i < LEN; i++)
		assert_int_equal(w.bytes[i], 'x');
	return true;
}

static void test_scope(void **state)
{
	struct tls_tickets *tickets = tls_tickets_new(&fake.clock);
	struct tls_tickets *others = tls_tickets_new(&fake.clock);
	struct whole w = seal(tickets, "one");

	(void)state;
	assert_true(opens(tickets, "one", w));
	assert_false(opens(tickets, "two", w));
	assert_false(opens(others, "one", w));
	seal(others, "one");
	assert_false(opens(others, "one", w));

	w.len = TLS_TICKET_EXTRA_SIZE - 1;
	assert_false(opens(tickets, "one", w));
	tls_tickets_unref(tickets);
	tls_tickets_unref(others);
}

/* A bit anywhere but in what means nothing: there is no such place. */
static void test_damaged(void **state)
{
	struct tls_tickets *tickets = tls_tickets_new(&fake.clock);
	const struct whole w = seal(tickets, "one");

	(void)state;
	for (size_t i = 0; i < offsetof(struct whole, bytes) + sizeof(w.bytes); i++) {
		struct whole damaged = w;

		((unsigned char *)&damaged)[i] ^= (unsigned char)(1u << i % 8);
		if (opens(tickets, "one", damaged))
			fail_msg("byte %zu", i);
	}
	tls_tickets_unref(tickets);
}

static void test_rotation(void **state)
{
	struct tls_tickets *tickets = tls_tickets_new(&fake.clock);
	struct whole first = seal(tickets, "one"), late, next, third;

	(void)state;
	fake.now_s += TLS_TICKET_LIFETIME_S - 1;
	assert_true(opens(tickets, "one", first));
	late = seal(tickets, "one");
	assert_memory_equal(late.name, first.name, sizeof(first.name));

	/* An hour is over: another key, and the one before still opens what is young enough. */
	fake.now_s += 1;
	next = seal(tickets, "one");
	assert_memory_not_equal(next.name, first.name, sizeof(first.name));
	assert_false(opens(tickets, "one", first));
	assert_true(opens(tickets, "one", late));
	assert_true(opens(tickets, "one", next));

	/* One more: the first key is gone. */
	fake.now_s += TLS_TICKET_LIFETIME_S;
	third = seal(tickets, "one");
	assert_memory_not_equal(third.name, next.name, sizeof(next.name));
	assert_false(opens(tickets, "one", late));
	assert_true(opens(tickets, "one", third));

	/* The clock was set back: what comes from the future is not believed. */
	fake.now_s -= 10;
	assert_false(opens(tickets, "one", third));
	assert_memory_not_equal(seal(tickets, "one").name, third.name, sizeof(third.name));
	tls_tickets_unref(tickets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scope),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_rotation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
