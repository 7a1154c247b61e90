/*
 * salvage_rows - page by page, whatever tree it belongs to
 *
 * Each page is read for itself, in the order of the file, so that no damaged
 * page takes with it what is below or behind it in a tree. First come the
 * pages of which we know that they are in use, then those of which we don't:
 * there a row may be an old copy, and gives way to one that is there already.
 *
 * A recipient that is lost leaves no trace in its message. But a tree of rows
 * reads, in the order of keys, as the rows of a leaf, one row of an interior
 * page, the rows of the next leaf, and so on. Where that is broken something
 * is missing, and the message in front may have had more recipients.
 */
#include "queue/salvage_rows.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "queue/salvage_mend.h"
#include "queue/salvage_tables.h"

#define ROWS_MAX     1000 /* of one transaction */
#define FRAMES_MAX   4000
#define POSITION_MAX 99999

/* Recipients that stand behind each other in a page. */
struct run {
	int64_t first, first_position;
	int64_t last; /* its message */
	bool is_leaf;
	bool begins, ends; /* with the first, and the last, of the page */
};

struct copy {
	struct sql to;
	struct queue_image *from;
	struct queue_tables tables;
	const struct queue_table *state, *recipients;
	struct sqlite3_stmt *note_uncertain;
	struct buf runs;   /* struct run */
	unsigned int rows; /* of the transaction */
	int64_t damaged_pages;
};

static int next_transaction(struct copy *c, struct error *err)
{
	int r = sql_exec(&c->to, "COMMIT", err);

	if (r == 0 && c->to.wal_frames > FRAMES_MAX)
		r = sql_checkpoint(&c->to, err);
	if (r == 0)
		r = sql_exec(&c->to, "BEGIN", err);
	c->rows = 0;
	return r;
}

/* Where in a page a recipient stands, for the run that it continues or begins. */
static void note_recipient(struct copy *c, const struct queue_page *page,
			   const struct queue_row *row, struct run *run, unsigned int *next)
{
	int64_t message = row->values[0].number, position = row->values[1].number;

	if (!page->is_leaf || row->cell != *next || row->cell == 0) {
		if (run->first)
			buf_append(&c->runs, run, sizeof(*run));
		*run = (struct run){
			.first = message,
			.first_position = position,
			.is_leaf = page->is_leaf,
			.begins = row->cell == 0 || !page->is_leaf,
		};
	}
	run->last = message;
	run->ends = row->cell + 1 == page->cells || !page->is_leaf;
	*next = row->cell + 1;
}

/* Whether it has a key that one of ours can have. */
static bool is_possible(const struct copy *c, const struct queue_table *table,
			const struct queue_row *row)
{
	int64_t key = row->has_rowid ? row->rowid : row->values[0].number;

	if (key < 1 || key > QUEUE_MEND_KEY_MAX)
		return false;
	return table != c->recipients ||
	       (row->values[1].number >= 0 && row->values[1].number <= POSITION_MAX);
}

static int64_t message_of(const struct queue_table *table, const struct queue_row *row)
{
	return queue_table_number(table, row, strcmp(table->name, "q_message") ? "message" : "id");
}

/* 1 when the row is new. */
static int take_row(struct copy *c, struct queue_table *table, const struct queue_row *row,
		    bool is_uncertain, struct error *err)
{
	int r;

	queue_table_bind_row(table, row);
	r = sql_run(&c->to, table->insert, err);
	if (r == -EEXIST)
		return 0; /* it passed for a row until it was looked at as one */
	if (r < 0 || sql_changes(&c->to) == 0)
		return r;
	if (is_uncertain) {
		sql_bind_int(c->note_uncertain, 1, message_of(table, row));
		r = sql_run(&c->to, c->note_uncertain, err);
	}
	if (r == 0 && ++c->rows >= ROWS_MAX)
		r = next_transaction(c, err);
	return r == 0 ? 1 : r;
}

static int copy_page(struct copy *c, struct queue_page *page, bool is_uncertain, struct error *err)
{
	struct queue_row row;
	struct run run = { 0 };
	unsigned int next = 0;
	int r = 0;

	while (r >= 0 && queue_page_next(page, &row)) {
		struct queue_table *table = queue_tables_match(&c->tables, &row);

		if (!table || (is_uncertain && table == c->state) || !is_possible(c, table, &row))
			continue;
		r = take_row(c, table, &row, is_uncertain, err);
		if (r > 0 && table == c->recipients)
			note_recipient(c, page, &row, &run, &next);
	}
	if (run.first)
		buf_append(&c->runs, &run, sizeof(run));
	return MIN(r, 0);
}

