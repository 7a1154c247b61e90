/*
 * salvage_image - the pages of a database as its last commit left them
 *
 * The file with its log over it, read without SQLite, which refuses the whole
 * for one wrong byte in the wrong place. Nobody may write meanwhile.
 */
#pragma once

#include "base/cleanup.h"
#include "queue/salvage_log.h"

struct queue_image;

enum queue_page_use {
	QUEUE_PAGE_LIVE,      /* rows of a table or an index, or their schema */
	QUEUE_PAGE_FREE,      /* what stands there was deleted, or is elsewhere now */
	QUEUE_PAGE_MAP,	      /* says what the other pages are */
	QUEUE_PAGE_UNCERTAIN, /* a continuation of rows; or the map does not say */
};

int queue_image_open(const char *path, struct queue_image **ret_image, struct error *err);
void queue_image_close(struct queue_image *image);
DEFINE_CLEANUP(struct queue_image *, queue_image_close);

/* Pages are numbered from 1 on. */
uint32_t queue_image_size(const struct queue_image *image);
enum queue_page_use queue_image_use(struct queue_image *image, uint32_t page);

/* Returns whether it could be read. */
bool queue_image_read(struct queue_image *image, uint32_t page, unsigned char ret[QUEUE_PAGE_SIZE]);

/*
 * What is wrong with a database of ours that SQLite would not see: a header
 * that makes it read or write wrongly, or a list of free pages that its map
 * does not agree with, whereupon it would write over what is in use. NULL:
 * nothing; or it is none of ours, or too damaged to tell.
 */
const char *queue_image_fault(struct queue_image *image);
