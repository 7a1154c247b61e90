/*
 * body - in memory while it is small; then a file is created, takes what is
 * there, and from then on the memory is only what has not been written yet
 */
#include "queue/body.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "base/memory.h"

struct queue_body *queue_body_new(const struct queue_bodies *bodies, int64_t id)
{
	struct queue_body *b = memory_new(sizeof(*b));

	*b = (struct queue_body){ .bodies = bodies, .id = id, .fd = -1 };
	return b;
}

void queue_body_free(struct queue_body *b)
{
	if (!b)
		return;
	if (b->fd >= 0)
		close(b->fd);
	if (b->in_file && !b->is_stored)
		queue_bodies_remove_file(b->bodies, b->id, NULL); /* else swept at the next start */
	XXH3_freeState(b->state);
	buf_done(&b->memory);
	free(b);
}

void queue_body_append(struct queue_body *b, struct slice bytes)
{
	assert(!b->is_finished);
	buf_append_slice(&b->memory, bytes);
	b->size += bytes.len;
}

bool queue_body_must_spill(const struct queue_body *b)
{
	return buf_len(&b->memory) > b->bodies->memory_max;
}

bool queue_body_in_file(const struct queue_body *b)
{
	return b->in_file;
}

uint64_t queue_body_size(const struct queue_body *b)
{
	return b->size;
}

static int create_file(struct queue_body *b, struct error *err)
{
	int fd = queue_bodies_create_file(b->bodies, b->id, err);

	if (fd < 0)
		return fd;
	b->fd = fd;
	b->in_file = true;
	b->state = XXH3_createState();
	if (!b->state)
		return error_set(err, -ENOMEM, "out of memory");
	XXH3_64bits_reset(b->state);
	return 0;
}

int queue_body_spill(struct queue_body *b, struct error *err)
{
	struct slice rest = buf_slice(&b->memory);
	int r = 0;

	assert(!b->is_finished);
	if (b->bodies->room && queue_room_is_spent(b->bodies->room))
		return error_set(err, -ENOSPC, "body file: the disk is full");
	if (b->fd < 0)
		r = create_file(b, err);
	if (r < 0)
		return r;

	XXH3_64bits_update(b->state, rest.ptr, rest.len);
	while (rest.len > 0) {
		ssize_t n = write(b->fd, rest.ptr, rest.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, queue_errno(errno), "body file: %s", strerror(errno));
		rest = slice_skip(rest, (size_t)n);
	}
	buf_clear(&b->memory);
	return 0;
}

/* The bytes, then the name: only then may a row promise them. */
static int finish_file(struct queue_body *b, struct error *err)
{
	int r = queue_body_spill(b, err);

	if (r < 0)
		return r;
	if (fsync(b->fd) < 0)
		return error_set(err, queue_errno(errno), "body file: %s", strerror(errno));
	close(b->fd);
	b->fd = -1;
	b->checksum = XXH3_64bits_digest(b->state);
	buf_done(&b->memory);
	return queue_bodies_sync_name(b->bodies, b->id, err);
}

int queue_body_finish(struct queue_body *b, struct error *err)
{
	struct slice bytes = buf_slice(&b->memory);
	int r = 0;

	assert(!b->is_finished);
	if (b->in_file)
		r = finish_file(b, err);
	else
		b->checksum = XXH3_64bits(bytes.ptr, bytes.len);
	if (r == 0)
		b->is_finished = true;
	return r;
}

int queue_body_load_memory(const struct queue_bodies *bodies, int64_t id, uint64_t checksum,
			   struct slice bytes, struct queue_body **ret_body, struct error *err)
{
	struct queue_body *b;

	if (XXH3_64bits(bytes.ptr, bytes.len) != checksum)
		return error_set(err, -EBADMSG, "the body is damaged: its checksum is wrong");

	b = queue_body_new(bodies, id);
	buf_append_slice(&b->memory, bytes);
	b->size = bytes.len;
	b->checksum = checksum;
	b->is_finished = b->is_stored = true;
	*ret_body = b;
	return 0;
}

int queue_body_load_file(const struct queue_bodies *bodies, int64_t id, uint64_t size,
			 uint64_t checksum, struct queue_body **ret_body, struct error *err)
{
	struct queue_body *b;
	int r = queue_bodies_check_file(bodies, id, size, err);

	if (r < 0)
		return r;
	b = queue_body_new(bodies, id);
	b->size = size;
	b->checksum = checksum;
	b->is_finished = b->is_stored = b->in_file = true;
	*ret_body = b;
	return 0;
}

struct slice queue_body_memory(const struct queue_body *b)
{
	assert(!b->in_file);
	return buf_slice(&b->memory);
}

/* What a reader of a file needs; made by its first read. */
struct reading {
	int fd;
	XXH3_state_t *checksum;
};

void queue_body_reader_init(struct queue_body_reader *r, struct queue_body *b)
{
	assert(b->is_finished);
	*r = (struct queue_body_reader){ .body = b };
}

void queue_body_reader_done(struct queue_body_reader *r)
{
	struct reading *reading = r->checksum;

	if (!reading)
		return;
	close(reading->fd);
	XXH3_freeState(reading->checksum);
	free(reading);
	r->checksum = NULL;
}

static int open_reading(struct queue_body_reader *r, struct error *err)
{
	const struct queue_body *b = r->body;
	struct reading *reading;
	int result, fd;

	result = queue_bodies_check_file(b->bodies, b->id, b->size, err);
	if (result < 0)
		return result;
	fd = queue_bodies_open_file(b->bodies, b->id, err);
	if (fd < 0)
		return fd;

	reading = memory_new(sizeof(*reading));
	*reading = (struct reading){ .fd = fd, .checksum = XXH3_createState() };
	r->checksum = reading;
	if (!reading->checksum)
		return error_set(err, -ENOMEM, "out of memory");
	XXH3_64bits_reset(reading->checksum);
	return 0;
}

/* Fill all of ptr[0..len): the size was checked, so an early end is damage. */
static int read_file(const struct reading *reading, uint64_t offset, char *ptr, size_t len,
		     struct error *err)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(reading->fd, ptr + done, len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, -errno, "body file: %s", strerror(errno));
		if (n == 0)
			return error_set(err, -EBADMSG, "the body is damaged: its file ends early");
		done += (size_t)n;
	}
	XXH3_64bits_update(reading->checksum, ptr, len);
	return 0;
}

static int read_piece(struct queue_body_reader *r, char *ptr, size_t len, struct error *err)
{
	const struct queue_body *b = r->body;
	const struct reading *reading;
	int result = 0;

	if (!r->checksum)
		result = open_reading(r, err);
	if (result < 0)
		return result;
	reading = r->checksum;
	result = read_file(reading, r->offset, ptr, len, err);
	if (result < 0)
		return result;
	if (r->offset + len == b->size && XXH3_64bits_digest(reading->checksum) != b->checksum)
		return error_set(err, -EBADMSG, "the body is damaged: its checksum is wrong");
	return 0;
}

int64_t queue_body_read(struct queue_body_reader *r, size_t max, struct buf *out, struct error *err)
{
	const struct queue_body *b = r->body;
	size_t len = (size_t)MIN(b->size - r->offset, max);
	int result = 0;

	if (len == 0)
		return 0;
	if (b->in_file)
		result = read_piece(r, buf_reserve(out, len), len, err);
	else
		memcpy(buf_reserve(out, len), buf_slice(&b->memory).ptr + r->offset, len);
	if (result < 0)
		return result;
	buf_commit(out, len);
	r->offset += len;
	return (int64_t)len;
}
