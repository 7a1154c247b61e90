/* test_claims - the table against a plain array, and when the cursor moves */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "queue/claims.h"

#define IDS 500

/* Ids are consecutive, as in life, and come and go in no order. */
static void test_table(void **state)
{
	const int64_t first = 1795245121000000;
	bool model[IDS] = { false };
	struct queue_claims c;
	uint32_t random = 1;

	(void)state;
	queue_claims_init(&c);
	for (int step = 0; step < 20000; step++) {
		unsigned int i;

		random = random * 1664525 + 1013904223;
		i = (random >> 8) % IDS;
		if (random >> 31)
			queue_claims_put(&c, first + i, step);
		else
			queue_claims_forget(&c, first + i);
		model[i] = random >> 31;
		if (step % 100 != 0)
			continue;
		for (unsigned int k = 0; k < IDS; k++)
			if (queue_claims_has(&c, first + k) != model[k])
				fail_msg("step %d: id %u", step, k);
	}
	for (unsigned int k = 0; k < IDS; k++)
		queue_claims_forget(&c, first + k);
	assert_int_equal(c.count, 0);
	queue_claims_done(&c);
}

static void check_cursor(const struct queue_claims *c, int64_t due_ms, int64_t id)
{
	assert_int_equal(c->cursor.due_ms, due_ms);
	assert_int_equal(c->cursor.id, id);
}

static void test_cursor(void **state)
{
	struct queue_claims c;

	(void)state;
	queue_claims_init(&c);
	check_cursor(&c, INT64_MIN, 0);
	for (int64_t id = 1; id <= 5; id++) {
		queue_claims_put(&c, id, id * 100);
		queue_claims_advance(&c, (struct queue_due){ id * 100, id });
	}
	check_cursor(&c, 500, 5);
	queue_claims_advance(&c, (struct queue_due){ 200, 2 });
	check_cursor(&c, 500, 5);

	queue_claims_release(&c, 3); /* the next scan must see it again */
	check_cursor(&c, 300, 2);
	queue_claims_release(&c, 3); /* twice does no harm */
	queue_claims_release(&c, 4); /* behind the cursor, so it is seen anyway */
	check_cursor(&c, 300, 2);

	queue_claims_put(&c, 1, 900); /* deferred: its entry has moved */
	queue_claims_release(&c, 1);
	check_cursor(&c, 300, 2);
	queue_claims_put(&c, 5, 50);
	queue_claims_release(&c, 5);
	check_cursor(&c, 50, 4);
	queue_claims_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_cursor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
