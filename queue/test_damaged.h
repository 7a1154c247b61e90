/* test_damaged - a queue whose database can be damaged and opened again */
#pragma once

#include "queue/test_support.h"

#define PAGE	   4096
#define MESSAGES   40
#define RECIPIENTS 3

struct fixture {
	struct tester *t;
	char *database; /* undamaged */
	size_t size;
	int64_t ids[MESSAGES];
	size_t sizes[MESSAGES];
};

/* For each test: a queue with messages, closed; *state is the fixture. */
int damaged_setup(void **state);
int damaged_teardown(void **state);

const char *path_of(struct fixture *f, const char *name, char out[160]);
char *read_database(struct fixture *f); /* the caller's; f->size is its size */

/* All that belongs to databases goes, and these bytes are the database. */
void put_database(struct fixture *f, const char *bytes, size_t size);
void open_damaged(struct fixture *f, const char *bytes, size_t size);

/* Files in the queue directory whose names begin so. */
unsigned int count_files(struct fixture *f, const char *prefix);

/* Which pages of the database as it is now hold a row of a message; row pages and what continues them. */
enum part { PART_MESSAGE = 1, PART_BODY = 2, PART_RECIPIENT = 4, PART_ANY = 7 };
size_t page_of(struct fixture *f, int64_t id, enum part part); /* the first; 0: none */
void mark_pages(struct fixture *f, int64_t id, bool *ret);     /* by page, from 1 on */

/* Where messages have gone. */
struct fate {
	bool is_claimed[MESSAGES];
	unsigned int claimed;
};

/* Claim all there is; of what was handed out each byte of the body must be right. */
void drain(struct fixture *f, struct fate *fate);
