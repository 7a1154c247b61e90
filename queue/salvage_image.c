/*
 * salvage_image - pages and their use
 *
 * sqlite.org/fileformat2.html sections 1.5 and 1.8. auto_vacuum gives us a map
 * of pages: of each its kind and its parent. It is what tells a row from the
 * copy of it in a page that was freed since. Where the map makes no sense the
 * list of free pages is asked.
 */
#include "queue/salvage_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/memory.h"
#include "queue/bodies.h"
#include "queue/schema.h"

#define MAP_ENTRY    5
#define MAP_PERIOD   (QUEUE_PAGE_SIZE / MAP_ENTRY + 1)	/* a map and the pages that it describes */
#define LOCKING_PAGE (0x40000000 / QUEUE_PAGE_SIZE + 1) /* never used by SQLite */
#define FIRST_FREE   32					/* in page 1, as are these */
#define FREE_COUNT   36
#define APPLICATION  68
#define TRUNK_MAX    ((QUEUE_PAGE_SIZE - 8) / 4)
#define PAGES_MAX    0x7fffffff
#define UNWRITTEN    65536 /* pages at the end that were free at once */

enum kind { KIND_ROOT = 1, KIND_FREE, KIND_OVERFLOW_FIRST, KIND_OVERFLOW_NEXT, KIND_TREE };

struct queue_image {
	int fd;
	struct queue_log log;
	uint32_t size;
	uint32_t *frames; /* by page: number of its last frame in the log, from 1 on; 0: none */
	bool *is_free;	  /* by page: it is in the list of free ones */
	uint32_t map;	  /* the page that is in map_bytes; 0: none */
	bool has_map;	  /* it could be read */
	unsigned char map_bytes[QUEUE_PAGE_SIZE];
};

