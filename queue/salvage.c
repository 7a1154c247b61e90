/*
 * salvage - the order of files
 *
 *	queue.db.salvage	being made: worthless after a crash
 *	queue.db.salvaged	whole and synced: from here on the new database
 *	queue.db.damaged.TIME	the old one, with its -wal
 *
 * The step from the first name to the second decides. What follows can be done
 * again: the old log and the old database move away, and when that is on the
 * disk the new one takes the name. TIME is when the new one was finished, so that it is the same if
 * a crash comes in between.
 *
 * Bodies in files are linked into bodies.damaged.TIME unless the new database
 * knows them. Some may belong to messages that are being received just now:
 * their links are superfluous, and that does not matter.
 */
#include "queue/salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "queue/salvage_image.h"
#include "queue/salvage_rows.h"
#include "queue/store.h"

#define IDS_SHOWN 20

struct files {
	const struct queue_salvage *salvage;
	struct arena arena;
	const char *db, *fresh, *done;
	const char *kept_bodies; /* NULL: none had to be kept */
	unsigned int kept;
	struct queue_store *store; /* the new one, while bodies are compared with it */
	struct queue_salvaged result;
};

static const char *path_of(struct arena *arena, const char *directory, const char *name)
{
	return arena_printf(arena, "%s/%s", directory, name);
}

static int set_errno(struct error *err, const char *path)
{
	return error_set(err, queue_errno(errno), "%s: %s", path, strerror(errno));
}

static int sync_path(const char *path, struct error *err)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? set_errno(err, path) : 0;
}

/* That it is not there is fine. */
static int move(const char *from, const char *to, struct error *err)
{
	return rename(from, to) < 0 && errno != ENOENT ? set_errno(err, from) : 0;
}

/* With what SQLite puts beside it. */
static void remove_database(struct arena *arena, const char *path)
{
	unlink(arena_printf(arena, "%s-wal", path));
	unlink(arena_printf(arena, "%s-shm", path));
	unlink(path);
}

static void warn(const struct queue_salvage *s, const char *text)
{
	if (s->warn)
		s->warn(s->warn_arg, text);
}

/* ---- the old one goes, the new one comes ---- */

/* Returns the name that the old one has now in *ret_aside. */
static int swap(struct arena *arena, const char *directory, const char **ret_aside,
		struct error *err)
{
	const char *db = path_of(arena, directory, "queue.db");
	const char *done = path_of(arena, directory, "queue.db.salvaged"), *aside;
	struct stat st;
	int r;

	if (stat(done, &st) < 0)
		return set_errno(err, done);
	aside = arena_printf(arena, "%s.damaged.%lld", db,
			     (long long)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000);
	unlink(arena_printf(arena, "%s-shm", db));
	r = move(arena_printf(arena, "%s-wal", db), arena_printf(arena, "%s-wal", aside), err);
	if (r == 0)
		r = move(db, aside, err);
	if (r == 0) /* or a power cut could leave the old log beside the new database */
		r = sync_path(directory, err);
	if (r == 0)
		r = move(done, db, err);
	*ret_aside = aside;
	return r == 0 ? sync_path(directory, err) : r;
}

int queue_salvage_resume(const char *directory, struct error *err)
{
	struct arena arena = { 0 };
	const char *aside;
	int r = 0;

	remove_database(&arena, path_of(&arena, directory, "queue.db.salvage"));
	if (access(path_of(&arena, directory, "queue.db.salvaged"), F_OK) == 0)
		r = swap(&arena, directory, &aside, err);
	arena_done(&arena);
	return r;
}

/* ---- the new one ---- */

