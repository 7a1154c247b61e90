/*
 * salvage_log - which frames of a log are what they were when they were written
 *
 * sqlite.org/fileformat2.html section 4. The checksum of a frame goes on from
 * that of the frame before, so SQLite stops at the first that is wrong. But
 * each frame has its sum written in it: behind a damaged one the chain can be
 * taken up again. Frames of an earlier generation have other salts.
 *
 * A commit is synced before the next one is begun, and the header before any
 * frame. So a wrong frame with a whole commit and more behind it is damage; in
 * the last commit of a log it is what a power cut leaves.
 */
#include "queue/salvage_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/memory.h"
#include "queue/bodies.h"

#define HEADER	     32
#define FRAME_HEADER 24
#define FRAME	     (FRAME_HEADER + QUEUE_PAGE_SIZE)
#define MAGIC	     0x377f0682u /* the lowest bit: sums are of big-endian words */
#define VERSION	     3007000u
#define FRAMES_MAX   (1u << 24)

struct chain {
	unsigned char salts[8];
	bool is_big_endian;
	uint32_t sum[2];
};

static uint32_t big(const unsigned char *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static uint32_t little(const unsigned char *b)
{
	return (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0];
}

static void add(struct chain *chain, const unsigned char *bytes, size_t len)
{
	uint32_t *sum = chain->sum;

	for (size_t i = 0; i < len; i += 8) {
		sum[0] += (chain->is_big_endian ? big : little)(bytes + i) + sum[1];
		sum[1] += (chain->is_big_endian ? big : little)(bytes + i + 4) + sum[0];
	}
}

/* Go on from what is written there, right or wrong. */
static void take_sum(struct chain *chain, const unsigned char *bytes)
{
	chain->sum[0] = big(bytes);
	chain->sum[1] = big(bytes + 4);
}

static bool is_sum(const struct chain *chain, const unsigned char *bytes)
{
	return chain->sum[0] == big(bytes) && chain->sum[1] == big(bytes + 4);
}

static bool is_native_big_endian(void)
{
	const uint32_t one = 1;
	unsigned char first;

	memcpy(&first, &one, 1);
	return first == 0;
}

/* Without a header the salts are those of the second frame: the first is likely to be hit as well. */
static void guess(struct queue_log *log, struct chain *chain)
{
	chain->is_big_endian = is_native_big_endian();
	if (pread(log->fd, chain->salts, 8, HEADER + FRAME + 8) != 8 &&
	    pread(log->fd, chain->salts, 8, HEADER + 8) != 8)
		memset(chain->salts, 0, 8);
}

enum header { HEADER_RIGHT, HEADER_WRONG, HEADER_EMPTY };

static enum header read_header(struct queue_log *log, struct chain *chain)
{
	static const unsigned char zeros[HEADER];
	unsigned char header[HEADER] = { 0 };
	bool is_read = pread(log->fd, header, HEADER, 0) == HEADER, is_right;

	*chain = (struct chain){ .is_big_endian = big(header) & 1 };
	memcpy(chain->salts, header + 16, 8);
	add(chain, header, 24);
	is_right = is_read && (big(header) & ~1u) == MAGIC && big(header + 4) == VERSION &&
		   big(header + 8) == QUEUE_PAGE_SIZE && is_sum(chain, header + 24);
	if (!is_right)
		guess(log, chain);
	take_sum(chain, header + 24);
	if (is_right)
		return HEADER_RIGHT;
	return is_read && memcmp(header, zeros, HEADER) == 0 ? HEADER_EMPTY : HEADER_WRONG;
}

static struct queue_frame read_frame(int fd, size_t index, struct chain *chain)
{
	unsigned char bytes[FRAME];
	struct queue_frame frame = { 0 };

	if (pread(fd, bytes, FRAME, (off_t)(HEADER + index * FRAME)) != FRAME)
		return frame;
	add(chain, bytes, 8);
	add(chain, bytes + FRAME_HEADER, QUEUE_PAGE_SIZE);
	frame.page = big(bytes);
	frame.size_after = big(bytes + 4);
	frame.is_good = frame.page > 0 && memcmp(bytes + 8, chain->salts, 8) == 0 &&
			is_sum(chain, bytes + 16);
	take_sum(chain, bytes + 16);
	return frame;
}

/* The number of frames up to the end of the last commit among the first total. */
static size_t committed(const struct queue_log *log, size_t total)
{
	while (total > 0 &&
	       (!log->frames[total - 1].is_good || log->frames[total - 1].size_after == 0))
		total--;
	return total;
}

/* Whether a commit ends behind the frame that is wrong, and another frame is behind that. */
static bool has_hole(const struct queue_log *log, size_t wrong, size_t total)
{
	size_t i = wrong;

	while (i < total && (!log->frames[i].is_good || log->frames[i].size_after == 0))
		i++;
	for (i++; i < total; i++)
		if (log->frames[i].is_good)
			return true;
	return false;
}

static void judge(struct queue_log *log, enum header header, size_t total)
{
	size_t wrong = 0;

	while (wrong < total && log->frames[wrong].is_good)
		wrong++;
	if (header == HEADER_RIGHT)
		log->is_damaged = has_hole(log, wrong, total);
	else
		log->is_damaged = header == HEADER_WRONG || committed(log, total) > 0;
	log->count = committed(log, log->is_damaged ? total : wrong);
}

int queue_log_open(const char *path, struct queue_log *ret, struct error *err)
{
	enum header header;
	struct chain chain;
	struct stat st;
	size_t total;

	*ret = (struct queue_log){ .fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) };
	if (ret->fd < 0 && errno == ENOENT)
		return 0;
	if (ret->fd < 0 || fstat(ret->fd, &st) < 0)
		return error_set(err, queue_errno(errno), "%s: %s", path, strerror(errno));
	if (st.st_size < HEADER)
		return 0;
	header = read_header(ret, &chain);
	total = (size_t)MIN((st.st_size - HEADER) / FRAME, FRAMES_MAX);
	ret->frames = memory_zeroed((total + 1) * sizeof(*ret->frames));
	for (size_t i = 0; i < total; i++)
		ret->frames[i] = read_frame(ret->fd, i, &chain);
	judge(ret, header, total);
	return 0;
}

void queue_log_done(struct queue_log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	free(log->frames);
	*log = (struct queue_log){ .fd = -1 };
}

bool queue_log_read(const struct queue_log *log, size_t frame, unsigned char ret[QUEUE_PAGE_SIZE])
{
	return pread(log->fd, ret, QUEUE_PAGE_SIZE,
		     (off_t)(HEADER + frame * FRAME + FRAME_HEADER)) == QUEUE_PAGE_SIZE;
}
