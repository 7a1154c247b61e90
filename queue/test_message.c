/* test_message - ids, their reservation, recipients, and bodies on their own */
#include "queue/test_support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "queue/body.h"
#include "queue/ids.h"
#include "queue/private.h"

static const struct {
	const char *name;
	int64_t id; /* 0: refused */
} ids[] = {
	{ "1", 1 },
	{ "65E8A1B2C3D4F", 0x65E8A1B2C3D4F },
	{ "65e8a1b2c3d4f", 0x65E8A1B2C3D4F },
	{ "7FFFFFFFFFFFFFFF", INT64_MAX },
	{ "8000000000000000", 0 },
	{ "10000000000000000", 0 },
	{ "", 0 },
	{ "0", 0 },
	{ "12G4", 0 },
	{ "12 ", 0 },
	{ "-1", 0 },
	{ "0x12", 0 },
	{ "../12", 0 },
};

static void test_id_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		int64_t id = 0;
		bool ok = queue_id_parse(ids[i].name, &id);

		if (ok != (ids[i].id != 0) || id != ids[i].id)
			fail_msg("%s: got %d, %llx", ids[i].name, ok, (unsigned long long)id);
	}
}

static void test_id_format(void **state)
{
	char name[QUEUE_ID_SIZE];
	int64_t id;

	(void)state;
	queue_id_format(INT64_MAX, name);
	assert_string_equal(name, "7FFFFFFFFFFFFFFF");
	queue_id_format(0x65E8A1B2C3D4F, name);
	assert_string_equal(name, "65E8A1B2C3D4F");
	assert_true(queue_id_parse(name, &id));
	assert_int_equal(id, 0x65E8A1B2C3D4F);
}

/* The mark runs ahead; who uses up half of a block asks once for more. */
static void test_ids_reserve(void **state)
{
	struct queue_ids reserved;
	unsigned int asked = 0;
	int64_t id = 0, mark;
	bool is_wanted;

	(void)state;
	queue_ids_init(&reserved, 0, 1000);
	mark = queue_ids_mark_due(&reserved);
	assert_int_equal(mark, 1000000 + QUEUE_IDS_BLOCK);
	queue_ids_reserved(&reserved, mark);
	assert_int_equal(queue_ids_mark_due(&reserved), 0);

	for (int i = 0; i < QUEUE_IDS_BLOCK; i++) {
		id = queue_ids_take(&reserved, &is_wanted);
		asked += is_wanted;
	}
	assert_int_equal(id, 1000000 + QUEUE_IDS_BLOCK - 1);
	assert_int_equal(asked, 1);
	assert_true(queue_ids_take_wanted(&reserved));
	assert_false(queue_ids_take_wanted(&reserved));
	assert_int_equal(queue_ids_mark_due(&reserved), 1000000 + 2 * QUEUE_IDS_BLOCK);
}

/* A clock that was set back, or is absurd, does not bring an old id back. */
static void test_ids_start(void **state)
{
	struct queue_ids reserved;
	bool is_wanted;

	(void)state;
	queue_ids_init(&reserved, 5000000, 1000);
	assert_int_equal(queue_ids_take(&reserved, &is_wanted), 5000000);
	queue_ids_init(&reserved, 5000000, 6000);
	assert_int_equal(queue_ids_take(&reserved, &is_wanted), 6000000);
	queue_ids_init(&reserved, 0, -5);
	assert_int_equal(queue_ids_take(&reserved, &is_wanted), 1);
	queue_ids_init(&reserved, 7, INT64_MAX);
	assert_int_equal(queue_ids_take(&reserved, &is_wanted), 7);
}

static void test_recipients(void **state)
{
	struct queue_message *m = queue_message_make(0xABC, 1234);

	(void)state;
	assert_string_equal(m->name, "ABC");
	assert_int_equal(queue_message_due_ms(m), QUEUE_NEVER);
	for (unsigned int i = 0; i < 1000; i++)
		queue_message_add_recipient(m, arena_printf(&m->arena, "r%u", i), "original");
	assert_int_equal(m->recipient_count, 1000);
	assert_string_equal(m->recipients[0].address, "r0");
	assert_string_equal(m->recipients[999].address, "r999");
	assert_string_equal(m->recipients[999].original, "original");
	assert_int_equal(queue_message_due_ms(m), 1234);

	for (unsigned int i = 0; i < 1000; i++)
		m->recipients[i].status = i % 2 ? QUEUE_HELD : QUEUE_DELIVERED;
	assert_int_equal(queue_message_due_ms(m), QUEUE_NEVER);
	m->recipients[500].status = QUEUE_DEFERRED;
	m->recipients[500].due_ms = 99999;
	assert_int_equal(queue_message_due_ms(m), 99999);
	queue_message_free(m);
	queue_message_free(NULL);
}

