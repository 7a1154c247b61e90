/* test_fate - the rules of docs/queue.md, "What becomes of a recipient" */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "mta/fate.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS	  (60 * MINUTE_MS)
#define DAY_MS	  (24 * HOUR_MS)
#define ARRIVED	  INT64_C(1763708400000)

static const struct mta_options options = {
	.minimal_backoff_s = 300,
	.maximal_backoff_s = 4 * 3600,
	.maximal_lifetime_s = 5 * 86400,
	.bounce_lifetime_s = 86400,
	.delay_warning_s = 3600,
	.double_bounce_recipient = "postmaster@vm1.vm",
};

#define S SMTP_NOTIFY_SUCCESS
#define F SMTP_NOTIFY_FAILURE
#define D SMTP_NOTIFY_DELAY
#define N SMTP_NOTIFY_NEVER

static const struct {
	const char *label, *sender;
	enum queue_kind kind;
	unsigned int notify;
	enum smtp_class class;
	enum fate_place place;
	int64_t age_ms;
	bool is_warned, is_damaged;
	struct fate want; /* but for attempts and due_ms */
} cases[] = {
	/* clang-format off */
	{ "delivered", "a@b", 0, 0, SMTP_DELIVERED, FATE_MAILBOX, 0, 0, 0,
	  { .status = QUEUE_DELIVERED } },
	{ "delivered, other news wanted", "a@b", 0, F | D, SMTP_DELIVERED, FATE_MAILBOX, 0, 0, 0,
	  { .status = QUEUE_DELIVERED } },
	{ "delivered, as wanted", "a@b", 0, S, SMTP_DELIVERED, FATE_MAILBOX, 0, 0, 0,
	  { .status = QUEUE_DELIVERED, .report = REPORT_SUCCESS } },
	{ "relayed to who will tell", "a@b", 0, S, SMTP_DELIVERED, FATE_NEXT_HOP, 0, 0, 0,
	  { .status = QUEUE_DELIVERED } },
	{ "relayed to who will not", "a@b", 0, S | F, SMTP_DELIVERED, FATE_SILENT_HOP, 0, 0, 0,
	  { .status = QUEUE_DELIVERED, .report = REPORT_SUCCESS } },
	{ "relayed, nothing wanted", "a@b", 0, N, SMTP_DELIVERED, FATE_SILENT_HOP, 0, 0, 0,
	  { .status = QUEUE_DELIVERED } },
	{ "discarded", "a@b", 0, 0, SMTP_DELIVERED, FATE_NOWHERE, 0, 0, 0,
	  { .status = QUEUE_DELIVERED } },
	{ "discarded, as if delivered", "a@b", 0, S, SMTP_DELIVERED, FATE_NOWHERE, 0, 0, 0,
	  { .status = QUEUE_DELIVERED, .report = REPORT_SUCCESS } },
	{ "a report delivered", "", QUEUE_REPORT, S, SMTP_DELIVERED, FATE_MAILBOX, 0, 0, 0,
	  { .status = QUEUE_DELIVERED } },

	{ "failed", "a@b", 0, 0, SMTP_FAILED, 0, 0, 0, 0,
	  { .status = QUEUE_BOUNCED, .report = REPORT_FAILURE } },
	{ "failed, as wanted", "a@b", 0, F, SMTP_FAILED, 0, 0, 0, 0,
	  { .status = QUEUE_BOUNCED, .report = REPORT_FAILURE } },
	{ "failed, never to be told", "a@b", 0, N, SMTP_FAILED, 0, 0, 0, 0,
	  { .status = QUEUE_BOUNCED, .is_silenced = true } },
	{ "failed, not to be told", "a@b", 0, S | D, SMTP_FAILED, 0, 0, 0, 0,
	  { .status = QUEUE_BOUNCED, .is_silenced = true } },
	{ "a foreign report failed", "", QUEUE_MAIL, N, SMTP_FAILED, 0, 0, 0, 0,
	  { .status = QUEUE_BOUNCED, .report = REPORT_DOUBLE_BOUNCE } },
	{ "a report failed", "", QUEUE_REPORT, N, SMTP_FAILED, 0, 0, 0, 0,
	  { .status = QUEUE_BOUNCED, .report = REPORT_DOUBLE_BOUNCE } },
	{ "a notice failed", "", QUEUE_DOUBLE_BOUNCE, N, SMTP_FAILED, 0, 0, 0, 0,
	  { .status = QUEUE_BOUNCED, .is_dropped = true } },
	{ "damaged, and failed", "a@b", 0, 0, SMTP_FAILED, 0, 0, 0, true,
	  { .status = QUEUE_HELD } },

	{ "deferred", "a@b", 0, 0, SMTP_DEFERRED, 0, HOUR_MS - 1, 0, 0,
	  { .status = QUEUE_DEFERRED } },
	{ "deferred for long", "a@b", 0, 0, SMTP_DEFERRED, 0, HOUR_MS, 0, 0,
	  { .status = QUEUE_DEFERRED, .report = REPORT_DELAY } },
	{ "and once more", "a@b", 0, 0, SMTP_DEFERRED, 0, 2 * HOUR_MS, true, 0,
	  { .status = QUEUE_DEFERRED } },
	{ "for long, as wanted", "a@b", 0, D, SMTP_DEFERRED, 0, HOUR_MS, 0, 0,
	  { .status = QUEUE_DEFERRED, .report = REPORT_DELAY } },
	{ "for long, not to be told", "a@b", 0, F | S, SMTP_DEFERRED, 0, HOUR_MS, 0, 0,
	  { .status = QUEUE_DEFERRED } },
	{ "a report for long", "", QUEUE_REPORT, 0, SMTP_DEFERRED, 0, HOUR_MS, 0, 0,
	  { .status = QUEUE_DEFERRED } },
	{ "damaged", "a@b", 0, 0, SMTP_DEFERRED, 0, 9 * DAY_MS, 0, true,
	  { .status = QUEUE_HELD } },
	{ "nearly too long", "a@b", 0, 0, SMTP_DEFERRED, 0, 5 * DAY_MS - 1, true, 0,
	  { .status = QUEUE_DEFERRED } },
	{ "too long", "a@b", 0, 0, SMTP_DEFERRED, 0, 5 * DAY_MS, 0, 0,
	  { .status = QUEUE_BOUNCED, .is_expired = true, .report = REPORT_FAILURE } },
	{ "too long, never to be told", "a@b", 0, N, SMTP_DEFERRED, 0, 6 * DAY_MS, 0, 0,
	  { .status = QUEUE_BOUNCED, .is_expired = true, .is_silenced = true } },
	{ "a report too long", "", QUEUE_REPORT, 0, SMTP_DEFERRED, 0, DAY_MS, 0, 0,
	  { .status = QUEUE_BOUNCED, .is_expired = true, .report = REPORT_DOUBLE_BOUNCE } },
	/* clang-format on */
};

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fate *want = &cases[i].want;
		struct queue_message m = { .arrived_ms = ARRIVED,
					   .sender = cases[i].sender,
					   .kind = cases[i].kind };
		struct queue_recipient r = { .notify = cases[i].notify,
					     .is_warned = cases[i].is_warned };
		struct fate_facts facts = {
			.options = &options,
			.message = &m,
			.recipient = &r,
			.class = cases[i].class,
			.place = cases[i].place,
			.is_damaged = cases[i].is_damaged,
			.now_ms = ARRIVED + cases[i].age_ms,
		};
		struct fate got;

		fate_decide(&facts, &got);
		if (got.status != want->status || got.report != want->report ||
		    got.is_expired != want->is_expired || got.is_silenced != want->is_silenced ||
		    got.is_dropped != want->is_dropped)
			fail_msg("%s: status %d, report %d, expired %d, silenced %d, dropped %d",
				 cases[i].label, got.status, got.report, got.is_expired,
				 got.is_silenced, got.is_dropped);
	}
}

