/*
 * queue - opening and closing, ports, and submitting; thread.c does the work
 *
 * A port's completions have a mutex of their own, and wake() is called under
 * it: once a port's thread has taken the last completion, the queue's thread
 * is done with the port and it may be freed.
 */
#include "queue/queue.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memory.h"
#include "queue/action.h"
#include "queue/body.h"
#include "queue/lock.h"
#include "queue/private.h"
#include "queue/salvage.h"
#include "queue/thread.h"
#include "queue/upkeep.h"

#define BODY_MEMORY_DEFAULT 131072 /* beyond, a row would keep the writer for too long */
#define BATCH_DEFAULT	    128
#define PATH_SIZE	    4096

static int make_directory(const char *directory, struct error *err)
{
	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return error_set(err, queue_errno(errno), "%s: %s", directory, strerror(errno));
	return 0;
}

static int join_path(const char *directory, const char *name, char out[PATH_SIZE],
		     struct error *err)
{
	int len = snprintf(out, PATH_SIZE, "%s/%s", directory, name);

	if (len < 0 || len >= PATH_SIZE)
		return error_set(err, -ENAMETOOLONG, "%s: name too long", directory);
	return 0;
}

static int sync_directory(const char *directory, struct error *err)
{
	CLEANUP(close_fdp) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return error_set(err, queue_errno(errno), "%s: %s", directory, strerror(errno));
	return 0;
}

/*
 * Our directory and those above it may be new, and whoever made them may have been killed before
 * their names were synced: then all that we store would go with the power. A directory that we
 * may not read, or that can't be synced, was made by somebody else.
 */
static int sync_path(const char *directory, struct error *err)
{
	CLEANUP(close_fdp) int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat here, above = { 0 };
	int up;

	if (fd < 0 || fstat(fd, &here) < 0)
		return error_set(err, queue_errno(errno), "%s: %s", directory, strerror(errno));
	for (;;) {
		up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
		if (fd < 0 || fstat(fd, &above) < 0 ||
		    (above.st_ino == here.st_ino && above.st_dev == here.st_dev))
			return 0;
		if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
			return error_set(err, queue_errno(errno), "above %s: %s", directory,
					 strerror(errno));
		here = above;
	}
}

/*
 * A new database beside old bodies: somebody has moved the old one away, and
 * may want to look at them. They are put aside, not swept.
 */
static int put_bodies_aside(struct queue *q, const char *directory, struct error *err)
{
	char from[PATH_SIZE], to[PATH_SIZE], name[64];
	int r;

	snprintf(name, sizeof(name), "bodies.%lld", (long long)clock_wall_ms(q->clock));
	r = join_path(directory, "bodies", from, err);
	if (r == 0)
		r = join_path(directory, name, to, err);
	if (r < 0)
		return r;
	if (rename(from, to) == 0)
		queue_thread_warn(q, "%s: the database is new; what was in bodies/ is now in %s",
				  directory, to);
	else if (errno != ENOENT)
		return error_set(err, queue_errno(errno), "%s: %s", from, strerror(errno));
	return 0;
}

static int found_body(void *arg, int64_t id, struct error *err)
{
	(void)arg;
	(void)id;
	return error_set(err, -EEXIST, "there is a body");
}

static bool has_bodies(const char *directory)
{
	struct queue_bodies bodies = { .fd = -1 };
	bool found;

	queue_bodies_open_existing(directory, &bodies, NULL);
	found = bodies.fd >= 0 && queue_bodies_each(&bodies, found_body, NULL, NULL) == -EEXIST;
	queue_bodies_done(&bodies);
	return found;
}

/* A log that is not empty, beside an empty database, which is damage. */
static bool has_log(const char *database)
{
	char path[PATH_SIZE];
	struct stat st;
	int n = snprintf(path, sizeof(path), "%s-wal", database);

	return n > 0 && (size_t)n < sizeof(path) && stat(path, &st) == 0 && st.st_size > 0;
}

/*
 * Create the database file if there is none, so that it has our mode; SQLite
 * gives it to the log as well. An existing one is not even opened here: to
 * close it would drop the locks that SQLite has on it in this process.
 */
