/*
 * test_engines - messages that are hard to carry, from our client engine to our server engine
 *
 * Each goes by DATA and by BDAT, in one piece and in many that are cut at random
 * (tests/support/pair.h). Random numbers are the same in each run.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "smtp/server.h"
#include "tests/support/pair.h"

#define CHOICES 4096
#define PIECE	65536 /* what the server engine unstuffs at a time */

static const struct way {
	const char *label;
	unsigned int discarded;
	bool no_pipelining;
} ways[] = {
	{ "BDAT", 0, false },
	{ "DATA", SMTP_CHUNKING, false },
	{ "DATA, one command at a time", SMTP_CHUNKING, true },
};

/* Splits, delays and pauses; with the same seed the same. */
static struct slice random_choices(unsigned int seed)
{
	static char choices[CHOICES];

	srand(seed);
	for (size_t i = 0; i < sizeof(choices); i++)
		choices[i] = (char)rand();
	return slice_of(choices, sizeof(choices));
}

/* Text arrives as it is, and all else is refused. */
static void check_carried(const char *label, const struct way *way, const struct pair_message *m)
{
	bool wanted = m->is_binary || pair_is_text(m->body);

	if (m->is_taken != wanted || m->is_broken)
		fail_msg("%s, %s: %s, code %d", label, way->label,
			 m->is_taken ? "taken" : "not taken", m->code);
	if (!wanted && m->code != 550)
		fail_msg("%s, %s: code %d", label, way->label, m->code);
}

static void carry(const char *label, const struct way *way, struct slice body, struct slice choices)
{
	struct pair_options options = { .choices = choices,
					.discarded = way->discarded,
					.no_pipelining = way->no_pipelining };
	struct pair_message m = { .body = body, .recipient_count = 1 };

	pair_run(&options, &m, 1);
	check_carried(label, way, &m);
	buf_done(&m.arrived);
}

static void carry_all_ways(const char *label, struct slice body, unsigned int seed)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		carry(label, &ways[i], body, (struct slice){ 0 });
		carry(label, &ways[i], body, random_choices(seed));
	}
}

#define BODY(literal)                                                                              \
	{                                                                                          \
		"" literal, sizeof(literal) - 1                                                    \
	}

static const struct slice bodies[] = {
	BODY(""),
	BODY("\r\n"),
	BODY("."),
	BODY(".\r\n"),
	BODY("..\r\n.\r\n"),
	BODY("\r\n.\r\n"),
	BODY("\r\n.\r\nQUIT\r\n"),
	BODY("a"),
	BODY("a\r\n."),
	BODY("Subject: x\r\n\r\n.\r\n..\r\n...\r\na.\r\n.a\r\n"),
	BODY("\377\376\r\n\200.\r\n.\377\r\n"),
	BODY("BDAT 3 LAST\r\nabc\r\n.\r\nMAIL FROM:<0@x.test>\r\n"),
	/* What no message may have: */
	BODY("\r"),
	BODY("\n"),
	BODY("\0"),
	BODY("a\r\n\0.\r\n"),
	BODY("a\n.\n"),
	BODY("a\n.\r\nb\r\n"),
	BODY("a\r\n.\nb\r\n"),
	BODY("a\r\n.\rb\r\n"),
	BODY("a\r.\r\nb\r\n"),
	BODY("a\r\r\n.\r\r\n"),
	BODY("a\r\n.\r"),
	BODY("a\r\n\r"),
	BODY("a\n\r\n.\r\n"),
	BODY("\r\n.\r\nMAIL FROM:<0@x.test>\nRCPT TO:<0@x.test>\nDATA\n"),
};

static void test_listed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		char label[32];

		snprintf(label, sizeof(label), "body %zu", i);
		for (unsigned int seed = 1; seed <= 20; seed++)
			carry_all_ways(label, bodies[i], seed);
	}
}

