/*
 * Everything shared is behind one mutex, which nobody holds for long. A
 * question is a key in a table with those who wait for it, on any worker; the
 * worker of the first one asks. When it is answered they move to the lists of
 * their verifiers, whose loops are told.
 *
 * What is learned gathers as lines for the file, which a thread of the pool
 * appends; one at a time, for all workers.
 */
#include "mta/verify.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"
#include "base/strmap.h"
#include "mta/snapshot.h"
#include "mta/verify_file.h"
#include "mta/verify_probe.h"

#define QUESTIONS_MAX	    2000 /* at once, of all workers */
#define GARBAGE_MAX	    20000 /* lines of the file that say nothing new, before it is written anew */
#define LINES_AFTER_FAILURE 1000 /* to be written, before that is tried again */
#define RENEWALS	    16 /* of a fact by mail, in the time after which it would be asked for again */

struct question {
	struct list waiters; /* struct verify_wait */
};

struct verify {
	pthread_mutex_t mutex;
	pthread_cond_t written; /* is_writing has ended */
	struct verify_cache *cache;
	struct strmap questions; /* struct question, by address */

	char *directory;
	struct log *log;
	struct buf lines; /* for the file */
	size_t line_count, file_lines;
	bool is_writing, has_complained;
};

struct verifier {
	struct verify *shared;
	struct mta_worker *worker;
	struct prober *prober;
	struct list answered; /* struct verify_wait; behind the mutex */
	struct loop_notify *notify;
	struct loop_work write_work;
	bool is_writing, is_stopping;
};

static int64_t now_ms(const struct verifier *v)
{
	return mta_now_ms(v->worker);
}

/* ---- the file ---- */

static void add_to_buf(void *arg, const char *address, const struct verify_fact *fact)
{
	if (!fact->is_brief && fact->verdict != VERIFY_UNKNOWN)
		verify_file_write_line(arg, address, fact);
}

/* With the mutex held, which is let go while the disk works. */
static void write_lines(struct verify *v)
{
	bool is_anew =
		v->file_lines > GARBAGE_MAX && v->file_lines / 2 > verify_cache_count(v->cache);
	struct buf lines = { 0 };
	struct error err;
	int r;

	if (is_anew) {
		verify_cache_each(v->cache, add_to_buf, &lines);
		v->file_lines = verify_cache_count(v->cache);
	} else {
		buf_append_slice(&lines, buf_slice(&v->lines));
		v->file_lines += v->line_count;
	}
	buf_clear(&v->lines);
	v->line_count = 0;
	v->is_writing = true;
	pthread_mutex_unlock(&v->mutex);
	r = is_anew ? verify_file_replace(v->directory, buf_slice(&lines), &err)
		    : verify_file_append(v->directory, buf_slice(&lines), &err);
	buf_done(&lines);
	if (r < 0 && !v->has_complained)
		log_write(v->log, "verify", LOG_LEVEL_ERROR,
			  "what is known of addresses is not kept: %s", err.text);
	pthread_mutex_lock(&v->mutex);
	v->has_complained = r < 0;
	if (r < 0)
		v->file_lines = SIZE_MAX; /* a line may be torn: it is to be written anew */
	v->is_writing = false;
	pthread_cond_broadcast(&v->written);
}

static void write_work(struct loop_work *work)
{
	struct verify *v = CONTAINER_OF(work, struct verifier, write_work)->shared;

	pthread_mutex_lock(&v->mutex);
	if (!v->is_writing && v->line_count > 0)
		write_lines(v);
	pthread_mutex_unlock(&v->mutex);
}

static void start_writing(struct verifier *v);

static void written(struct loop_work *work)
{
	struct verifier *v = CONTAINER_OF(work, struct verifier, write_work);

	v->is_writing = false;
	start_writing(v);
}

/* A disk that was full is not tried for each address. */
static bool is_worth_writing(const struct verify *v)
{
	return v->line_count > (v->has_complained ? LINES_AFTER_FAILURE : 0) && !v->is_writing;
}

/* Who is late finds it done by somebody else, or does what has come meanwhile. */
static void start_writing(struct verifier *v)
{
	bool has_lines;

	pthread_mutex_lock(&v->shared->mutex);
	has_lines = is_worth_writing(v->shared);
	pthread_mutex_unlock(&v->shared->mutex);
	if (!has_lines || v->is_writing || v->is_stopping)
		return;
	v->is_writing = true;
	v->write_work = (struct loop_work){ .work = write_work, .done = written };
	loop_work(v->worker->loop, &v->write_work);
}

static void note_line(struct verify *v, const char *address, const struct verify_fact *fact)
{
	verify_file_write_line(&v->lines, address, fact);
	v->line_count++;
}

/* ---- the cache ---- */

/* A hundred messages a second to one address are one fact. */
static bool is_news(const struct verify_options *options, const struct verify_fact *before,
		    const struct verify_fact *fact)
{
	int64_t refresh_s = fact->verdict == VERIFY_DELIVERABLE ? options->positive_refresh_s
								: options->negative_refresh_s;

	return before->verdict != fact->verdict || before->is_brief != fact->is_brief ||
	       fact->checked_ms - before->checked_ms >= refresh_s * 1000 / RENEWALS;
}