static void test_options_that_are_off(void **state)
{
	struct mta_options off = options;
	struct queue_message m = { .arrived_ms = ARRIVED, .sender = "" };
	struct queue_recipient r = { 0 };
	struct fate_facts facts = { .options = &off,
				    .message = &m,
				    .recipient = &r,
				    .class = SMTP_FAILED,
				    .now_ms = ARRIVED + 2 * HOUR_MS };
	struct fate fate;

	(void)state;
	off.double_bounce_recipient = "";
	off.delay_warning_s = 0;
	fate_decide(&facts, &fate);
	assert_true(fate.is_dropped && fate.report == REPORT_NONE);
	m.sender = "a@b";
	facts.class = SMTP_DEFERRED;
	fate_decide(&facts, &fate);
	assert_int_equal(fate.report, REPORT_NONE);
}

/* A lifetime of 0 is one attempt, as in Postfix. */
static void test_one_attempt(void **state)
{
	struct mta_options once = options;
	struct queue_message m = { .arrived_ms = ARRIVED, .sender = "a@b" };
	struct queue_recipient r = { 0 };
	struct fate_facts facts = { .options = &once,
				    .message = &m,
				    .recipient = &r,
				    .class = SMTP_DEFERRED,
				    .now_ms = ARRIVED };
	struct fate fate;

	(void)state;
	once.maximal_lifetime_s = 0;
	fate_decide(&facts, &fate);
	assert_true(fate.status == QUEUE_BOUNCED && fate.is_expired);
	m.sender = "";
	fate_decide(&facts, &fate);
	assert_int_equal(fate.status, QUEUE_DEFERRED);
}