/* Few kinds of bytes, so that every combination of those that matter comes up. */
static size_t fill_random(char *out, size_t size)
{
	static const char *const text[] = { "\r\n", "\r\n", ".", "..", "a", "\r\n.", "\377" };
	static const char *const any[] = { "\r", "\n", "." };
	bool is_hostile = rand() % 4 == 0;
	size_t len = 0;

	while (len + 3 <= size) {
		bool is_any = is_hostile && rand() % 8 == 0;
		const char *piece = is_any ? any[(size_t)rand() % ARRAY_SIZE(any)]
					   : text[(size_t)rand() % ARRAY_SIZE(text)];

		memcpy(out + len, piece, strlen(piece));
		len += strlen(piece);
	}
	return len;
}

static void test_random(void **state)
{
	char body[96];

	(void)state;
	for (unsigned int seed = 1; seed <= 1500; seed++) {
		char label[32];
		size_t len;

		srand(seed);
		len = fill_random(body, (size_t)rand() % sizeof(body));
		snprintf(label, sizeof(label), "random %u", seed);
		carry_all_ways(label, slice_of(body, len), seed);
	}
}

/* What matters, at each offset around the end of a piece: of either engine, and of a chunk. */
static void test_borders(void **state)
{
	static const char *const marks[] = { "\r\n.\r\n", "\r\n..\r\n", "\r\n\r\n.", "\r\n.a" };
	char *body = malloc(2 * PIECE);

	(void)state;
	assert_non_null(body);
	for (size_t i = 0; i < ARRAY_SIZE(marks); i++) {
		for (size_t at = PIECE - 8; at <= PIECE + 3; at++) {
			size_t len = strlen(marks[i]);

			memset(body, 'x', at);
			memcpy(body + at, marks[i], len);
			memcpy(body + at + len, "y\r\n", 3);
			for (size_t way = 0; way < ARRAY_SIZE(ways); way++)
				carry(marks[i], &ways[way], slice_of(body, at + len + 3),
				      (struct slice){ 0 });
		}
	}
	free(body);
}

/* Lines end nowhere, or are nothing but a dot: the two that stuffing is slowest at. */
static void test_large(void **state)
{
	const size_t size = 3 * 1024 * 1024;
	char *body = malloc(size);

	(void)state;
	assert_non_null(body);
	memset(body, '.', size);
	carry_all_ways("dots", slice_of(body, size), 1);
	for (size_t i = 0; i + 3 <= size; i += 3)
		memcpy(body + i, ".\r\n", 3);
	carry_all_ways("lines of dots", slice_of(body, size / 3 * 3), 2);
	free(body);
}

static void test_binary(void **state)
{
	struct pair_message messages[ARRAY_SIZE(bodies)];

	(void)state;
	for (unsigned int seed = 0; seed < 50; seed++) {
		struct pair_options options = { .choices = random_choices(seed) };

		for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
			messages[i] = (struct pair_message){ .body = bodies[i],
							     .is_binary = true,
							     .recipient_count = 1 };
		pair_run(&options, messages, ARRAY_SIZE(messages));
		for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
			check_carried("binary", &ways[0], &messages[i]);
			buf_done(&messages[i].arrived);
		}
	}
}

/* Behind one another, some refused: neither engine may lose count of what belongs to what. */
static void run_session(unsigned int seed)
{
	struct pair_message messages[12];
	char body[ARRAY_SIZE(messages)][64];
	struct pair_options options;

	srand(seed);
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		size_t len = fill_random(body[i], (size_t)rand() % sizeof(body[i]));

		messages[i] = (struct pair_message){
			.body = slice_of(body[i], len),
			.recipient_count = 1 + (unsigned int)rand() % PAIR_RECIPIENTS_MAX,
		};
	}
	options = (struct pair_options){ .choices = random_choices(seed),
					 .may_refuse = true,
					 .discarded = ways[seed % ARRAY_SIZE(ways)].discarded,
					 .no_pipelining =
						 ways[seed % ARRAY_SIZE(ways)].no_pipelining };
	pair_run(&options, messages, ARRAY_SIZE(messages));
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
		buf_done(&messages[i].arrived);
}

static void test_sessions(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= 2000; seed++)
		run_session(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listed),	cmocka_unit_test(test_random),
		cmocka_unit_test(test_borders), cmocka_unit_test(test_large),
		cmocka_unit_test(test_binary),	cmocka_unit_test(test_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
