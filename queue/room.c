/*
 * room - statvfs() once a second, and posix_fallocate()
 *
 * The ballast is restored only when it leaves something to live on, and not
 * at once: where a write fails although blocks can be had (a quota, a limit on
 * the size of files), it would come and go with every second.
 */
#include "queue/room.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "queue/bodies.h"

#define NAME		"ballast"
#define BALLAST_MAX	(UINT64_C(32) << 20)
#define BALLAST_SHARE	8 /* of a small file system: that part */
#define LOOK_MS		1000
#define PATIENCE_MIN_MS 500
#define PATIENCE_MAX_MS 64000
#define LASTING_MS	60000 /* a ballast that was there for so long has lasted */
#define BLOCK		UINT64_C(4096)

int64_t queue_room_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Should it fail there is no reason to refuse mail: a write will tell. */
static uint64_t look_free(struct queue_room *room)
{
	uint64_t bytes = UINT64_MAX;
	struct statvfs st;

	if (fstatvfs(room->fd, &st) == 0)
		bytes = (uint64_t)st.f_bavail * st.f_frsize;
	atomic_store(&room->free_bytes, bytes);
	return bytes;
}

static void truncate_ballast(struct queue_room *room)
{
	CLEANUP(close_fdp) int fd = openat(room->fd, NAME, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0)
		(void)!ftruncate(fd, 0); /* and keep the name: to make it would need room too */
}

/* What is allocated already stays so: a ballast that a former run has left is found whole. */
static bool make_ballast(struct queue_room *room)
{
	CLEANUP(close_fdp) int fd = -1;
	struct stat st;

	fd = openat(room->fd, NAME, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && (uint64_t)st.st_size > room->ballast_bytes)
		(void)!ftruncate(fd, (off_t)room->ballast_bytes);
	if (posix_fallocate(fd, 0, (off_t)room->ballast_bytes) == 0)
		return true;
	(void)!ftruncate(fd, 0);
	return false;
}

static bool is_whole(const struct queue_room *room)
{
	struct stat st;

	return fstatat(room->fd, NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (uint64_t)st.st_blocks * 512 >= room->ballast_bytes;
}

static bool may_restore(const struct queue_room *room, uint64_t free_bytes)
{
	if (is_whole(room))
		return true;
	if (room->given_up_ms && queue_room_now_ms() - room->given_up_ms < room->patience_ms)
		return false;
	return free_bytes >= room->ballast_bytes + room->ballast_bytes / 4;
}

/* Some more than what ended it, or it would come and go with every message. */
static bool is_enough(const struct queue_room *room, uint64_t free_bytes)
{
	uint64_t wanted = room->minfree_bytes;

	if (!atomic_load(&room->is_open))
		wanted += wanted / 16;
	return room->has_ballast && free_bytes >= wanted;
}

static int change(struct queue_room *room, bool is_open)
{
	if (atomic_exchange(&room->is_open, is_open) == is_open)
		return 0;
	return is_open ? QUEUE_ROOM_BACK : QUEUE_ROOM_ENDED;
}

int queue_room_look(struct queue_room *room)
{
	uint64_t free_bytes = look_free(room);

	room->looked_ms = queue_room_now_ms();
	if (!room->has_ballast && may_restore(room, free_bytes) && make_ballast(room)) {
		room->has_ballast = true;
		room->restored_ms = room->looked_ms;
		free_bytes = look_free(room);
	}
	atomic_store(&room->is_spent, !room->has_ballast);
	return change(room, is_enough(room, free_bytes));
}

int queue_room_give_up(struct queue_room *room)
{
	int64_t now = queue_room_now_ms();

	if (room->has_ballast) {
		truncate_ballast(room);
		room->has_ballast = false;
		room->patience_ms = now - room->restored_ms < LASTING_MS
					    ? MIN(room->patience_ms * 2, PATIENCE_MAX_MS)
					    : PATIENCE_MIN_MS;
		room->given_up_ms = now;
	}
	look_free(room);
	atomic_store(&room->is_spent, true);
	return change(room, false);
}

bool queue_room_is_due(const struct queue_room *room)
{
	return queue_room_now_ms() - room->looked_ms >= LOOK_MS;
}

bool queue_room_is_spent(const struct queue_room *room)
{
	return atomic_load_explicit(&room->is_spent, memory_order_relaxed);
}

/* A message may be half as large again when it is stored, as in Postfix. */
bool queue_room_has(const struct queue_room *room, uint64_t size)
{
	return atomic_load_explicit(&room->is_open, memory_order_relaxed) &&
	       size / 2 * 3 <= atomic_load_explicit(&room->free_bytes, memory_order_relaxed);
}

static uint64_t default_ballast(const struct queue_room *room)
{
	struct statvfs st;
	uint64_t share;

	if (fstatvfs(room->fd, &st) < 0)
		return BALLAST_MAX;
	share = (uint64_t)st.f_blocks * st.f_frsize / BALLAST_SHARE;
	return MAX(MIN(share, BALLAST_MAX) / BLOCK, 1) * BLOCK;
}

int queue_room_open(const char *directory, uint64_t minfree_bytes, uint64_t ballast_bytes,
		    struct queue_room *ret, struct error *err)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, queue_errno(errno), "%s: %s", directory, strerror(errno));
	*ret = (struct queue_room){
		.fd = fd,
		.minfree_bytes = minfree_bytes,
		.ballast_bytes = ballast_bytes,
		.patience_ms = PATIENCE_MIN_MS,
	};
	atomic_init(&ret->is_open, true);
	if (ret->ballast_bytes == 0)
		ret->ballast_bytes = default_ballast(ret);
	return 0;
}

void queue_room_done(struct queue_room *room)
{
	if (room->fd >= 0)
		close(room->fd);
	room->fd = -1;
}