/* Attempt after attempt, with the longest and the shortest jitter, to the end. */
static void test_schedule(void **state)
{
	(void)state;
	for (uint32_t random = 0; random < 100000000; random += 7654321) {
		struct queue_message m = { .arrived_ms = ARRIVED, .sender = "a@b" };
		struct queue_recipient r = { .is_warned = true };
		struct fate_facts facts = { .options = &options,
					    .message = &m,
					    .recipient = &r,
					    .class = SMTP_DEFERRED,
					    .random = random,
					    .now_ms = ARRIVED };
		int64_t want_ms = 5 * MINUTE_MS;
		struct fate fate;

		for (fate_decide(&facts, &fate); fate.status == QUEUE_DEFERRED;
		     fate_decide(&facts, &fate)) {
			int64_t wait_ms = fate.due_ms - facts.now_ms;

			assert_int_equal(fate.attempts, r.attempts + 1);
			if (fate.due_ms != ARRIVED + 5 * DAY_MS)
				assert_in_range(wait_ms, want_ms - want_ms / 10,
						want_ms + want_ms / 10);
			want_ms = MIN(2 * want_ms, 4 * HOUR_MS);
			r.attempts = fate.attempts;
			facts.now_ms = fate.due_ms;
		}
		/* The last attempt is made when the time is over, and not hours later. */
		assert_true(fate.is_expired);
		assert_int_equal(facts.now_ms, ARRIVED + 5 * DAY_MS);
		assert_in_range(r.attempts, 30, 45);
	}
}

