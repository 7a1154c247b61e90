/* salvage_page - the rows of one page */
#pragma once

#include "base/buf.h"
#include "queue/salvage_image.h"

#define QUEUE_COLUMNS_MAX 64

enum queue_value_type { QUEUE_NULL, QUEUE_INTEGER, QUEUE_TEXT, QUEUE_BLOB };

struct queue_value {
	enum queue_value_type type;
	int64_t number;
	struct slice bytes; /* of a text or blob */
};

struct queue_row {
	bool has_rowid; /* of a table that is one tree by rowid */
	int64_t rowid;
	unsigned int cell; /* its number in the page */
	unsigned int count;
	struct queue_value values[QUEUE_COLUMNS_MAX]; /* valid until the next row */
};

struct queue_page {
	struct queue_image *image;
	unsigned char bytes[QUEUE_PAGE_SIZE];
	size_t header;
	bool is_table, is_leaf; /* not is_table: of a tree of whole rows */
	unsigned int cells, next;
	unsigned int bad; /* cells that make no sense */
	struct buf payload;
};

/*
 * False: it is no page of a tree. *ret is the caller's, who may use it for one
 * page after the other; queue_page_done() in the end.
 */
bool queue_page_open(struct queue_page *ret, struct queue_image *image, uint32_t page);
void queue_page_done(struct queue_page *page);

/* Whether there is another row that makes sense. */
bool queue_page_next(struct queue_page *page, struct queue_row *ret);
