/* posthouse ledger verify - whether the ledger's rows are what they were when they were written */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/macros.h"
#include "cli/cli.h"
#include "cli/ledger_note.h"
#include "cli/queue_view.h"

static void print_time(struct buf *out, int64_t time_ms)
{
	char text[TIME_RFC3339_SIZE];

	buf_printf(out, "%.19sZ", time_rfc3339(time_ms, text));
}

static void print_gap(void *arg, const struct queue_ledger_entry *gap)
{
	struct buf *out = arg;

	buf_append_string(out, "note: ");
	cli_format_text(out, gap->row.reply);
	buf_append_string(out, ", as was recorded when it was mended, ");
	print_time(out, gap->row.time_ms);
	buf_append_string(out, "\n");
}

static void print_front(struct buf *out, const struct queue_ledger_verdict *v)
{
	if (v->ends.anchor_ms != 0) {
		buf_printf(out,
			   "note: rows up to %" PRId64 " have expired; the last of them was of ",
			   v->ends.anchor.row);
		print_time(out, v->ends.anchor_ms);
		buf_append_string(out, "\n");
	}
	if (v->unchained > 0)
		buf_printf(out,
			   "note: %" PRId64 " row%s up to %" PRId64 " are older than the chain of "
			   "hashes, and cannot be verified\n",
			   v->unchained, v->unchained == 1 ? "" : "s", v->ends.anchor.row);
}

static void print_fault(struct buf *out, const struct queue_ledger_verdict *v)
{
	switch (v->fault) {
	case QUEUE_LEDGER_SOUND:
		break;
	case QUEUE_LEDGER_CHANGED:
		buf_printf(out, "CHANGED: row %" PRId64 " is not what was written\n",
			   v->fault_first);
		break;
	case QUEUE_LEDGER_MISSING:
		if (v->fault_first == v->fault_last)
			buf_printf(out, "MISSING: row %" PRId64 " is not there any more\n",
				   v->fault_first);
		else
			buf_printf(out,
				   "MISSING: rows %" PRId64 " to %" PRId64
				   " are not there any more\n",
				   v->fault_first, v->fault_last);
		break;
	case QUEUE_LEDGER_ADDED:
		if (v->fault_first <= v->ends.anchor.row)
			buf_printf(out,
				   "ADDED: there are rows up to %" PRId64
				   ", which have expired before\n",
				   v->ends.anchor.row);
		else
			buf_printf(out,
				   "ADDED: row %" PRId64
				   " and those behind it were not written by the server\n",
				   v->fault_first);
		break;
	}
}

static void print_note(struct buf *out, const struct queue_ledger_verdict *v,
		       const struct queue_ledger_link *noted)
{
	static const struct {
		const char *before, *behind;
	} texts[] = {
		[QUEUE_NOTE_FOUND] = { "note: row ",
				       " has the hash that was noted: all up to it is "
				       "as it was then" },
		[QUEUE_NOTE_DIFFERS] = { "CHANGED: row ",
					 " has another hash than the one that was noted" },
		[QUEUE_NOTE_MISSING] = { "MISSING: there is no row ", ", which was noted" },
		[QUEUE_NOTE_EXPIRED] = { "EXPIRED: row ", ", which was noted, has expired since, "
							  "and cannot be compared" },
	};

	if (v->note != QUEUE_NOTE_NONE)
		buf_printf(out, "%s%" PRId64 "%s\n", texts[v->note].before, noted->row,
			   texts[v->note].behind);
}

static bool contradicts_note(const struct queue_ledger_verdict *v)
{
	return v->note == QUEUE_NOTE_DIFFERS || v->note == QUEUE_NOTE_MISSING;
}

static void print_sound(struct buf *out, const struct queue_ledger_verdict *v)
{
	char head[LEDGER_LINK_SIZE];

	if (contradicts_note(v))
		/* Whoever can write the database can make a chain that is sound in itself. */
		buf_append_string(out, "the rows that are there fit each other, but not what was "
				       "noted: the ledger was rewritten, or is another one\n");
	else if (v->ends.head.row == v->ends.anchor.row)
		buf_append_string(out, "ok: the ledger has no rows\n");
	else
		buf_printf(out, "ok: rows %" PRId64 " to %" PRId64 " are as they were written\n",
			   v->ends.anchor.row + 1, v->ends.head.row);
	ledger_link_format(&v->ends.head, head);
	buf_printf(out, "head: %s\n", head);
}

static bool is_fine(const struct queue_ledger_verdict *v)
{
	return v->fault == QUEUE_LEDGER_SOUND &&
	       (v->note == QUEUE_NOTE_NONE || v->note == QUEUE_NOTE_FOUND);
}

static int verify(const struct queue_view *view, const struct queue_ledger_link *noted)
{
	struct queue_ledger_verdict verdict = { .fault = QUEUE_LEDGER_SOUND };
	struct buf out = { 0 };
	struct error err = { 0 };
	int r = 0;

	if (view->reader)
		r = queue_reader_verify(view->reader, noted, print_gap, &out, &verdict, &err);
	else if (noted)
		verdict.note = QUEUE_NOTE_MISSING;
	if (r == 0) {
		print_front(&out, &verdict);
		print_fault(&out, &verdict);
		print_note(&out, &verdict, noted);
		if (verdict.fault == QUEUE_LEDGER_SOUND)
			print_sound(&out, &verdict);
	}
	cli_print(&out);
	buf_done(&out);
	if (r < 0)
		return queue_view_fail(view->config, &err);
	return is_fine(&verdict) ? CLI_DONE : CLI_NO;
}

int cli_ledger_verify(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct queue_ledger_link noted;
	struct queue_view view;
	const char *head = NULL;
	const struct cli_flag flags[] = { { "--head", NULL, &head } };
	int code;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, 0) < 0)
		return CLI_USAGE;
	if (head && !ledger_link_parse(head, &noted))
		return cli_usage_error("ledger verify: --head %s: expected ROW:HASH, as `ledger "
				       "verify` prints it",
				       head);
	config = config_load(cli->config_file);
	code = queue_view_open(&view, config);
	if (code == CLI_DONE)
		code = verify(&view, head ? &noted : NULL);
	queue_view_close(&view);
	return code;
}
