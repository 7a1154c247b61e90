/*
 * upkeep - checkpoints, room and renewal of the log
 *
 * The ballast has to pay for the worst that a full disk can find: a log of
 * frames_max frames, all of which are new to the database, and the outcomes
 * that come meanwhile. An outcome alone takes 14 frames at most, a batch of
 * them about 400 (docs/queue.md); so half of the ballast is the log's.
 *
 * A commit whose sync failed may be on the disk or not, and the kernel may
 * have dropped what it could not write and call the file clean: no later sync
 * would tell. SQLite takes such a commit back and writes over its frames; but
 * should we die before, it would be found in the log. So nothing more is
 * committed until a checkpoint has moved everything that counts into the
 * database, synced it, and cut the log to nothing.
 */
#include "queue/upkeep.h"

#include <errno.h>

#include "queue/private.h"
#include "queue/salvage.h"

#define FRAME_BYTES	4120
#define LOG_FRAMES_MAX	4000 /* 16 MiB: then the log is moved into the database */
#define LOG_FRAMES_MIN	64
#define SHRINK_PAGES	1024
#define TIGHT_PAGES	64 /* of one step while there is no room: it writes to the log first */
#define TIGHT_STEPS	64
#define TOO_LITTLE	"too little is free"
#define RECOVER_MS	600000 /* what is damaged again so soon has a disk that cannot be relied on */
#define RENEW_MS	1000
#define TEND_MS		1000 /* between two looks at the ledger */
#define EXPIRY_ROWS	500  /* of a step: some milliseconds, in which mail waits */
#define BLOCKS		64
#define FREE_PAGES_KEPT 4096 /* 16 MiB, for the next burst */

static void tell_change(struct queue *q, int change, const char *why)
{
	double mib = 1 << 20;

	if (change == QUEUE_ROOM_ENDED)
		queue_thread_warn(q,
				  "no room for mail: %s; %.1f MiB are free, and queue_minfree is "
				  "%.1f MiB; clients get 452 4.3.1 from here on, deliveries go on",
				  why, (double)atomic_load(&q->room.free_bytes) / mib,
				  (double)q->room.minfree_bytes / mib);
	else if (change == QUEUE_ROOM_BACK)
		queue_thread_warn(q, "there is room for mail again: %.1f MiB are free",
				  (double)atomic_load(&q->room.free_bytes) / mib);
}

int queue_upkeep_open_room(struct queue *q, const struct queue_options *options, struct error *err)
{
	int r = queue_room_open(options->directory, options->minfree_bytes, options->ballast_bytes,
				&q->room, err);

	if (r < 0)
		return r;
	tell_change(q, queue_room_look(&q->room), TOO_LITTLE);
	return 0;
}

void queue_upkeep_start(struct queue *q)
{
	uint64_t frames = q->room.ballast_bytes / 2 / FRAME_BYTES;

	q->log_frames_max = (int)MAX(MIN(frames, LOG_FRAMES_MAX), LOG_FRAMES_MIN);
	queue_store_limit_log(q->store, (int64_t)q->log_frames_max * FRAME_BYTES);
}

void queue_upkeep_failed(struct queue *q, int r, bool in_commit)
{
	if (r == -ENOSPC)
		tell_change(q, queue_room_give_up(&q->room), "the disk is full");
	else if (in_commit && r == -EIO)
		q->is_log_suspect = true;
}

/* ---- damage ---- */

static int open_as_it_is(struct queue *q, struct error *err)
{
	struct buf path = { 0 };
	int r;

	buf_printf(&path, "%s/queue.db", q->directory);
	buf_append(&path, "", 1);
	r = queue_store_open(buf_slice(&path).ptr, false, &q->store, err);
	buf_done(&path);
	return r;
}

static int salvage(struct queue *q, int64_t ids_mark, const char *reason, struct error *err)
{
	struct queue_salvage salvage = {
		.directory = q->directory,
		.bodies = &q->bodies,
		.now_ms = clock_wall_ms(q->clock),
		.ids_mark = ids_mark,
		.warn = q->warn,
		.warn_arg = q->warn_arg,
	};

	return queue_salvage(&salvage, reason, err);
}

