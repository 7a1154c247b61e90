/* test_list - order, removal while walking, and the macros that lists need */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/list.h"
struct item {
	int number;
	struct list link;
};

static int number_of(struct list *link)
{
	return CONTAINER_OF(link, struct item, link)->number;
}

static void test_order(void **state)
{
	struct item a = { .number = 1 }, b = { .number = 2 }, c = { .number = 3 };
	struct list head;

	(void)state;
	list_init(&head);
	assert_true(list_is_empty(&head));
	assert_null(list_pop(&head));

	list_push(&head, &b.link);
	list_push(&head, &c.link);
	list_push_front(&head, &a.link);
	assert_false(list_is_empty(&head));
	assert_int_equal(number_of(list_pop(&head)), 1);
	assert_int_equal(number_of(list_pop(&head)), 2);
	assert_int_equal(number_of(list_pop(&head)), 3);
	assert_true(list_is_empty(&head));
}

static void test_remove_while_walking(void **state)
{
	struct item items[5];
	struct list head;
	int sum = 0;

	(void)state;
	list_init(&head);
	for (int i = 0; i < 5; i++) {
		items[i].number = i;
		list_push(&head, &items[i].link);
	}
	LIST_FOREACH (link, &head) {
		sum += number_of(link);
		if (number_of(link) != 2)
			list_remove(link);
	}
	assert_int_equal(sum, 10);
	list_remove(&items[0].link); /* a second time: no harm */
	assert_ptr_equal(head.next, &items[2].link);
	assert_ptr_equal(head.prev, &items[2].link);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_remove_while_walking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