static uint32_t number_at(const unsigned char *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The last commit in the log knows the size, unless that makes no sense; or else the file has it. */
static void measure(struct queue_image *image, off_t bytes)
{
	const struct queue_log *log = &image->log;
	uint64_t size = ((uint64_t)bytes + QUEUE_PAGE_SIZE - 1) / QUEUE_PAGE_SIZE, last = size;

	for (size_t i = 0; i < log->count; i++)
		if (log->frames[i].is_good)
			last = MAX(last, log->frames[i].page);
	if (log->count > 0)
		size = MIN(log->frames[log->count - 1].size_after, last + UNWRITTEN);
	image->size = (uint32_t)MIN(size, PAGES_MAX);
}

static void index_log(struct queue_image *image)
{
	for (size_t i = 0; i < image->log.count; i++) {
		const struct queue_frame *frame = &image->log.frames[i];

		if (frame->is_good && frame->page <= image->size)
			image->frames[frame->page] = (uint32_t)i + 1;
	}
}

/* A list that damage has tied into a loop ends where it comes back. */
static void read_free_list(struct queue_image *image)
{
	unsigned char page[QUEUE_PAGE_SIZE];
	uint32_t trunk, count, leaf;

	if (image->size == 0 || !queue_image_read(image, 1, page))
		return;
	trunk = number_at(page + FIRST_FREE);
	while (trunk > 1 && trunk <= image->size && !image->is_free[trunk]) {
		if (!queue_image_read(image, trunk, page) || number_at(page + 4) > TRUNK_MAX)
			return;
		image->is_free[trunk] = true;
		count = number_at(page + 4);
		for (uint32_t i = 0; i < count; i++) {
			leaf = number_at(page + 8 + 4 * (size_t)i);
			if (leaf > 1 && leaf <= image->size)
				image->is_free[leaf] = true;
		}
		trunk = number_at(page);
	}
}

int queue_image_open(const char *path, struct queue_image **ret_image, struct error *err)
{
	CLEANUP(queue_image_closep) struct queue_image *image = memory_zeroed(sizeof(*image));
	char log[4096];
	struct stat st;
	int r;

	image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	image->log.fd = -1;
	if (image->fd < 0 || fstat(image->fd, &st) < 0)
		return error_set(err, queue_errno(errno), "%s: %s", path, strerror(errno));
	snprintf(log, sizeof(log), "%s-wal", path);
	r = queue_log_open(log, &image->log, err);
	if (r < 0)
		return r;
	measure(image, st.st_size);
	image->frames = memory_zeroed(((size_t)image->size + 1) * sizeof(*image->frames));
	image->is_free = memory_zeroed((size_t)image->size + 1);
	index_log(image);
	read_free_list(image);
	*ret_image = image;
	image = NULL;
	return 0;
}

void queue_image_close(struct queue_image *image)
{
	if (!image)
		return;
	if (image->fd >= 0)
		close(image->fd);
	queue_log_done(&image->log);
	free(image->frames);
	free(image->is_free);
	free(image);
}

uint32_t queue_image_size(const struct queue_image *image)
{
	return image->size;
}

/* What is missing of a page at the end of a file that was cut is zeros. */
bool queue_image_read(struct queue_image *image, uint32_t page, unsigned char ret[QUEUE_PAGE_SIZE])
{
	ssize_t n;

	if (page < 1 || page > image->size)
		return false;
	if (image->frames[page] > 0)
		return queue_log_read(&image->log, image->frames[page] - 1, ret);
	n = pread(image->fd, ret, QUEUE_PAGE_SIZE, (off_t)(page - 1) * QUEUE_PAGE_SIZE);
	if (n <= 0)
		return false;
	memset(ret + n, 0, QUEUE_PAGE_SIZE - (size_t)n);
	return true;
}

static uint32_t map_of(uint32_t page)
{
	uint32_t map = (page - 2) / MAP_PERIOD * MAP_PERIOD + 2;

	return map == LOCKING_PAGE ? map + 1 : map;
}

/* Whether the entry makes sense. */
static bool read_map(struct queue_image *image, uint32_t page, enum kind *ret)
{
	uint32_t map = map_of(page), parent;
	const unsigned char *entry;

	if (page <= map)
		return false; /* a map does not describe itself */
	if (image->map != map) {
		image->map = map;
		image->has_map = queue_image_read(image, map, image->map_bytes);
	}
	entry = image->map_bytes + MAP_ENTRY * (size_t)(page - map - 1);
	parent = number_at(entry + 1);
	*ret = (enum kind)entry[0];
	if (!image->has_map || entry[0] < KIND_ROOT || entry[0] > KIND_TREE)
		return false;
	return entry[0] <= KIND_FREE ? parent == 0 : parent > 0 && parent <= image->size;
}

enum queue_page_use queue_image_use(struct queue_image *image, uint32_t page)
{
	enum kind kind;

	if (page == 1)
		return QUEUE_PAGE_LIVE;
	if (page == map_of(page) || page == LOCKING_PAGE)
		return QUEUE_PAGE_MAP;
	if (!read_map(image, page, &kind))
		return image->is_free[page] ? QUEUE_PAGE_FREE : QUEUE_PAGE_UNCERTAIN;
	if (kind == KIND_FREE)
		return QUEUE_PAGE_FREE;
	return kind == KIND_ROOT || kind == KIND_TREE ? QUEUE_PAGE_LIVE : QUEUE_PAGE_UNCERTAIN;
}

/* Of a header, what never changes: page size, versions, fractions; format of the schema; UTF-8. */
static bool is_header_right(const unsigned char first[QUEUE_PAGE_SIZE])
{
	static const unsigned char fixed[] = { 0x10, 0, 2, 2, 0, 64, 32, 32 };

	return memcmp(first + 16, fixed, sizeof(fixed)) == 0 && number_at(first + 44) == 4 &&
	       number_at(first + 52) > 0 && number_at(first + 56) == 1 &&
	       number_at(first + 64) == 1;
}

static bool is_free_list_right(struct queue_image *image, uint32_t expected)
{
	uint32_t count = 0;
	enum kind kind;

	for (uint32_t page = 1; page <= image->size; page++) {
		if (!image->is_free[page])
			continue;
		count++;
		if (!read_map(image, page, &kind) || kind != KIND_FREE)
			return false;
	}
	return count == expected;
}

const char *queue_image_fault(struct queue_image *image)
{
	unsigned char first[QUEUE_PAGE_SIZE];

	if (!queue_image_read(image, 1, first) || memcmp(first, "SQLite format 3", 16) != 0 ||
	    number_at(first + APPLICATION) != QUEUE_APPLICATION_ID)
		return NULL;
	if (!is_header_right(first))
		return "its header is damaged";
	if (!is_free_list_right(image, number_at(first + FREE_COUNT)))
		return "its list of free pages is damaged";
	return NULL;
}