static int create_database(struct queue *q, const char *directory, const char *path,
			   struct error *err)
{
	struct stat st;
	int fd, r;

	if (stat(path, &st) == 0 && (st.st_size > 0 || has_log(path) || !has_bodies(directory)))
		return 0;
	r = put_bodies_aside(q, directory, err);
	if (r < 0 || access(path, F_OK) == 0)
		return r;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set(err, queue_errno(errno), "%s: %s", path, strerror(errno));
	close(fd);
	return sync_directory(directory, err);
}

/*
 * What SQLite has read from the log may be in the system's cache only, as the process that wrote
 * it was killed before it could sync it. Before anything is done that can't be taken back, such
 * as removing the file of a message that has no row, it must be on the disk. (SQLite has no locks
 * on the log, so that to close it here loses none.)
 */
static int sync_log(const char *directory, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	char path[PATH_SIZE];
	int r = join_path(directory, "queue.db-wal", path, err);

	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fsync(fd) < 0)
		return error_set(err, queue_errno(errno), "%s: %s", path, strerror(errno));
	return 0;
}

static int sweep_file(void *arg, int64_t id, struct error *err)
{
	struct queue *q = arg;
	int r = queue_store_has_file(q->store, id, err);

	return r == 0 ? queue_bodies_remove_file(&q->bodies, id, err) : MIN(r, 0);
}

/*
 * The first block of ids. A full disk must not keep mail from being delivered:
 * then nothing is reserved, and the first append that finds room does it.
 */
static int reserve_ids(struct queue *q, struct error *err)
{
	int64_t mark;
	int r;

	queue_ids_init(&q->ids, queue_store_ids_mark(q->store), clock_wall_ms(q->clock));
	mark = queue_ids_mark_due(&q->ids);
	r = queue_store_begin(q->store, err);
	if (r < 0)
		return r;
	queue_store_set_ids_mark(q->store, mark);
	r = queue_store_commit(q->store, err);
	if (r == 0) {
		queue_ids_reserved(&q->ids, mark);
		return 0;
	}
	queue_store_rollback(q->store);
	return r == -ENOSPC ? 0 : r;
}

static int open_database(struct queue *q, const char *directory, size_t memory_max,
			 struct error *err)
{
	char path[PATH_SIZE];
	int r = join_path(directory, "queue.db", path, err);

	if (r == 0)
		r = queue_salvage_resume(directory, err);
	if (r == 0)
		r = create_database(q, directory, path, err);
	if (r == 0)
		r = queue_bodies_open(directory, memory_max, &q->bodies, err);
	if (r == 0)
		r = queue_upkeep_open_store(q, err);
	return r;
}

/* What is done with the database before anybody may ask for anything. */
static int start_with(struct queue *q, const char *directory, struct error *err)
{
	int r;

	queue_upkeep_start(q);
	r = sync_log(directory, err);
	if (r == 0)
		r = queue_bodies_each(&q->bodies, sweep_file, q, err);
	return r == 0 ? reserve_ids(q, err) : r;
}

static int open_files(struct queue *q, const struct queue_options *options, struct error *err)
{
	const char *directory = options->directory;
	size_t memory_max =
		options->body_memory_bytes ? options->body_memory_bytes : BODY_MEMORY_DEFAULT;
	char path[PATH_SIZE];
	struct error reason;
	int r;

	r = make_directory(directory, err);
	if (r == 0)
		r = sync_path(directory, err);
	if (r == 0)
		r = join_path(directory, "queue.lock", path, err);
	if (r < 0)
		return r;
	q->lock_fd = queue_lock(path, err);
	if (q->lock_fd < 0)
		return q->lock_fd;

	r = queue_upkeep_open_room(q, options, err);
	if (r == 0)
		r = open_database(q, directory, memory_max, err);
	if (r == -ENOSPC && q->room.has_ballast) {
		queue_upkeep_failed(q, r, false); /* to open it takes some room too */
		r = open_database(q, directory, memory_max, err);
	}
	if (r < 0)
		return r;
	r = start_with(q, directory, &reason);
	if (queue_upkeep_recover(q, r, &reason))
		r = start_with(q, directory, &reason);
	return r < 0 ? error_set(err, r, "%s", reason.text) : r;
}

