/* test_support - see test_support.h */
#include "queue/test_support.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memory.h"
#include "queue/reader.h"

static int64_t fake_ms(const struct clock *clock)
{
	return CONTAINER_OF(clock, const struct tester, clock)->now_ms;
}

static void note_wake(void *arg)
{
	struct tester *t = arg;

	pthread_mutex_lock(&t->mutex);
	t->wakes++;
	pthread_cond_signal(&t->woken);
	pthread_mutex_unlock(&t->mutex);
}

static void note_warning(void *arg, const char *text)
{
	struct tester *t = arg;

	pthread_mutex_lock(&t->mutex);
	t->warnings++;
	snprintf(t->last_warning, sizeof(t->last_warning), "%s", text);
	pthread_cond_signal(&t->woken);
	pthread_mutex_unlock(&t->mutex);
}

void tester_wait_warning(struct tester *t, const char *text)
{
	pthread_mutex_lock(&t->mutex);
	while (!strstr(t->last_warning, text))
		pthread_cond_wait(&t->woken, &t->mutex);
	pthread_mutex_unlock(&t->mutex);
}

struct tester *tester_new(const char *parent)
{
	struct tester *t = memory_new(sizeof(*t));

	*t = (struct tester){
		.clock = { .wall_ms = fake_ms, .mono_ms = fake_ms },
		.now_ms = TESTER_START_MS,
		.ballast_bytes = 4 << 20,
	};
	snprintf(t->directory, sizeof(t->directory), "%s/posthouse-queue-XXXXXX",
		 access(parent, W_OK) == 0 ? parent : "/tmp");
	pthread_mutex_init(&t->mutex, NULL);
	pthread_cond_init(&t->woken, NULL);
	assert_non_null(mkdtemp(t->directory));
	return t;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void tester_free(struct tester *t)
{
	assert_int_equal(nftw(t->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	pthread_cond_destroy(&t->woken);
	pthread_mutex_destroy(&t->mutex);
	free(t);
}

int tester_try_open(struct tester *t, struct error *err)
{
	struct queue_options options = {
		.directory = t->directory,
		.body_memory_bytes = t->body_memory_bytes,
		.ballast_bytes = t->ballast_bytes,
		.minfree_bytes = t->minfree_bytes,
		.batch_max = t->batch_max,
		.clock = &t->clock,
		.warn = note_warning,
		.warn_arg = t,
	};
	int r = queue_open(&options, &t->queue, err);

	if (r == 0)
		t->port = queue_port_new(t->queue, note_wake, t);
	return r;
}

void tester_open(struct tester *t)
{
	struct error err = { 0 };

	if (tester_try_open(t, &err) < 0)
		fail_msg("open: %s", err.text);
}

void tester_close(struct tester *t)
{
	queue_port_free(t->port);
	queue_close(t->queue);
	t->port = NULL;
	t->queue = NULL;
}

int tester_setup(void **state)
{
	struct tester *t = tester_new("/tmp");

	tester_open(t);
	*state = t;
	return 0;
}

int tester_teardown(void **state)
{
	tester_close(*state);
	tester_free(*state);
	return 0;
}

struct tester *tester_share(struct tester *t)
{
	struct tester *other = memory_new(sizeof(*other));

	*other = (struct tester){ .queue = t->queue, .now_ms = t->now_ms };
	pthread_mutex_init(&other->mutex, NULL);
	pthread_cond_init(&other->woken, NULL);
	other->port = queue_port_new(t->queue, note_wake, other);
	return other;
}

void tester_unshare(struct tester *t)
{
	queue_port_free(t->port);
	pthread_cond_destroy(&t->woken);
	pthread_mutex_destroy(&t->mutex);
	free(t);
}

static char byte_at(int64_t id, size_t offset)
{
	return (char)((uint64_t)id * 31 + offset * 7 + offset / 251);
}

struct queue_message *tester_message(struct tester *t, size_t size, unsigned int count)
{
	struct queue_message *m = queue_message_new(t->queue);
	struct error err;
	char piece[4096];
	size_t n;

	m->sender = "alice@vm1.vm";
	m->requiretls = true;
	m->origin.client_ip = "192.0.2.1";
	for (unsigned int i = 0; i < count; i++)
		queue_message_add_recipient(m, arena_printf(&m->arena, "bob%u@vm2.vm", i), "bob");
	for (size_t done = 0; done < size; done += n) {
		n = MIN(size - done, sizeof(piece));
		for (size_t i = 0; i < n; i++)
			piece[i] = byte_at(m->id, done + i);
		queue_body_append(m->body, slice_of(piece, n));
		if (queue_body_must_spill(m->body) && queue_body_spill(m->body, &err) < 0)
			fail_msg("spill: %s", err.text);
	}
	if (queue_body_finish(m->body, &err) < 0)
		fail_msg("finish: %s", err.text);
	return m;
}

void tester_check_body(struct queue_body *b, int64_t id, size_t size)
{
	struct queue_body_reader reader;
	struct buf bytes = { 0 };
	struct error err;
	int64_t n;

	queue_body_reader_init(&reader, b);
	while ((n = queue_body_read(&reader, 5000, &bytes, &err)) > 0)
		;
	if (n < 0)
		fail_msg("read: %s", err.text);
	queue_body_reader_done(&reader);
	assert_int_equal(buf_len(&bytes), size);
	for (size_t i = 0; i < size; i++)
		if (buf_slice(&bytes).ptr[i] != byte_at(id, i))
			fail_msg("byte %zu is wrong", i);
	buf_done(&bytes);
}

/* A request that is done has no done() any more. */
void tester_done(struct queue_request *request)
{
	request->done = NULL;
}

void tester_wait(struct tester *t, struct queue_request *request)
{
	while (request->done) {
		pthread_mutex_lock(&t->mutex);
		while (t->wakes == t->seen)
			pthread_cond_wait(&t->woken, &t->mutex);
		t->seen = t->wakes;
		pthread_mutex_unlock(&t->mutex);
		queue_port_dispatch(t->port);
	}
}

int tester_append(struct tester *t, struct queue_message *m, struct error *err)
{
	struct queue_append append = { .request.done = tester_done, .message = m };

	queue_submit_append(t->port, &append);
	tester_wait(t, &append.request);
	if (err)
		*err = append.request.error;
	return append.request.result;
}

int tester_record(struct tester *t, struct queue_record *record)
{
	record->request.done = tester_done;
	queue_submit_record(t->port, record);
	tester_wait(t, &record->request);
	return record->request.result;
}

int tester_claim(struct tester *t, struct queue_claim *claim)
{
	claim->request.done = tester_done;
	queue_submit_claim(t->port, claim);
	tester_wait(t, &claim->request);
	return claim->request.result;
}

void tester_release(struct tester *t, int64_t id)
{
	struct queue_release release = { .request.done = tester_done, .id = id };

	queue_submit_release(t->port, &release);
	tester_wait(t, &release.request);
}

int64_t tester_store(struct tester *t, size_t size, unsigned int count)
{
	struct queue_message *m = tester_message(t, size, count);
	struct error err;
	int64_t id = m->id;

	if (tester_append(t, m, &err) < 0)
		fail_msg("append: %s", err.text);
	queue_message_free(m);
	return id;
}

bool tester_finish(struct tester *t, struct queue_message *m, enum queue_status status,
		   int64_t due_ms)
{
	struct queue_outcome *outcomes = calloc(m->recipient_count, sizeof(*outcomes));
	struct queue_record record = { .message = m, .outcomes = outcomes };

	for (unsigned int i = 0; i < m->recipient_count; i++)
		outcomes[i] = (struct queue_outcome){ .recipient = i,
						      .status = status,
						      .due_ms = due_ms };
	record.outcome_count = m->recipient_count;
	if (tester_record(t, &record) < 0)
		fail_msg("record: %s", record.request.error.text);
	free(outcomes);
	return record.removed;
}

unsigned int tester_claim_ids(struct tester *t, unsigned int max, int64_t *ids,
			      int64_t *ret_next_due_ms)
{
	struct queue_claim claim = {
		.now_ms = t->now_ms,
		.max_messages = max,
		.max_bytes = SIZE_MAX / 2,
	};

	if (tester_claim(t, &claim) < 0)
		fail_msg("claim: %s", claim.request.error.text);
	for (unsigned int i = 0; i < claim.message_count; i++) {
		ids[i] = claim.messages[i]->id;
		queue_message_free(claim.messages[i]);
	}
	free(claim.messages);
	if (ret_next_due_ms)
		*ret_next_due_ms = claim.next_due_ms;
	return claim.message_count;
}

static sqlite3 *open_database(struct tester *t)
{
	char path[128];
	sqlite3 *db;

	snprintf(path, sizeof(path), "%s/queue.db", t->directory);
	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	return db;
}

void tester_sql(struct tester *t, const char *format, ...)
{
	sqlite3 *db = open_database(t);
	char text[512], *message = NULL;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
	sqlite3_close(db);
}

int64_t tester_query(struct tester *t, const char *text)
{
	sqlite3 *db = open_database(t);
	sqlite3_stmt *statement;
	int64_t value;

	if (sqlite3_prepare_v2(db, text, -1, &statement, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	value = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	sqlite3_close(db);
	return value;
}

unsigned int tester_body_files(struct tester *t)
{
	unsigned int count = 0;
	char path[128];

	for (unsigned int i = 0; i < 16; i++) {
		struct dirent *entry;
		DIR *directory;

		snprintf(path, sizeof(path), "%s/bodies/%X", t->directory, i);
		directory = opendir(path);
		assert_non_null(directory);
		while ((entry = readdir(directory)))
			count += entry->d_name[0] != '.';
		closedir(directory);
	}
	return count;
}

static void ignore_gap(void *arg, const struct queue_ledger_entry *gap)
{
	(void)arg;
	(void)gap;
}

static void check_ledger(struct tester *t)
{
	struct queue_ledger_verdict verdict;
	struct queue_reader *r;
	struct error err;

	if (queue_reader_open(t->directory, &r, &err) < 0 ||
	    queue_reader_verify(r, NULL, ignore_gap, NULL, &verdict, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(verdict.fault, QUEUE_LEDGER_SOUND);
	queue_reader_close(r);
}

void tester_check_counts(struct tester *t)
{
	struct queue_counts counts;

	queue_counts(t->queue, &counts);
	assert_int_equal(counts.messages, tester_query(t, "SELECT count(*) FROM q_message"));
	assert_int_equal(counts.recipients,
			 tester_query(t, "SELECT count(*) FROM q_recipient WHERE status < 3"));
	assert_int_equal(counts.bytes,
			 tester_query(t, "SELECT coalesce(sum(size), 0) FROM q_message"));
	assert_int_equal(
		counts.oldest_ms,
		tester_query(t, "SELECT coalesce((SELECT arrived_ms FROM q_message ORDER BY id "
				"LIMIT 1), 0)"));
	check_ledger(t);
}