/* With the mutex held. Who is unknown now may have been known before, and that counts more. */
static void remember(struct verifier *v, const char *address, const struct verify_fact *fact)
{
	const struct verify_options *options = &v->worker->options->verify;
	struct verify *shared = v->shared;
	struct verify_fact before;
	bool is_known = verify_cache_get(shared->cache, address, &before) &&
			verify_fact_age(&before, options, fact->checked_ms) != VERIFY_EXPIRED;

	if (is_known && !is_news(options, &before, fact))
		return;
	if (is_known && fact->verdict == VERIFY_UNKNOWN)
		return;
	if (fact->verdict == VERIFY_UNDELIVERABLE && !options->keeps_refusals && !fact->is_brief) {
		verify_cache_forget(shared->cache, address);
		note_line(shared, address, NULL);
		return;
	}
	verify_cache_put(shared->cache, address, fact);
	if (!fact->is_brief && fact->verdict != VERIFY_UNKNOWN)
		note_line(shared, address, fact);
}

bool verify_forget(struct verify *v, const char *address)
{
	struct arena arena = { 0 };
	const char *key = verify_cache_key(&arena, address);
	struct verify_fact fact;
	bool was_known;

	pthread_mutex_lock(&v->mutex);
	was_known = verify_cache_get(v->cache, key, &fact);
	verify_cache_forget(v->cache, key);
	if (was_known) {
		note_line(v, key, NULL);
		while (v->is_writing) /* who asked for it may read the file next */
			pthread_cond_wait(&v->written, &v->mutex);
		if (v->line_count > 0)
			write_lines(v);
	}
	pthread_mutex_unlock(&v->mutex);
	arena_done(&arena);
	return was_known;
}

/* ---- questions ---- */

/* With the mutex held: those who wait for the address hear this. */
static void answer_all(struct verify *v, const char *address, const struct verify_fact *fact)
{
	struct question *q = strmap_remove(&v->questions, slice_from(address));
	struct list *link;

	if (!q)
		return;
	while ((link = list_pop(&q->waiters)) != NULL) {
		struct verify_wait *wait = CONTAINER_OF(link, struct verify_wait, link);

		wait->answer = *fact;
		list_push(&wait->verifier->answered, &wait->link);
		loop_notify_send(wait->verifier->notify);
	}
	free(q);
}

void verifier_conclude(struct verifier *v, const char *address, const struct verify_fact *fact)
{
	struct arena arena = { 0 };
	const char *key = verify_cache_key(&arena, address);

	pthread_mutex_lock(&v->shared->mutex);
	if (fact->checked_ms > 0)
		remember(v, key, fact);
	answer_all(v->shared, key, fact);
	pthread_mutex_unlock(&v->shared->mutex);
	start_writing(v);
	arena_done(&arena);
}

/* It was refused: who has believed that it is deliverable asks again. */
static void doubt(struct verifier *v, const char *address)
{
	struct arena arena = { 0 };
	const char *key = verify_cache_key(&arena, address);
	struct verify_fact fact;

	pthread_mutex_lock(&v->shared->mutex);
	if (verify_cache_get(v->shared->cache, key, &fact) && fact.verdict == VERIFY_DELIVERABLE) {
		verify_cache_forget(v->shared->cache, key);
		note_line(v->shared, key, NULL);
	}
	pthread_mutex_unlock(&v->shared->mutex);
	start_writing(v);
	arena_done(&arena);
}

static bool must_verify(const struct verifier *v, const char *address)
{
	const struct mta_options *options = v->worker->options;
	struct error err;

	return options->policy->must_verify(options->policy_arg, address, &err) == MAP_FOUND;
}

void verifier_learn(struct verifier *v, const struct delivery *d)
{
	for (unsigned int i = 0; i < d->count && v->worker->options->policy->must_verify; i++) {
		const struct delivery_recipient *r = &d->recipients[i];
		const char *address = d->message->recipients[r->index].address;
		struct verify_fact fact = {
			.verdict = VERIFY_DELIVERABLE,
			.checked_ms = now_ms(v),
			.status = r->status,
		};

		if (!must_verify(v, address))
			continue;
		if (smtp_status_class(&r->status) == SMTP_DELIVERED)
			verifier_conclude(v, address, &fact);
		else if (smtp_status_class(&r->status) == SMTP_FAILED && r->at_rcpt)
			doubt(v, address);
	}
}

static void end_wait(struct verify_wait *wait)
{
	loop_timer_free(wait->timer);
	wait->timer = NULL;
	wait->verifier = NULL;
}

/* One of those who were answered. */
static struct verify_wait *take_answered(struct verifier *v)
{
	struct list *link;

	pthread_mutex_lock(&v->shared->mutex);
	link = list_pop(&v->answered);
	pthread_mutex_unlock(&v->shared->mutex);
	return link ? CONTAINER_OF(link, struct verify_wait, link) : NULL;
}

