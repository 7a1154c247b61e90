/*
 * test_order - who is served before whom, and together with whom
 *
 * The queue's thread is kept inside wake() of the first request's port while
 * the others are submitted, so it finds them all at once, in a known order.
 */
#include "queue/test_support.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "queue/private.h"
#include "queue/thread.h"

#define REQUESTS_MAX 64

/* a: append, D: delivery, b: bounce, d: deferral, r: release, c: claim; with what it needs. */
struct ask {
	char letter;
	struct queue_message *message;
	struct queue_outcome outcomes[2];
	struct queue_request *request;
	struct queue_append append;
	struct queue_record record;
	struct queue_release release;
	struct queue_claim claim;
};

struct line {
	struct tester *t;
	struct queue_port *port;
	struct ask asks[REQUESTS_MAX];
	unsigned int count; /* of asks */
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_held, is_open;
	unsigned int served;
	char order[2 * REQUESTS_MAX + 1]; /* letters as they were served, '|' between two batches */
};

static char letter_of(const struct line *line, const struct queue_request *request)
{
	for (unsigned int i = 0; i < line->count; i++)
		if (line->asks[i].request == request)
			return line->asks[i].letter;
	return '?';
}

/* What is new among the completed was served together. The port's mutex is held. */
static void note_batch(struct line *line)
{
	char *end = line->order + strlen(line->order);
	unsigned int i = 0;

	if (line->served > 0)
		*end++ = '|';
	LIST_FOREACH (item, &line->port->completed) {
		if (i++ >= line->served)
			*end++ = letter_of(line, CONTAINER_OF(item, struct queue_request, link));
	}
	*end = '\0';
	line->served = i;
}

static void on_wake(void *arg)
{
	struct line *line = arg;

	pthread_mutex_lock(&line->mutex);
	line->is_held = true;
	pthread_cond_signal(&line->changed);
	while (!line->is_open)
		pthread_cond_wait(&line->changed, &line->mutex);
	note_batch(line);
	pthread_cond_signal(&line->changed);
	pthread_mutex_unlock(&line->mutex);
}

static void submit_record(struct line *line, struct ask *ask)
{
	ask->record = (struct queue_record){
		.request.done = tester_done,
		.message = ask->message,
		.outcomes = ask->outcomes,
		.outcome_count = ask->message->recipient_count,
	};
	queue_submit_record(line->port, &ask->record);
}

static void submit(struct line *line, struct ask *ask)
{
	switch (ask->letter) {
	case 'a':
		ask->append = (struct queue_append){ .request.done = tester_done,
						     .message = ask->message };
		queue_submit_append(line->port, &ask->append);
		break;
	case 'r':
		ask->release = (struct queue_release){ .request.done = tester_done,
						       .id = ask->message->id };
		queue_submit_release(line->port, &ask->release);
		break;
	case 'c':
		ask->claim = (struct queue_claim){ .request.done = tester_done,
						   .now_ms = line->t->now_ms,
						   .max_messages = 8,
						   .max_bytes = 1 << 20 };
		queue_submit_claim(line->port, &ask->claim);
		break;
	default:
		submit_record(line, ask);
	}
}

static struct queue_request *request_of(struct ask *ask)
{
	switch (ask->letter) {
	case 'a':
		return &ask->append.request;
	case 'r':
		return &ask->release.request;
	case 'c':
		return &ask->claim.request;
	default:
		return &ask->record.request;
	}
}

static enum queue_status status_of(char letter)
{
	return letter == 'D' ? QUEUE_DELIVERED : letter == 'b' ? QUEUE_BOUNCED : QUEUE_DEFERRED;
}

/* What is recorded or released was stored before. A message to two: the first is deferred. */
static struct ask *prepare(struct line *line, char letter, unsigned int recipients)
{
	struct ask *ask = &line->asks[line->count++];

	assert_true(line->count <= REQUESTS_MAX);
	ask->letter = letter;
	ask->request = request_of(ask);
	if (letter == 'c')
		return ask;
	ask->message = tester_message(line->t, 100, recipients);
	for (unsigned int i = 0; i < recipients; i++)
		ask->outcomes[i] = (struct queue_outcome){
			.recipient = i,
			.status = i + 1 < recipients ? QUEUE_DEFERRED : status_of(letter),
			.due_ms = line->t->now_ms + 1000,
		};
	if (letter != 'a')
		assert_int_equal(tester_append(line->t, ask->message, NULL), 0);
	return ask;
}

