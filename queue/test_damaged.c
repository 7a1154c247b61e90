/* test_damaged - see test_damaged.h */
#include "queue/test_damaged.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memory.h"
#include "queue/salvage_page.h"

/* ---- files ---- */

const char *path_of(struct fixture *f, const char *name, char out[160])
{
	snprintf(out, 160, "%s/%s", f->t->directory, name);
	return out;
}

char *read_database(struct fixture *f)
{
	char path[160], *bytes;
	CLEANUP(close_filep) FILE *file = fopen(path_of(f, "queue.db", path), "re");
	struct stat st;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	f->size = (size_t)st.st_size;
	bytes = memory_new(f->size);
	assert_int_equal(fread(bytes, 1, f->size, file), f->size);
	return bytes;
}

/* All that belongs to databases goes, and these bytes are the database. */
void put_database(struct fixture *f, const char *bytes, size_t size)
{
	CLEANUP(close_filep) FILE *file = NULL;
	DIR *directory = opendir(f->t->directory);
	struct dirent *entry;
	char path[400];

	assert_non_null(directory);
	while ((entry = readdir(directory))) {
		snprintf(path, sizeof(path), "%s/%s", f->t->directory, entry->d_name);
		if (strncmp(entry->d_name, "queue.db", 8) == 0)
			unlink(path);
	}
	closedir(directory);
	file = fopen(path_of(f, "queue.db", path), "we");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
}

unsigned int count_files(struct fixture *f, const char *prefix)
{
	DIR *directory = opendir(f->t->directory);
	struct dirent *entry;
	unsigned int count = 0;

	while ((entry = readdir(directory)))
		count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	closedir(directory);
	return count;
}

/* ---- pages ---- */

static enum part part_of(const struct queue_row *row, int64_t id)
{
	if (!row->has_rowid)
		return row->count > 10 && row->values[0].number == id ? PART_RECIPIENT : 0;
	if (row->rowid != id)
		return 0;
	return row->count > 10 ? PART_MESSAGE : PART_BODY;
}

static struct queue_image *open_image(struct fixture *f)
{
	struct queue_image *image;
	struct error err;
	char path[160];

	if (queue_image_open(path_of(f, "queue.db", path), &image, &err) < 0)
		fail_msg("%s", err.text);
	return image;
}

static bool has_part(struct queue_image *image, uint32_t number, int64_t id, enum part part)
{
	struct queue_page page = { 0 };
	struct queue_row row;
	bool found = false;

	if (queue_image_use(image, number) != QUEUE_PAGE_LIVE)
		return false;
	if (queue_page_open(&page, image, number))
		while (!found && queue_page_next(&page, &row))
			found = part_of(&row, id) & part;
	queue_page_done(&page);
	return found;
}

size_t page_of(struct fixture *f, int64_t id, enum part part)
{
	struct queue_image *image = open_image(f);
	uint32_t number = 1;

	while (number <= queue_image_size(image) && !has_part(image, number, id, part))
		number++;
	if (number > queue_image_size(image))
		number = 0;
	queue_image_close(image);
	return number;
}

/* Of the page that continues a row, the page that it continues; 0: it is no such page. */
static size_t continued_by(const struct fixture *f, size_t page)
{
	const unsigned char *map = (const unsigned char *)f->database + PAGE;
	const unsigned char *entry = map + 5 * (page - 3);

	if (page < 3 || (entry[0] != 3 && entry[0] != 4))
		return 0;
	return (size_t)entry[1] << 24 | (size_t)entry[2] << 16 | (size_t)entry[3] << 8 | entry[4];
}

void mark_pages(struct fixture *f, int64_t id, bool *ret)
{
	struct queue_image *image = open_image(f);
	size_t count = f->size / PAGE, head;

	assert_true(count < 800); /* one map */
	for (size_t page = 1; page <= count; page++) {
		for (head = page; continued_by(f, head); head = continued_by(f, head))
			;
		ret[page] = has_part(image, (uint32_t)head, id, PART_ANY);
	}
	queue_image_close(image);
}

/* ---- a queue ---- */

static void store_all(struct fixture *f)
{
	static const size_t sizes[] = { 100, 1500, 5000, 9000 };
	struct queue_ledger_row row = { .time_ms = 1, .reply = "250 2.0.0 Ok" };
	struct queue_outcome outcome = { .status = QUEUE_DELIVERED, .ledger = &row };

	for (size_t i = 0; i < MESSAGES; i++) {
		struct queue_message *m;
		struct queue_record record = { .outcomes = &outcome, .outcome_count = 1 };

		f->sizes[i] = i == 3 ? 30000 : sizes[i % 4] + i;
		m = tester_message(f->t, f->sizes[i], RECIPIENTS);
		f->ids[i] = m->id;
		record.message = m;
		assert_int_equal(tester_append(f->t, m, NULL), 0);
		assert_int_equal(tester_record(f->t, &record), 0);
		tester_release(f->t, m->id);
		queue_message_free(m);
	}
}

int damaged_setup(void **state)
{
	struct fixture *f = memory_zeroed(sizeof(*f));

	f->t = tester_new("/dev/shm");
	f->t->ballast_bytes = 1 << 20;
	tester_open(f->t);
	store_all(f);
	tester_close(f->t);
	f->database = read_database(f);
	*state = f;
	return 0;
}

int damaged_teardown(void **state)
{
	struct fixture *f = *state;

	if (f->t->queue)
		tester_close(f->t);
	tester_free(f->t);
	free(f->database);
	free(f);
	return 0;
}

void open_damaged(struct fixture *f, const char *bytes, size_t size)
{
	put_database(f, bytes, size);
	f->t->warnings = 0;
	tester_open(f->t);
}

static int index_of(const struct fixture *f, int64_t id)
{
	for (int i = 0; i < MESSAGES; i++)
		if (f->ids[i] == id)
			return i;
	return -1;
}

static void take(struct fixture *f, struct queue_message *m, struct fate *fate)
{
	int index = index_of(f, m->id);

	if (index < 0)
		return;
	assert_false(fate->is_claimed[index]);
	fate->is_claimed[index] = true;
	fate->claimed++;
	tester_check_body(m->body, m->id, f->sizes[index]);
}

void drain(struct fixture *f, struct fate *fate)
{
	int64_t taken[MESSAGES * 2];
	unsigned int count = 0, before;

	*fate = (struct fate){ 0 };
	do { /* a claim that meets damage gives what it has, and the next one begins with it */
		struct queue_claim claim = {
			.now_ms = f->t->now_ms,
			.max_messages = MESSAGES,
			.max_bytes = SIZE_MAX / 2,
		};

		if (tester_claim(f->t, &claim) < 0)
			fail_msg("claim: %s", claim.request.error.text);
		before = count;
		for (unsigned int i = 0; i < claim.message_count && count < 2 * MESSAGES; i++) {
			taken[count++] = claim.messages[i]->id;
			assert_true(claim.messages[i]->requiretls);
			take(f, claim.messages[i], fate);
			queue_message_free(claim.messages[i]);
		}
		free(claim.messages);
	} while (count > before);
	while (count > 0)
		tester_release(f->t, taken[--count]);
}
