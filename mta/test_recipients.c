/* test_recipients - what a list of members makes of a message's recipients */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mta/policy.h"
#include "mta/recipients.h"

/* "list20" has the members a0@x.example to a19@x.example, "LIST20" the same in capitals. */
static void expand(void *arg, const char *recipient, struct arena *arena, struct mta_expansion *ret,
		   struct smtp_status *ret_status)
{
	size_t count = (size_t)atoi(recipient + strlen("list"));
	const char **members = arena_alloc(arena, (count + 1) * sizeof(*members));
	char letter = recipient[0] == 'L' ? 'A' : 'a';

	(void)arg;
	(void)ret_status;
	for (size_t i = 0; i < count; i++)
		members[i] = arena_printf(arena, "%c%zu@x.example", letter, i);
	if (count > 0)
		*ret = (struct mta_expansion){ members, count, true };
}

static void deliver(void *arg, const struct mta_local_delivery *deliveries, size_t count)
{
	(void)arg;
	(void)deliveries;
	(void)count;
}

/* Returns the number of recipients that the message has then. */
static unsigned int add(struct queue_message *m, const char *recipient, bool has_mailboxes,
			size_t want)
{
	const struct mta_policy policy = { .expand = expand,
					   .deliver = has_mailboxes ? deliver : NULL };
	const struct mta_options options = { .policy = &policy };
	const struct smtp_rcpt rcpt = {
		.recipient = recipient,
		.original = recipient,
		.orcpt = "rfc822;somebody@client.example",
	};
	struct smtp_status status;

	assert_int_equal(recipients_add(&options, m, &rcpt, &status), want);
	assert_int_equal(status.code, want ? 250 : 452);
	return m->recipient_count;
}

static void done(struct queue_message *m)
{
	arena_done(&m->arena);
	free(m->recipients);
}

/* Few members are compared one by one, many by a table: nobody can tell. */
static void test_each_once(void **state)
{
	static const char *const sizes[] = { "3", "16", "17", "400" };
	char list[32], capitals[32];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		for (int has_mailboxes = 0; has_mailboxes < 2; has_mailboxes++) {
			struct queue_message m = { .sender = "" };
			unsigned int n = (unsigned int)atoi(sizes[i]), more = has_mailboxes ? 0 : n;

			snprintf(list, sizeof(list), "list%s", sizes[i]);
			snprintf(capitals, sizeof(capitals), "LIST%s", sizes[i]);
			assert_int_equal(add(&m, "a1@X.example", has_mailboxes, 1), 1);
			assert_int_equal(add(&m, list, has_mailboxes, n), n);
			assert_int_equal(add(&m, list, has_mailboxes, n), n);
			assert_int_equal(add(&m, capitals, has_mailboxes, n), n + more);
			done(&m);
		}
	}
}

static void test_members_share_what_the_client_wrote(void **state)
{
	struct queue_message m = { .sender = "" };

	(void)state;
	assert_int_equal(add(&m, "list400", true, 400), 400);
	assert_string_equal(m.recipients[0].original, "list400");
	assert_string_equal(m.recipients[0].orcpt, "rfc822;somebody@client.example");
	for (unsigned int i = 1; i < m.recipient_count; i++) {
		assert_ptr_equal(m.recipients[i].original, m.recipients[0].original);
		assert_ptr_equal(m.recipients[i].orcpt, m.recipients[0].orcpt);
	}
	done(&m);
}

static void test_too_many(void **state)
{
	struct queue_message m = { .sender = "" };

	(void)state;
	assert_int_equal(add(&m, "list6000", true, 6000), 6000);
	assert_int_equal(add(&m, "LIST9000", true, 0), 6000);
	assert_int_equal(add(&m, "one@x.example", true, 1), 6001);
	done(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once),
		cmocka_unit_test(test_members_share_what_the_client_wrote),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