static void test_status_names(void **state)
{
	(void)state;
	assert_string_equal(queue_status_name(QUEUE_QUEUED), "queued");
	assert_string_equal(queue_status_name(QUEUE_DEFERRED), "deferred");
	assert_string_equal(queue_status_name(QUEUE_HELD), "held");
	assert_string_equal(queue_status_name(QUEUE_DELIVERED), "delivered");
	assert_string_equal(queue_status_name(QUEUE_BOUNCED), "bounced");
}

static void test_body_in_memory(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 100000, 1);

	assert_false(queue_body_in_file(m->body));
	assert_int_equal(queue_body_size(m->body), 100000);
	assert_int_equal(queue_body_memory(m->body).len, 100000);
	tester_check_body(m->body, m->id, 100000);
	queue_message_free(m);

	m = tester_message(t, 0, 1);
	tester_check_body(m->body, m->id, 0);
	queue_message_free(m);
	assert_int_equal(tester_body_files(t), 0);
}

static void test_body_in_file(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 1000001, 1);

	assert_true(queue_body_in_file(m->body));
	assert_int_equal(queue_body_size(m->body), 1000001);
	tester_check_body(m->body, m->id, 1000001);
	tester_check_body(m->body, m->id, 1000001); /* as often as one likes */
	assert_int_equal(tester_body_files(t), 1);
	queue_message_free(m); /* never committed */
	assert_int_equal(tester_body_files(t), 0);
}

/* Right at the limit, and when the client goes away in the middle. */
static void test_body_at_the_limit(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 131072, 1);
	struct error err;

	assert_false(queue_body_in_file(m->body));
	queue_message_free(m);

	m = tester_message(t, 131073, 1);
	assert_true(queue_body_in_file(m->body));
	queue_message_free(m);

	m = queue_message_new(t->queue);
	queue_body_append(m->body, SLICE("begin"));
	assert_int_equal(queue_body_spill(m->body, &err), 0);
	queue_body_append(m->body, SLICE("and no end"));
	assert_int_equal(tester_body_files(t), 1);
	queue_message_free(m);
	assert_int_equal(tester_body_files(t), 0);
}

/* The piece in which it shows is not handed out. */
static void test_body_file_damaged(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 300000, 1);
	struct queue_body_reader reader;
	struct buf bytes = { 0 };
	struct error err;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/bodies/%X/%s", t->directory, (unsigned int)m->id % 16,
		 m->name);
	file = fopen(path, "r+");
	assert_non_null(file);
	fseek(file, 777, SEEK_SET);
	fputc('X', file);
	fclose(file);

	queue_body_reader_init(&reader, m->body);
	assert_int_equal(queue_body_read(&reader, 200000, &bytes, &err), 200000);
	assert_int_equal(queue_body_read(&reader, 200000, &bytes, &err), -EBADMSG);
	assert_int_equal(buf_len(&bytes), 200000);
	queue_body_reader_done(&reader);

	assert_int_equal(truncate(path, 1000), 0);
	queue_body_reader_init(&reader, m->body);
	assert_int_equal(queue_body_read(&reader, 200000, &bytes, &err), -EBADMSG);
	queue_body_reader_done(&reader);

	assert_int_equal(unlink(path), 0);
	queue_body_reader_init(&reader, m->body);
	assert_int_equal(queue_body_read(&reader, 200000, &bytes, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "missing"));
	queue_body_reader_done(&reader);
	buf_done(&bytes);
	queue_message_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_id_parse),
		cmocka_unit_test(test_id_format),
		cmocka_unit_test(test_ids_reserve),
		cmocka_unit_test(test_ids_start),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_status_names),
		cmocka_unit_test_setup_teardown(test_body_in_memory, tester_setup, tester_teardown),
		cmocka_unit_test_setup_teardown(test_body_in_file, tester_setup, tester_teardown),
		cmocka_unit_test_setup_teardown(test_body_at_the_limit, tester_setup,
						tester_teardown),
		cmocka_unit_test_setup_teardown(test_body_file_damaged, tester_setup,
						tester_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