static struct line *line_new(struct tester *t)
{
	struct line *line = memory_zeroed(sizeof(*line));

	line->t = t;
	pthread_mutex_init(&line->mutex, NULL);
	pthread_cond_init(&line->changed, NULL);
	line->port = queue_port_new(t->queue, on_wake, line);
	prepare(line, 'a', 1);
	return line;
}

/* Submit the first alone; the others while the thread is busy with it; wait until all are done. */
static void serve(struct line *line)
{
	submit(line, &line->asks[0]);
	pthread_mutex_lock(&line->mutex);
	while (!line->is_held)
		pthread_cond_wait(&line->changed, &line->mutex);
	pthread_mutex_unlock(&line->mutex);

	for (unsigned int i = 1; i < line->count; i++)
		submit(line, &line->asks[i]);

	pthread_mutex_lock(&line->mutex);
	line->is_open = true;
	pthread_cond_signal(&line->changed);
	while (line->served < line->count)
		pthread_cond_wait(&line->changed, &line->mutex);
	pthread_mutex_unlock(&line->mutex);
	queue_port_dispatch(line->port);
	for (unsigned int i = 0; i < line->count; i++)
		assert_int_equal(line->asks[i].request->result, 0);
}

static void line_free(struct line *line)
{
	queue_port_free(line->port);
	for (unsigned int i = 0; i < line->count; i++) {
		struct queue_claim *claim = &line->asks[i].claim;

		for (unsigned int k = 0; k < claim->message_count; k++)
			queue_message_free(claim->messages[k]);
		free(claim->messages);
		queue_message_free(line->asks[i].message);
	}
	pthread_cond_destroy(&line->changed);
	pthread_mutex_destroy(&line->mutex);
	free(line);
}

/* Serve these, in this order of arrival, by a queue with this batch_max. */
static void check(struct tester *t, unsigned int batch_max, const char *arrival,
		  const char *expected)
{
	struct line *line;

	tester_close(t);
	t->batch_max = batch_max;
	tester_open(t);
	line = line_new(t);
	for (const char *letter = arrival; *letter; letter++)
		prepare(line, *letter, 1);
	serve(line);
	assert_string_equal(line->order, expected);
	line_free(line);
	tester_check_counts(t);
}

/* A client's mail, and what was delivered, pass by the deferrals of a dead next hop. */
static void test_urgent_first(void **state)
{
	check(*state, 16, "ddddddaDab", "a|aDabdd|dddd");
	check(*state, 16, "dddddddddddddddddd", "a|dddddddddddddddd|dd");
	check(*state, 16, "cda", "a|a|c|d");
}

/* However much comes, both get on. */
static void test_nobody_starves(void **state)
{
	check(*state, 8, "aaaaaaaaaaaaaaaaaaaaddd", "a|aaaaaaad|aaaaaaad|aaaaaad");
	check(*state, 8, "aaaaaaaaaaaaaaaacd", "a|aaaaaaa|c|aaaaaaad|aa");
	check(*state, 8, "aaaaaaaaacdc", "a|aaaaaaa|c|aad|c");
	check(*state, 1, "aaadd", "a|a|d|a|d|a");
	check(*state, 1, "acacac", "a|a|c|a|c|a|c");
}

/* One of its recipients has got it: that is as urgent as if all had. */
static void test_mixed_outcome(void **state)
{
	struct line *line = line_new(*state);

	prepare(line, 'c', 0);
	prepare(line, 'D', 2);
	serve(line);
	assert_string_equal(line->order, "a|D|c");
	line_free(line);
}

/* A claim sees what was released before it, whoever else is in between. */
static void test_release_then_claim(void **state)
{
	struct line *line = line_new(*state);
	struct ask *release = prepare(line, 'r', 1);
	struct ask *claim = prepare(line, 'c', 0);

	prepare(line, 'a', 1);
	serve(line);
	assert_string_equal(line->order, "a|ar|c");
	assert_int_equal(claim->claim.message_count, 1);
	assert_int_equal(claim->claim.messages[0]->id, release->message->id);
	line_free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_urgent_first, tester_setup, tester_teardown),
		cmocka_unit_test_setup_teardown(test_nobody_starves, tester_setup, tester_teardown),
		cmocka_unit_test_setup_teardown(test_mixed_outcome, tester_setup, tester_teardown),
		cmocka_unit_test_setup_teardown(test_release_then_claim, tester_setup,
						tester_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