static int copy_pages(struct copy *c, enum queue_page_use use, struct error *err)
{
	bool is_uncertain = use == QUEUE_PAGE_UNCERTAIN;
	struct queue_page page = { 0 };
	int r = 0;

	for (uint32_t n = 1; n <= queue_image_size(c->from) && r == 0; n++) {
		bool has_rows;

		if (queue_image_use(c->from, n) != use)
			continue;
		has_rows = queue_page_open(&page, c->from, n);
		if (has_rows)
			r = copy_page(c, &page, is_uncertain, err);
		c->damaged_pages += !is_uncertain && (!has_rows || page.bad > 0);
	}
	queue_page_done(&page);
	return r;
}

/* ---- where recipients are missing ---- */

static int compare_runs(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return (x->first_position > y->first_position) - (x->first_position < y->first_position);
}

/* Messages behind whose last recipient something is missing. */
static void find_doubtful(struct copy *c, struct buf *ret)
{
	size_t count = buf_len(&c->runs) / sizeof(struct run);
	struct run *runs = NULL;

	if (count == 0)
		return;
	runs = (struct run *)(void *)(c->runs.mem + c->runs.start);
	qsort(runs, count, sizeof(*runs), compare_runs);
	for (size_t i = 0; i < count; i++) {
		const struct run *next = i + 1 < count ? &runs[i + 1] : NULL;
		bool is_whole = runs[i].ends && (next ? next->begins : runs[i].is_leaf);

		if (next && next->is_leaf == runs[i].is_leaf)
			is_whole = false;
		if (!is_whole)
			buf_append(ret, &runs[i].last, sizeof(runs[i].last));
	}
}

/* ---- all of it ---- */

static int open_new(struct copy *c, const char *path, struct error *err)
{
	int r = sql_open(&c->to, path, false, err);

	if (r == 0) /* it is synced as a whole when it is complete */
		r = sql_exec(&c->to,
			     "PRAGMA synchronous = OFF; PRAGMA temp_store = FILE;"
			     "PRAGMA cache_size = -32768;" QUEUE_MEND_TEMPORARY,
			     err);
	if (r == 0)
		r = sql_prepare_one(&c->to, "INSERT OR IGNORE INTO uncertain VALUES (?)",
				    &c->note_uncertain, err);
	if (r == 0)
		r = queue_tables_open(&c->to, c->from, &c->tables, err);
	c->state = queue_tables_find(&c->tables, "q_state");
	c->recipients = queue_tables_find(&c->tables, "q_recipient");
	return r;
}

static int copy_all(struct copy *c, struct queue_mend *mend, struct error *err)
{
	int r = sql_exec(&c->to, "BEGIN; UPDATE q_state SET messages = -1", err);

	if (r == 0)
		r = copy_pages(c, QUEUE_PAGE_LIVE, err);
	if (r == 0)
		r = copy_pages(c, QUEUE_PAGE_UNCERTAIN, err);
	if (r == 0)
		r = sql_query_int(&c->to, "SELECT messages FROM q_state", &mend->result->expected,
				  err);
	find_doubtful(c, &mend->doubtful);
	if (r == 0)
		r = queue_mend(mend, err);
	if (r == 0)
		r = sql_exec(&c->to, "COMMIT", err);
	return r;
}

int queue_salvage_rows(const char *from, const char *to, const struct queue_bodies *bodies,
		       int64_t ids_mark, int64_t now_ms, struct queue_salvaged *ret,
		       struct error *err)
{
	CLEANUP(queue_image_closep) struct queue_image *image = NULL;
	struct copy c = { 0 };
	struct queue_mend mend = {
		.sql = &c.to,
		.tables = &c.tables,
		.bodies = bodies,
		.ids_mark = ids_mark,
		.now_ms = now_ms,
		.result = ret,
	};
	int r = queue_image_open(from, &image, err);

	c.from = image;
	if (r == 0)
		r = open_new(&c, to, err);
	if (r == 0)
		r = copy_all(&c, &mend, err);
	if (r == 0)
		r = sql_query_int(&c.to, "SELECT messages FROM q_state", &ret->messages, err);
	ret->pages = c.damaged_pages;
	sql_finalize(c.note_uncertain);
	queue_tables_done(&c.tables);
	buf_done(&c.runs);
	buf_done(&mend.doubtful);
	sql_close(&c.to);
	return r;
}