static int make_empty(struct files *f, const char *path, struct error *err)
{
	CLEANUP(queue_store_closep) struct queue_store *store = NULL;
	CLEANUP(close_fdp) int fd = -1;

	remove_database(&f->arena, path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return set_errno(err, path);
	return queue_store_open(path, false, &store, err);
}

static int build(struct files *f, struct error *err)
{
	const struct queue_salvage *s = f->salvage;
	int r = make_empty(f, f->fresh, err);

	return r == 0 ? queue_salvage_rows(f->db, f->fresh, s->bodies, s->ids_mark, s->now_ms,
					   &f->result, err)
		      : r;
}

static int keep_body(void *arg, int64_t id, struct error *err)
{
	struct files *f = arg;
	char name[QUEUE_ID_SIZE];
	const char *from, *to;
	int r = queue_store_has_file(f->store, id, err);

	if (r != 0)
		return MIN(r, 0);
	if (!f->kept_bodies) {
		f->kept_bodies = arena_printf(&f->arena, "%s/bodies.damaged.%lld",
					      f->salvage->directory, (long long)f->salvage->now_ms);
		if (mkdir(f->kept_bodies, 0700) < 0 && errno != EEXIST)
			return set_errno(err, f->kept_bodies);
	}
	queue_id_format(id, name);
	from = arena_printf(&f->arena, "%s/bodies/%X/%s", f->salvage->directory,
			    (unsigned int)(id % 16), name);
	to = arena_printf(&f->arena, "%s/%s", f->kept_bodies, name);
	if (link(from, to) < 0 && errno != EEXIST && errno != ENOENT)
		return set_errno(err, to);
	f->kept++;
	return 0;
}

/* The ledger records where its chain is broken now. */
static int mend_ledger(struct files *f, struct error *err)
{
	bool is_known = f->result.expected >= 0;
	struct queue_ledger_ends ends;
	int r = is_known ? queue_store_ledger_ends(f->store, &ends, err) : 0;

	if (r == 0)
		r = queue_store_begin(f->store, err);
	if (r == 0)
		r = queue_store_ledger_mend(f->store, is_known ? &ends : NULL, f->salvage->now_ms,
					    err);
	return r == 0 ? queue_store_commit(f->store, err) : r;
}

/* What takes the queue's own words, in the new database. */
static int finish(struct files *f, struct error *err)
{
	int r = queue_store_open(f->fresh, false, &f->store, err);

	if (r == 0)
		r = mend_ledger(f, err);
	if (r == 0)
		r = queue_bodies_each(f->salvage->bodies, keep_body, f, err);
	if (r == 0) /* closing does that, too, but says nothing when it fails */
		r = queue_store_renew_log(f->store, err);
	queue_store_close(f->store);
	f->store = NULL;
	return r == 0 && f->kept_bodies ? sync_path(f->kept_bodies, err) : r;
}

/* ---- what is said about it ---- */

static int compare_ids(const void *a, const void *b)
{
	int64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

static void tell_held(struct files *f)
{
	size_t count = buf_len(&f->result.held) / sizeof(int64_t), shown = 0;
	int64_t id, before = 0;
	struct buf names = { 0 };
	char name[QUEUE_ID_SIZE];

	if (count == 0)
		return;
	qsort(f->result.held.mem + f->result.held.start, count, sizeof(int64_t), compare_ids);
	for (size_t i = 0; i < count; i++) {
		memcpy(&id, buf_slice(&f->result.held).ptr + i * sizeof(id), sizeof(id));
		if (id == before)
			continue;
		before = id;
		queue_id_format(id, name);
		if (shown++ < IDS_SHOWN)
			buf_printf(&names, " %s", name);
	}
	warn(f->salvage, arena_printf(&f->arena,
				      "of %zu messages a part was lost, and they wait for you with "
				      "a recipient that is held:%.*s%s",
				      shown, (int)buf_len(&names), buf_slice(&names).ptr,
				      shown > IDS_SHOWN ? " and more" : ""));
	buf_done(&names);
}

/* How many messages are missing altogether, by the old one's own count. */
static const char *lost(struct files *f)
{
	int64_t expected = f->result.expected, messages = f->result.messages;

	if (expected < 0)
		return "how many there were is not known";
	if (expected <= messages)
		return "which is all there were";
	return arena_printf(&f->arena, "%lld less than there were",
			    (long long)(expected - messages));
}

static void tell(struct files *f, const char *reason, const char *aside)
{
	warn(f->salvage,
	     arena_printf(&f->arena,
			  "the queue database was damaged (%s) and is kept as %s; %lld messages "
			  "are in a new one, %s",
			  reason, aside, (long long)f->result.messages, lost(f)));
	if (f->result.pages > 0)
		warn(f->salvage, arena_printf(&f->arena,
					      "%lld pages of the damaged database could not be "
					      "read as a whole",
					      (long long)f->result.pages));
	tell_held(f);
	if (f->kept > 0)
		warn(f->salvage, arena_printf(&f->arena,
					      "%u body files that belong to no message in the "
					      "new database are kept in %s",
					      f->kept, f->kept_bodies));
}

int queue_salvage(const struct queue_salvage *salvage, const char *reason, struct error *err)
{
	struct files f = { .salvage = salvage };
	const char *directory = salvage->directory, *aside = "";
	int r;

	f.db = path_of(&f.arena, directory, "queue.db");
	f.fresh = path_of(&f.arena, directory, "queue.db.salvage");
	f.done = path_of(&f.arena, directory, "queue.db.salvaged");
	r = build(&f, err);
	if (r == 0)
		r = finish(&f, err);
	if (r == 0)
		r = sync_path(f.fresh, err);
	if (r == 0)
		r = move(f.fresh, f.done, err);
	if (r == 0)
		r = sync_path(directory, err);
	if (r == 0)
		r = swap(&f.arena, directory, &aside, err);
	if (r == 0)
		tell(&f, reason, aside);
	else
		remove_database(&f.arena, f.fresh);
	buf_done(&f.result.held);
	arena_done(&f.arena);
	return r;
}

static int check_log(const char *database, const char *path, struct error *err)
{
	struct queue_log log;
	struct stat st;
	int r = queue_log_open(path, &log, err);

	if (r == 0 && log.is_damaged)
		r = error_set(err, -EUCLEAN, "its log is damaged");
	else if (r == 0 && log.count > 0 && stat(database, &st) == 0 && st.st_size == 0)
		r = error_set(err, -EUCLEAN, "it is empty, and its log is not");
	queue_log_done(&log);
	return r;
}

int queue_salvage_check(const char *directory, struct error *err)
{
	CLEANUP(queue_image_closep) struct queue_image *image = NULL;
	struct arena arena = { 0 };
	const char *database = path_of(&arena, directory, "queue.db");
	const char *fault;
	int r = check_log(database, path_of(&arena, directory, "queue.db-wal"), err);

	if (r == 0)
		r = queue_image_open(database, &image, err);
	fault = r == 0 ? queue_image_fault(image) : NULL;
	if (fault)
		r = error_set(err, -EUCLEAN, "%s", fault);
	arena_done(&arena);
	return r;
}