int queue_upkeep_open_store(struct queue *q, struct error *err)
{
	struct error reason;
	int r = queue_salvage_check(q->directory, &reason);

	if (r == 0)
		r = open_as_it_is(q, &reason);
	if (r != -EUCLEAN)
		return r < 0 ? error_set(err, r, "%s", reason.text) : r;
	r = salvage(q, 0, reason.text, err);
	if (r < 0) {
		error_prefix(err, "the queue database is damaged (%s), and cannot be salvaged",
			     reason.text);
		return r;
	}
	return open_as_it_is(q, err);
}

bool queue_upkeep_may_recover(const struct queue *q)
{
	return !q->recovered_ms || queue_room_now_ms() - q->recovered_ms >= RECOVER_MS;
}

/* It takes as much room again as the database has: the ballast is the last of it. */
static int salvage_running(struct queue *q, const char *reason)
{
	bool had_ballast = q->room.has_ballast;
	struct error err;
	int r = salvage(q, queue_ids_mark(&q->ids), reason, &err);

	if (r < 0)
		queue_upkeep_failed(q, r, false);
	if (r < 0 && had_ballast && !q->room.has_ballast)
		r = salvage(q, queue_ids_mark(&q->ids), reason, &err);
	q->recovered_ms = queue_room_now_ms();
	if (r < 0)
		queue_thread_warn(q,
				  "the queue database is damaged (%s), and cannot be salvaged: %s",
				  reason, err.text);
	return r;
}

/* What cannot be salvaged now is opened again as it is, and most of it will work. */
bool queue_upkeep_recover(struct queue *q, int r, const struct error *reason)
{
	struct error copy, err;

	if (r != -EUCLEAN || !queue_upkeep_may_recover(q))
		return false;
	copy = *reason;
	queue_store_abandon(q->store);
	q->store = NULL;
	r = salvage_running(q, copy.text);
	queue_claims_rewind(&q->claims);
	return queue_upkeep_has_store(q, &err) && r == 0;
}

bool queue_upkeep_has_store(struct queue *q, struct error *err)
{
	int r;

	if (q->store)
		return true;
	r = queue_salvage_resume(q->directory, err);
	if (r == 0)
		r = open_as_it_is(q, err);
	if (r == -EUCLEAN && queue_upkeep_may_recover(q)) {
		r = salvage_running(q, err->text);
		if (r == 0)
			r = open_as_it_is(q, err);
	}
	if (r == 0)
		queue_upkeep_start(q);
	return r == 0;
}

/* ---- the log, files, room ---- */

static int checkpoint_failed(struct queue *q, int r, const struct error *err)
{
	if (!q->has_checkpoint_failed)
		queue_thread_warn(q, "%s: the log grows until this works again", err->text);
	q->has_checkpoint_failed = true;
	return r;
}

static int checkpoint(struct queue *q, int frames_max)
{
	struct error err;
	int r;

	if (queue_store_log_frames(q->store) <= frames_max)
		return 0;
	r = queue_store_checkpoint(q->store, &err);
	if (r == -ENOSPC && q->room.has_ballast) {
		queue_upkeep_failed(q, r, false);
		r = queue_store_checkpoint(q->store, &err);
	}
	if (r < 0) {
		queue_upkeep_failed(q, r, true);
		return queue_upkeep_recover(q, r, &err) ? 0 : checkpoint_failed(q, r, &err);
	}
	q->has_checkpoint_failed = false;
	return 0;
}

/* Not with every request: a disk that fails takes its time, and each try may lose something. */
int queue_upkeep_prepare(struct queue *q, struct error *err)
{
	struct error reason;
	int r;

	if (!q->is_log_suspect)
		return 0;
	if (q->renew_ms && queue_room_now_ms() - q->renew_ms < RENEW_MS)
		return error_set(err, -EIO, "nothing is stored after a write that failed");
	q->renew_ms = queue_room_now_ms();
	r = queue_store_renew_log(q->store, &reason);
	if (r == 0) {
		q->is_log_suspect = false;
		q->renew_ms = 0;
		queue_thread_warn(q, "the queue's log was renewed after a write that failed");
		return 0;
	}
	return error_set(err, r, "nothing is stored after a write that failed: %s", reason.text);
}

