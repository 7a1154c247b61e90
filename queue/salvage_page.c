/*
 * salvage_page - cells, payloads, records
 *
 * sqlite.org/fileformat2.html sections 1.6 and 2.1. Nothing is believed: each
 * number is checked against what it must stay within, and a row is one only if
 * the lengths of its columns add up to its own.
 */
#include "queue/salvage_page.h"

#include <string.h>

#include "base/macros.h"

#define FILE_HEADER    100
#define INDEX_INTERIOR 0x02
#define TABLE_INTERIOR 0x05
#define INDEX_LEAF     0x0a
#define TABLE_LEAF     0x0d
#define USABLE	       QUEUE_PAGE_SIZE
#define OVERFLOW_BYTES (USABLE - 4)
#define LOCAL_MIN      ((USABLE - 12) * 32 / 255 - 23)
#define INDEX_MAX      ((USABLE - 12) * 64 / 255 - 23)
#define TABLE_MAX      (USABLE - 35)
#define PAYLOAD_MAX    (16u << 20) /* ours are shorter; so a chain that is a loop ends, too */

static size_t short_at(const unsigned char *b)
{
	return (size_t)b[0] << 8 | b[1];
}

static uint32_t number_at(const unsigned char *b)
{
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* Returns whether there is one before the end; *at is moved behind it. */
static bool read_varint(const unsigned char *bytes, size_t end, size_t *at, uint64_t *ret)
{
	uint64_t value = 0;

	for (int i = 0; i < 9 && *at < end; i++) {
		unsigned char byte = bytes[(*at)++];

		if (i == 8) {
			*ret = value << 8 | byte;
			return true;
		}
		value = value << 7 | (byte & 0x7f);
		if (!(byte & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

bool queue_page_open(struct queue_page *ret, struct queue_image *image, uint32_t page)
{
	const unsigned char *header;
	size_t cells_max;

	ret->image = image;
	ret->header = page == 1 ? FILE_HEADER : 0;
	ret->next = ret->bad = 0;
	if (!queue_image_read(image, page, ret->bytes))
		return false;
	header = ret->bytes + ret->header;
	ret->cells = 0;
	if (header[0] == TABLE_INTERIOR)
		return true; /* its cells have keys and no rows */
	if (header[0] != INDEX_INTERIOR && header[0] != INDEX_LEAF && header[0] != TABLE_LEAF)
		return false;
	ret->is_table = header[0] == TABLE_LEAF;
	ret->is_leaf = header[0] != INDEX_INTERIOR;
	ret->cells = (unsigned int)short_at(header + 3);
	cells_max = (USABLE - ret->header - 8) / 4;
	if (ret->cells > cells_max) {
		ret->bad = 1;
		ret->cells = (unsigned int)cells_max; /* some may be whole */
	}
	return true;
}

void queue_page_done(struct queue_page *page)
{
	buf_done(&page->payload);
}

/* How much of a payload is in the page itself. */
static size_t local_size(const struct queue_page *page, size_t size)
{
	size_t max = page->is_table ? TABLE_MAX : INDEX_MAX, local;

	if (size <= max)
		return size;
	local = LOCAL_MIN + (size - LOCAL_MIN) % OVERFLOW_BYTES;
	return local <= max ? local : LOCAL_MIN;
}

static bool read_overflow(struct queue_page *page, uint32_t number, size_t size)
{
	unsigned char bytes[QUEUE_PAGE_SIZE];
	size_t n;

	while (size > 0) {
		if (!queue_image_read(page->image, number, bytes))
			return false;
		n = MIN(size, OVERFLOW_BYTES);
		buf_append(&page->payload, bytes + 4, n);
		number = number_at(bytes);
		size -= n;
	}
	return number == 0;
}

static bool read_payload(struct queue_page *page, size_t at, uint64_t size)
{
	uint64_t most = (uint64_t)queue_image_size(page->image) * QUEUE_PAGE_SIZE;
	size_t local;

	if (size > PAYLOAD_MAX || size > most)
		return false;
	local = local_size(page, (size_t)size);
	if (at + local + (local < size ? 4 : 0) > USABLE)
		return false;
	buf_clear(&page->payload);
	buf_append(&page->payload, page->bytes + at, local);
	if (local == size)
		return true;
	return read_overflow(page, number_at(page->bytes + at + local), (size_t)size - local);
}

static int64_t read_integer(const unsigned char *bytes, size_t len)
{
	uint64_t value = len > 0 && bytes[0] & 0x80 ? UINT64_MAX : 0;

	for (size_t i = 0; i < len; i++)
		value = value << 8 | bytes[i];
	return (int64_t)value;
}

/* By its serial type. Returns how many bytes it has, or -1: no table of ours has such values. */
static int64_t read_value(uint64_t type, const unsigned char *bytes, size_t left,
			  struct queue_value *ret)
{
	static const size_t sizes[] = { 0, 1, 2, 3, 4, 6, 8 };
	size_t size;

	*ret = (struct queue_value){ .type = QUEUE_NULL };
	if (type == 0)
		return 0;
	if (type == 7 || type == 10 || type == 11)
		return -1;
	if (type >= 12) {
		if ((type - 12) / 2 > left)
			return -1;
		size = (size_t)(type - 12) / 2;
		ret->type = type % 2 ? QUEUE_TEXT : QUEUE_BLOB;
		ret->bytes = slice_of((const char *)bytes, size);
		return (int64_t)size;
	}
	ret->type = QUEUE_INTEGER;
	if (type >= 8) {
		ret->number = (int64_t)type - 8;
		return 0;
	}
	size = sizes[type];
	if (size > left)
		return -1;
	ret->number = read_integer(bytes, size);
	return (int64_t)size;
}

static bool read_record(struct slice payload, struct queue_row *row)
{
	const unsigned char *bytes = (const unsigned char *)payload.ptr;
	uint64_t header, type;
	size_t at = 0, data;
	int64_t n;

	if (!read_varint(bytes, payload.len, &at, &header) || header > payload.len || header < at)
		return false;
	data = (size_t)header;
	for (row->count = 0; at < header; row->count++) {
		if (row->count == QUEUE_COLUMNS_MAX || !read_varint(bytes, header, &at, &type))
			return false;
		n = read_value(type, bytes + data, payload.len - data, &row->values[row->count]);
		if (n < 0)
			return false;
		data += (size_t)n;
	}
	return data == payload.len && row->count > 0;
}

static bool read_cell(struct queue_page *page, unsigned int cell, struct queue_row *row)
{
	size_t pointers = page->header + (page->is_leaf ? 8 : 12);
	size_t at = short_at(page->bytes + pointers + 2 * (size_t)cell);
	uint64_t size, rowid = 0;

	if (at < pointers || at > USABLE - 4)
		return false;
	if (!page->is_leaf)
		at += 4; /* of a child */
	if (!read_varint(page->bytes, USABLE, &at, &size))
		return false;
	if (page->is_table && !read_varint(page->bytes, USABLE, &at, &rowid))
		return false;
	row->has_rowid = page->is_table;
	row->rowid = (int64_t)rowid;
	row->cell = cell;
	return read_payload(page, at, size) && read_record(buf_slice(&page->payload), row);
}

bool queue_page_next(struct queue_page *page, struct queue_row *ret)
{
	while (page->next < page->cells) {
		if (read_cell(page, page->next++, ret))
			return true;
		page->bad++;
	}
	return false;
}