/* Which answers to RCPT or to the end of a message may be a greylist's. */
static void test_greylisting_answers(void **state)
{
	static const struct {
		struct smtp_status answer;
		bool is_greylisting;
	} answers[] = {
		{ { .code = 450, .enhanced = { 4, 7, 1 } }, true },
		{ { .code = 450, .enhanced = { 4, 2, 0 } }, true },
		{ { .code = 451, .enhanced = { 4, 7, 1 } }, true },
		{ { .code = 451 }, true },
		{ { .code = 452, .enhanced = { 4, 5, 3 } }, true },
		{ { .code = 452, .enhanced = { 4, 2, 2 } }, false }, /* over quota */
		{ { .code = 452 }, false },
		{ { .code = 421, .enhanced = { 4, 7, 1 } }, false },
		{ { .code = 454 }, false },
		{ { .code = 550 }, false },
		{ { .code = 0, .text = "451 greylisted" }, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (fate_is_greylisting(&answers[i].answer) != answers[i].is_greylisting)
			fail_msg("%d: row %zu", answers[i].answer.code, i);
}

/* Soon at first, and never more often than a few times more than without. */
static void test_greylisting_schedule(void **state)
{
	static const int64_t minutes[] = { 1, 3, 9, 27, 80, 160, 240, 240 };

	(void)state;
	for (uint32_t random = 0; random < 100000000; random += 7654321) {
		struct queue_message m = { .arrived_ms = ARRIVED, .sender = "a@b" };
		struct queue_recipient r = { .is_warned = true };
		struct fate_facts facts = { .options = &options,
					    .message = &m,
					    .recipient = &r,
					    .class = SMTP_DEFERRED,
					    .is_greylisted = true,
					    .random = random,
					    .now_ms = ARRIVED };

		for (size_t i = 0; i < ARRAY_SIZE(minutes); i++) {
			int64_t want_ms = minutes[i] * MINUTE_MS;
			struct fate fate;

			fate_decide(&facts, &fate);
			assert_in_range(fate.due_ms - facts.now_ms, want_ms - want_ms / 10,
					want_ms + want_ms / 10);
			r.attempts = fate.attempts;
			facts.now_ms = fate.due_ms;
		}
	}
}

/* An operator who wants shorter times gets them. */
static void test_greylisting_with_short_times(void **state)
{
	struct mta_options quick = options;
	struct queue_message m = { .arrived_ms = ARRIVED, .sender = "a@b" };
	struct queue_recipient r = { 0 };
	struct fate_facts facts = { .options = &quick,
				    .message = &m,
				    .recipient = &r,
				    .class = SMTP_DEFERRED,
				    .is_greylisted = true,
				    .now_ms = ARRIVED };
	struct fate fate;

	(void)state;
	quick.minimal_backoff_s = 1;
	quick.maximal_backoff_s = 2;
	fate_decide(&facts, &fate);
	assert_in_range(fate.due_ms - ARRIVED, 900, 1100);
}

static void test_not_before_the_next_hop_is_tried(void **state)
{
	struct queue_message m = { .arrived_ms = ARRIVED, .sender = "a@b" };
	struct queue_recipient r = { 0 };
	struct fate_facts facts = { .options = &options,
				    .message = &m,
				    .recipient = &r,
				    .class = SMTP_DEFERRED,
				    .retry_ms = ARRIVED + HOUR_MS,
				    .now_ms = ARRIVED };
	struct fate fate;

	(void)state;
	fate_decide(&facts, &fate);
	assert_int_equal(fate.due_ms, ARRIVED + HOUR_MS);
	assert_int_equal(fate.attempts, 1);

	/* Not an attempt of its own: nothing is counted, and it comes when the next hop is tried. */
	facts.is_uncounted = true;
	facts.retry_ms = ARRIVED + MINUTE_MS;
	fate_decide(&facts, &fate);
	assert_int_equal(fate.due_ms, ARRIVED + MINUTE_MS);
	assert_int_equal(fate.attempts, 0);

	/* But never later than the last attempt. */
	facts.retry_ms = ARRIVED + 9 * DAY_MS;
	fate_decide(&facts, &fate);
	assert_int_equal(fate.due_ms, ARRIVED + 5 * DAY_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_options_that_are_off),
		cmocka_unit_test(test_one_attempt),
		cmocka_unit_test(test_schedule),
		cmocka_unit_test(test_greylisting_answers),
		cmocka_unit_test(test_greylisting_schedule),
		cmocka_unit_test(test_greylisting_with_short_times),
		cmocka_unit_test(test_not_before_the_next_hop_is_tried),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