static void remove_files(struct queue *q)
{
	struct error err;
	int64_t id;

	while (buf_len(&q->removed_files) > 0) {
		memcpy(&id, buf_slice(&q->removed_files).ptr, sizeof(id));
		buf_consume(&q->removed_files, sizeof(id));
		if (queue_bodies_remove_file(&q->bodies, id, &err) < 0)
			queue_thread_warn(q, "%s (it is removed at the next start)", err.text);
	}
}

void queue_upkeep_after(struct queue *q)
{
	remove_files(q);
	if (q->store)
		checkpoint(q, q->log_frames_max);
}

/* Whatever of the database is free goes back to the file system, in steps that the log can take. */
static void make_room(struct queue *q)
{
	bool has_more = true;
	struct error err;

	if (!q->store || queue_upkeep_prepare(q, &err) < 0)
		return;
	for (int i = 0; i < TIGHT_STEPS && has_more; i++)
		if (checkpoint(q, 0) < 0 || !q->store ||
		    queue_store_shrink(q->store, 0, TIGHT_PAGES, &has_more, &err) < 0)
			return; /* an outcome will try harder */
	if (q->store)
		checkpoint(q, 0);
}

void queue_upkeep_look(struct queue *q)
{
	int change;

	if (!queue_room_is_due(&q->room))
		return;
	change = queue_room_look(&q->room);
	if (change != QUEUE_ROOM_BACK && !queue_room_has(&q->room, 0)) {
		tell_change(q, change, TOO_LITTLE);
		make_room(q);
		change = queue_room_look(&q->room);
	}
	tell_change(q, change, TOO_LITTLE);
}

/* Returns how much was done, or an error. */
static int tend_ledger(struct queue *q, struct error *err)
{
	int64_t lifetime_s = atomic_load(&q->ledger_lifetime_s);
	int64_t before_ms = clock_wall_ms(q->clock) - lifetime_s * 1000;
	bool has_expired = false;
	int r = 0, blocks;

	if (lifetime_s != 0)
		r = queue_store_ledger_expire(q->store, before_ms, EXPIRY_ROWS, &has_expired, err);
	blocks = r == 0 ? queue_store_blocks_note(q->store, BLOCKS, err) : r;
	return blocks < 0 ? blocks : blocks + has_expired;
}

/*
 * Also while there is mail without end; but not while the disk is full: what
 * is left in the log is for outcomes.
 */
void queue_upkeep_ledger(struct queue *q)
{
	int64_t now_ms = queue_room_now_ms();
	bool in_commit = false;
	struct error err;
	int r;

	if (!q->store || now_ms - q->tended_ms < TEND_MS || queue_room_is_spent(&q->room))
		return;
	q->tended_ms = now_ms;
	r = queue_upkeep_prepare(q, &err);
	if (r == 0)
		r = queue_store_begin(q->store, &err);
	if (r == 0)
		r = tend_ledger(q, &err);
	if (r > 0) {
		in_commit = true;
		r = queue_store_commit(q->store, &err);
	}
	queue_store_rollback(q->store); /* what was not worth a commit, too */
	if (r < 0) {
		queue_upkeep_failed(q, r, in_commit);
		queue_upkeep_recover(q, r, &err);
	}
}

bool queue_upkeep_idle(struct queue *q)
{
	struct error err;
	bool has_more = false;

	if (!q->store || queue_upkeep_prepare(q, &err) < 0)
		return true;
	checkpoint(q, 0);
	if (!q->store ||
	    queue_store_shrink(q->store, FREE_PAGES_KEPT, SHRINK_PAGES, &has_more, &err) < 0)
		return false; /* a luxury: it can wait for better times */
	return has_more;
}