static void tell_answered(void *arg)
{
	struct verifier *v = arg;
	struct verify_wait *wait;

	while ((wait = take_answered(v)) != NULL) {
		end_wait(wait);
		wait->answered(wait);
	}
}

static void set_unknown(struct verify_fact *ret, const char *why)
{
	*ret = (struct verify_fact){ .verdict = VERIFY_UNKNOWN };
	smtp_status_set(&ret->status, 450, ESC(4, 1, 1), "%s", why);
}

void verifier_cancel(struct verify_wait *wait)
{
	struct verifier *v = wait->verifier;

	if (!v)
		return;
	pthread_mutex_lock(&v->shared->mutex);
	list_remove(&wait->link);
	pthread_mutex_unlock(&v->shared->mutex);
	end_wait(wait);
}

/* The question stays: its answer is for whoever comes next. */
static void on_timer(void *arg)
{
	struct verify_wait *wait = arg;

	verifier_cancel(wait);
	set_unknown(&wait->answer, "Address verification in progress");
	wait->answered(wait);
}

static void start_wait(struct verifier *v, struct question *q, struct verify_wait *wait)
{
	wait->verifier = v;
	list_push(&q->waiters, &wait->link);
	wait->timer = loop_timer_new(v->worker->loop, on_timer, wait);
	loop_timer_start(wait->timer, v->worker->options->verify.wait_ms);
}

/* NULL: there are too many. */
static struct question *find_question(struct verify *v, const char *key, bool *ret_is_new)
{
	struct question *q = strmap_get(&v->questions, slice_from(key));

	*ret_is_new = !q && v->questions.count < QUESTIONS_MAX;
	if (!*ret_is_new)
		return q;
	q = memory_zeroed(sizeof(*q));
	list_init(&q->waiters);
	strmap_put(&v->questions, slice_from(key), q);
	return q;
}

/* With the mutex held. As verifier_ask(); *ret_is_new: the next hop is to be asked. */
static bool look_up(struct verifier *v, const char *key, struct verify_wait *wait, bool *ret_is_new)
{
	const struct verify_options *options = &v->worker->options->verify;
	enum verify_age age = VERIFY_EXPIRED;
	struct question *q;

	*ret_is_new = false;
	if (verify_cache_get(v->shared->cache, key, &wait->answer))
		age = verify_fact_age(&wait->answer, options, now_ms(v));
	if (age == VERIFY_CURRENT)
		return true;
	q = find_question(v->shared, key, ret_is_new);
	if (age == VERIFY_STALE)
		return true;
	if (q && options->wait_ms > 0) {
		start_wait(v, q, wait);
		return false;
	}
	set_unknown(&wait->answer, q ? "Address verification in progress"
				     : "Too many addresses are being verified");
	return true;
}

bool verifier_ask(struct verifier *v, const char *address, struct verify_wait *wait)
{
	struct arena arena = { 0 };
	const char *key = verify_cache_key(&arena, address);
	bool is_known, is_new;

	pthread_mutex_lock(&v->shared->mutex);
	is_known = look_up(v, key, wait, &is_new);
	pthread_mutex_unlock(&v->shared->mutex);
	if (is_new)
		prober_ask(v->prober, address);
	arena_done(&arena);
	return is_known;
}

/* ---- life ---- */

struct verify *verify_new(const char *directory, struct log *log)
{
	struct verify *v = memory_zeroed(sizeof(*v));
	struct error err;

	pthread_mutex_init(&v->mutex, NULL);
	pthread_cond_init(&v->written, NULL);
	v->cache = verify_cache_new();
	v->directory = slice_strdup(slice_from(directory));
	v->log = log;
	if (verify_file_load(directory, v->cache, &v->file_lines, &err) < 0)
		log_write(log, "verify", LOG_LEVEL_WARNING,
			  "what was known of addresses is forgotten: %s", err.text);
	return v;
}

void verify_free(struct verify *v)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	if (!v)
		return;
	pthread_mutex_lock(&v->mutex);
	if (v->line_count > 0)
		write_lines(v);
	pthread_mutex_unlock(&v->mutex);
	while ((entry = strmap_next(&v->questions, &cursor)) != NULL)
		free(entry->value);
	strmap_done(&v->questions);
	verify_cache_free(v->cache);
	buf_done(&v->lines);
	pthread_mutex_destroy(&v->mutex);
	pthread_cond_destroy(&v->written);
	free(v->directory);
	free(v);
}

struct verifier *verifier_new(struct mta_worker *worker)
{
	struct verifier *v = memory_zeroed(sizeof(*v));

	v->worker = worker;
	v->shared = worker->verify;
	list_init(&v->answered);
	v->notify = loop_notify_new(worker->loop, tell_answered, v);
	v->prober = prober_new(worker, v);
	return v;
}

void verifier_free(struct verifier *v)
{
	if (!v)
		return;
	prober_free(v->prober);
	loop_notify_free(v->notify);
	free(v);
}

void verifier_stop(struct verifier *v)
{
	v->is_stopping = true;
	prober_stop(v->prober);
}

bool verifier_is_idle(const struct verifier *v)
{
	return prober_is_idle(v->prober) && !v->is_writing;
}
