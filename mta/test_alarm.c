/* test_alarm - when a next hop that delivers nothing is told, how often, and until when */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "mta/alarm.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS	  (60 * MINUTE_MS)
#define START	  INT64_C(1795245120000) /* 2026-11-21T07:12:00.000Z */

struct fixture {
	char file[40], text[8192];
	struct log *log;
	struct alarms *alarms;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char destination[60];
	struct error err;

	strcpy(f->file, "/tmp/alarm.XXXXXX");
	close(mkstemp(f->file));
	snprintf(destination, sizeof(destination), "file:%s", f->file);
	assert_return_code(log_open(destination, "host", &f->log, &err), 0);
	f->alarms = alarms_new(f->log);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	alarms_free(f->alarms);
	log_close(f->log);
	unlink(f->file);
	free(f);
	return 0;
}

/* What was logged since the last call, without what syslog puts in front of the program. */
static const char *logged(struct fixture *f)
{
	FILE *stream = fopen(f->file, "re");
	char line[1024];

	assert_non_null(stream);
	f->text[0] = '\0';
	while (fgets(line, sizeof(line), stream)) {
		const char *text = strstr(line, "]: ");

		assert_non_null(text);
		strcat(f->text, text + strlen("]: "));
	}
	fclose(stream);
	assert_int_equal(truncate(f->file, 0), 0);
	return f->text;
}

static struct alarm_hop hop(const char *name, int64_t oldest_ms, int64_t last_success_ms)
{
	return (struct alarm_hop){
		.next_hop = name,
		.recipients = 3,
		.oldest_ms = oldest_ms,
		.last_success_ms = last_success_ms,
		.reason = "4.4.1 connect to [hub]:25: Connection refused",
	};
}

static void test_one_outage(void **state)
{
	struct fixture *f = *state;
	struct alarm_hop waits = hop("[hub]:25", START, START - HOUR_MS);

	/* Not yet; then once, and not again, whatever happens, until mail is taken. */
	assert_int_equal(alarms_look(f->alarms, &waits, 1, HOUR_MS, START + MINUTE_MS),
			 START + HOUR_MS);
	assert_string_equal(logged(f), "");
	alarms_look(f->alarms, &waits, 1, HOUR_MS, START + HOUR_MS - 1);
	assert_string_equal(logged(f), "");
	alarms_look(f->alarms, &waits, 1, HOUR_MS, START + HOUR_MS);
	assert_string_equal(
		logged(f),
		"error: ALARM: nothing has been delivered to [hub]:25 for 1h, since "
		"2026-11-21T07:12:00.000Z; 3 recipients wait, the oldest message since "
		"2026-11-21T07:12:00.000Z; 4.4.1 connect to [hub]:25: Connection refused\n");
	for (int i = 1; i < 5; i++)
		alarms_look(f->alarms, &waits, 1, i * HOUR_MS, START + (1 + i) * HOUR_MS);
	alarms_succeeded(f->alarms, "[hub]:25", START - HOUR_MS);
	alarms_succeeded(f->alarms, "[other]:25", START + 9 * HOUR_MS);
	assert_string_equal(logged(f), "");
	assert_int_equal(alarms_count(f->alarms), 1);

	alarms_succeeded(f->alarms, "[hub]:25", START + 26 * HOUR_MS);
	assert_string_equal(logged(f),
			    "warning: ALARM over: [hub]:25 takes mail again, after 1d2h\n");
	assert_int_equal(alarms_count(f->alarms), 0);

	/* More waits; but it has delivered something a moment ago. */
	waits.last_success_ms = START + 26 * HOUR_MS;
	assert_int_equal(alarms_look(f->alarms, &waits, 1, HOUR_MS,
				     START + 26 * HOUR_MS + MINUTE_MS),
			 START + 27 * HOUR_MS);
	assert_string_equal(logged(f), "");
	/* The next outage is told, too. */
	alarms_look(f->alarms, &waits, 1, HOUR_MS, START + 27 * HOUR_MS);
	assert_non_null(strstr(logged(f), "for 1h, since 2026-11-22T09:12:00.000Z"));
}

/* After a restart: what waits is as old as it was, whatever the server has seen. */
static void test_begins_late(void **state)
{
	struct fixture *f = *state;
	struct alarm_hop hops[] = {
		hop("a", START - 50 * HOUR_MS, 0),
		hop("b", START - 50 * HOUR_MS, START - 30 * MINUTE_MS),
		hop("c", START - 30 * MINUTE_MS, 0),
	};

	assert_int_equal(alarms_look(f->alarms, hops, 3, HOUR_MS, START), START + 30 * MINUTE_MS);
	assert_non_null(strstr(logged(f), "delivered to a for 2d2h, "));
	assert_int_equal(alarms_count(f->alarms), 1);
}

/* Deleted, bounced or sent another way: nothing waits, and nobody has to do anything. */
static void test_nothing_waits(void **state)
{
	struct fixture *f = *state;
	struct alarm_hop hops[] = { hop("a", START, 0), hop("b", START, 0) };

	alarms_look(f->alarms, hops, 2, MINUTE_MS, START + HOUR_MS);
	assert_int_equal(alarms_count(f->alarms), 2);
	logged(f);
	alarms_look(f->alarms, hops, 1, MINUTE_MS, START + 2 * HOUR_MS);
	assert_string_equal(logged(f), "warning: ALARM over: nothing waits for b any more\n");
	assert_int_equal(alarms_look(f->alarms, NULL, 0, MINUTE_MS, START + 2 * HOUR_MS),
			 START + 2 * HOUR_MS + MINUTE_MS);
	assert_string_equal(logged(f), "warning: ALARM over: nothing waits for a any more\n");
}

static void add_since(void *arg, const char *next_hop, int64_t since_ms)
{
	*(int64_t *)arg += since_ms;
	assert_string_equal(next_hop, "a");
}

static void test_switched_off(void **state)
{
	struct fixture *f = *state;
	struct alarm_hop waits = hop("a", START, START + MINUTE_MS);
	int64_t since_ms = 0;

	waits.recipients = 1;
	waits.reason = "";
	alarms_look(f->alarms, &waits, 1, MINUTE_MS, START + 3 * MINUTE_MS + 7000);
	assert_string_equal(logged(f),
			    "error: ALARM: nothing has been delivered to a for 2m7s, "
			    "since 2026-11-21T07:13:00.000Z; 1 recipient waits, the oldest "
			    "message since 2026-11-21T07:12:00.000Z\n");
	alarms_each(f->alarms, add_since, &since_ms);
	assert_int_equal(since_ms, START + MINUTE_MS);
	alarms_forget(f->alarms);
	assert_string_equal(logged(f), "");
	assert_int_equal(alarms_count(f->alarms), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_outage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_begins_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_switched_off, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