/* Signals are for the program's own threads. */
static int start_thread(struct queue *q, struct error *err)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&q->thread, NULL, queue_thread_run, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return error_set(err, -r, "queue thread: %s", strerror(r));
	pthread_setname_np(q->thread, "queue");
	return 0;
}

static void init_condition(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

static struct queue *queue_new(const struct queue_options *options)
{
	struct queue *q = memory_new(sizeof(*q));

	*q = (struct queue){
		.batch_max = options->batch_max ? options->batch_max : BATCH_DEFAULT,
		.clock = options->clock,
		.warn = options->warn,
		.warn_arg = options->warn_arg,
		.lock_fd = -1,
		.directory = strdup(options->directory),
		.bodies = { .fd = -1, .room = &q->room },
		.room = { .fd = -1 },
	};
	queue_claims_init(&q->claims);
	queue_claims_init(&q->cut);
	pthread_mutex_init(&q->mutex, NULL);
	init_condition(&q->arrived);
	list_init(&q->urgent);
	list_init(&q->patient);
	return q;
}

static void queue_free(struct queue *q)
{
	queue_store_close(q->store);
	queue_claims_done(&q->claims);
	queue_claims_done(&q->cut);
	queue_bodies_done(&q->bodies);
	queue_room_done(&q->room);
	buf_done(&q->removed_files);
	pthread_cond_destroy(&q->arrived);
	pthread_mutex_destroy(&q->mutex);
	free(q->directory);
	queue_unlock(q->lock_fd); /* last: now another process may open it */
	free(q);
}
DEFINE_CLEANUP(struct queue *, queue_free);

int queue_open(const struct queue_options *options, struct queue **ret_queue, struct error *err)
{
	CLEANUP(queue_freep) struct queue *q = queue_new(options);
	int r;

	r = open_files(q, options, err);
	if (r < 0)
		return r;
	q->counts = queue_store_counts(q->store);
	q->ledger_head = queue_store_ledger_head(q->store);
	r = start_thread(q, err);
	if (r < 0)
		return r;
	*ret_queue = q;
	q = NULL;
	return 0;
}

void queue_close(struct queue *q)
{
	if (!q)
		return;
	pthread_mutex_lock(&q->mutex);
	assert(q->port_count == 0);
	q->is_stopping = true;
	pthread_cond_signal(&q->arrived);
	pthread_mutex_unlock(&q->mutex);
	pthread_join(q->thread, NULL);
	queue_free(q);
}

struct queue_port *queue_port_new(struct queue *q, void (*wake)(void *arg), void *arg)
{
	struct queue_port *port = memory_new(sizeof(*port));

	*port = (struct queue_port){ .queue = q, .wake = wake, .arg = arg };
	pthread_mutex_init(&port->mutex, NULL);
	list_init(&port->completed);

	pthread_mutex_lock(&q->mutex);
	q->port_count++;
	pthread_mutex_unlock(&q->mutex);
	return port;
}

void queue_port_free(struct queue_port *port)
{
	if (!port)
		return;
	assert(port->pending == 0);
	pthread_mutex_lock(&port->queue->mutex);
	port->queue->port_count--;
	pthread_mutex_unlock(&port->queue->mutex);

	pthread_mutex_lock(&port->mutex); /* the thread may be about to leave wake() */
	pthread_mutex_unlock(&port->mutex);
	pthread_mutex_destroy(&port->mutex);
	free(port);
}

void queue_port_dispatch(struct queue_port *port)
{
	struct list completed, *item;

	list_init(&completed);
	pthread_mutex_lock(&port->mutex);
	while ((item = list_pop(&port->completed)))
		list_push(&completed, item);
	pthread_mutex_unlock(&port->mutex);

	while ((item = list_pop(&completed))) {
		struct queue_request *request = CONTAINER_OF(item, struct queue_request, link);

		port->pending--;
		request->done(request);
	}
}

static void submit(struct queue *q, struct queue_request *request)
{
	struct list *line = queue_thread_is_patient(request) ? &q->patient : &q->urgent;
	bool was_empty;

	pthread_mutex_lock(&q->mutex);
	was_empty = list_is_empty(&q->urgent) && list_is_empty(&q->patient);
	list_push(line, &request->link);
	if (was_empty)
		pthread_cond_signal(&q->arrived);
	pthread_mutex_unlock(&q->mutex);
}

static void submit_from_port(struct queue_port *port, struct queue_request *request,
			     enum queue_request_kind kind)
{
	assert(request->done);
	request->kind = kind;
	request->port = port;
	request->result = 0;
	request->error = (struct error){ 0 };
	port->pending++;
	submit(port->queue, request);
}

void queue_submit_append(struct queue_port *port, struct queue_append *append)
{
	assert(append->message->body->is_finished);
	append->message->size = queue_body_size(append->message->body);
	submit_from_port(port, &append->request, QUEUE_REQUEST_APPEND);
}

void queue_submit_record(struct queue_port *port, struct queue_record *record)
{
	record->removed = false;
	record->is_void = false;
	for (size_t i = 0; i < record->notification_count; i++) {
		struct queue_message *m = record->notifications[i];

		assert(m->body->is_finished);
		m->size = queue_body_size(m->body);
	}
	submit_from_port(port, &record->request, QUEUE_REQUEST_RECORD);
}

void queue_submit_claim(struct queue_port *port, struct queue_claim *claim)
{
	claim->messages = NULL;
	claim->message_count = 0;
	claim->next_due_ms = QUEUE_NEVER;
	submit_from_port(port, &claim->request, QUEUE_REQUEST_CLAIM);
}

void queue_submit_release(struct queue_port *port, struct queue_release *release)
{
	struct queue_release *copy;

	if (release->request.done) {
		submit_from_port(port, &release->request, QUEUE_REQUEST_RELEASE);
		return;
	}
	copy = memory_new(sizeof(*copy));
	*copy = (struct queue_release){ .request.kind = QUEUE_REQUEST_RELEASE, .id = release->id };
	submit(port->queue, &copy->request);
}

void queue_submit_action(struct queue_port *port, struct queue_action *action)
{
	action->messages = action->recipients = action->matched = 0;
	action->missing = NULL;
	action->missing_count = 0;
	submit_from_port(port, &action->request, QUEUE_REQUEST_ACTION);
}

void queue_submit_active(struct queue_port *port, struct queue_active *active)
{
	active->ids = NULL;
	active->id_count = 0;
	submit_from_port(port, &active->request, QUEUE_REQUEST_ACTIVE);
}

const char *queue_directory(const struct queue *q)
{
	return q->directory;
}

bool queue_has_room(const struct queue *q, uint64_t size)
{
	return queue_room_has(&q->room, size);
}

void queue_counts(struct queue *q, struct queue_counts *ret)
{
	pthread_mutex_lock(&q->mutex);
	*ret = q->counts;
	pthread_mutex_unlock(&q->mutex);
}

void queue_keep_ledger(struct queue *q, int64_t lifetime_s)
{
	atomic_store(&q->ledger_lifetime_s, lifetime_s);
}

void queue_ledger_head(struct queue *q, struct queue_ledger_link *ret)
{
	pthread_mutex_lock(&q->mutex);
	*ret = q->ledger_head;
	pthread_mutex_unlock(&q->mutex);
}

struct queue_message *queue_message_new(struct queue *q)
{
	struct queue_message *m;
	bool is_wanted;
	int64_t id = queue_ids_take(&q->ids, &is_wanted);

	if (is_wanted) {
		pthread_mutex_lock(&q->mutex);
		pthread_cond_signal(&q->arrived);
		pthread_mutex_unlock(&q->mutex);
	}
	m = queue_message_make(id, clock_wall_ms(q->clock));
	m->body = queue_body_new(&q->bodies, id);
	return m;
}
