/*
 * posthouse ledger list - what was attempted, and how it was encrypted
 *
 * Reads the database beside a running server, or without one; rows are printed
 * as they are read.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/parse.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/ledger_text.h"

#define NOBODY_LISTENS 1
#define SINCE_MAX_S    (INT64_C(1000) * 366 * 86400)

struct words {
	const char *since, *sender, *recipient, *next_hop, *status;
};

struct listing {
	bool as_json, is_filtered;
	struct queue_ledger_filter filter;
	struct queue_view view;
	uint64_t rows, in_clear;
	struct buf out;
};

/* ---- the filter ---- */

static int take_status(struct slice word, unsigned int *statuses)
{
	static const enum queue_status known[] = { QUEUE_DELIVERED, QUEUE_DEFERRED, QUEUE_BOUNCED };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (slice_equal(word, slice_from(queue_status_name(known[i])))) {
			*statuses |= 1u << known[i];
			return 0;
		}
	}
	return cli_usage_error("ledger list: status %.*s: unknown; expected delivered, deferred or "
			       "bounced",
			       (int)word.len, word.ptr);
}

static int take_statuses(const char *list, unsigned int *statuses)
{
	struct slice rest = slice_from(list), word;
	int code = 0;

	while (code == 0 && slice_next_word(&rest, ", ", &word))
		code = take_status(word, statuses);
	if (code == 0 && *statuses == 0)
		return cli_usage_error("ledger list: --status needs a value");
	return code;
}

static int take_words(struct listing *l, const struct words *words)
{
	struct queue_filter *f = &l->filter.filter;
	int64_t seconds = 0;
	int code = 0;

	f->sender = words->sender;
	f->recipient = words->recipient;
	f->next_hop = words->next_hop;
	if (words->status)
		code = take_statuses(words->status, &f->statuses);
	if (code == 0 && words->since) {
		if (!parse_duration_s(slice_from(words->since), &seconds) || seconds > SINCE_MAX_S)
			return cli_usage_error("ledger list: --since %s: expected a duration such "
					       "as 30s, 5m, 4h or 5d",
					       words->since);
		l->filter.since_ms = clock_wall_ms(&clock_system) - seconds * 1000;
	}
	l->is_filtered = l->filter.in_clear || words->since || words->sender || words->recipient ||
			 words->next_hop || words->status;
	return code;
}

/* ---- rows ---- */

static void list_for_programs(struct buf *out, const struct queue_ledger_entry *e)
{
	json_t *object = json_object();
	char id[QUEUE_ID_SIZE];

	queue_id_format(e->message, id);
	json_object_set_new(object, "time", cli_json_time(e->row.time_ms));
	json_object_set_new(object, "id", json_string(id));
	json_object_set_new(object, "sender", cli_json_text(e->sender));
	json_object_set_new(object, "recipient", cli_json_text(e->recipient));
	json_object_set_new(object, "transport", cli_json_text(e->row.transport));
	json_object_set_new(object, "next_hop", cli_json_text(e->row.next_hop));
	json_object_set_new(object, "peer", cli_json_text(e->row.peer));
	json_object_set_new(object, "status", json_string(queue_status_name(e->status)));
	json_object_set_new(object, "reply", cli_json_text(e->row.reply));
	json_object_set_new(object, "tls", ledger_text_tls_value(&e->row));
	cli_json_print(out, object);
	json_decref(object);
}

static void append_named(struct buf *out, const char *before, const char *text)
{
	if (text[0] == '\0')
		return;
	buf_append_string(out, before);
	cli_format_text(out, text);
}

static void list_for_people(struct buf *out, const struct queue_ledger_entry *e)
{
	const struct queue_ledger_row *row = &e->row;
	char id[QUEUE_ID_SIZE], time[TIME_RFC3339_SIZE];

	queue_id_format(e->message, id);
	buf_printf(out, "%.19sZ  %s  %s  ", time_rfc3339(row->time_ms, time), id,
		   queue_status_name(e->status));
	cli_format_address(out, e->sender);
	buf_append_string(out, " -> ");
	cli_format_address(out, e->recipient);
	append_named(out, "\n    ", row->transport);
	append_named(out, " ", row->next_hop);
	append_named(out, " at ", row->peer);
	if (row->has_tls_policy) {
		append_named(out, "; tls ", row->level);
		buf_append_string(out, ": ");
		ledger_text_tls(out, row);
	}
	if (row->in_clear)
		buf_append_string(out, ", IN CLEAR");
	append_named(out, "\n    ", row->reply);
	buf_append_string(out, "\n");
}

static int list_entry(void *arg, const struct queue_ledger_entry *entry)
{
	struct listing *l = arg;

	if (l->as_json)
		list_for_programs(&l->out, entry);
	else
		list_for_people(&l->out, entry);
	l->rows++;
	l->in_clear += entry->row.in_clear;
	cli_print(&l->out);
	return ferror(stdout) ? NOBODY_LISTENS : 0;
}

static void print_total(struct listing *l)
{
	if (l->rows == 0)
		buf_append_string(&l->out, l->is_filtered ? "Nothing in the ledger matches.\n"
							  : "The ledger is empty.\n");
	else
		buf_printf(&l->out, "\n%" PRIu64 " attempt%s, %" PRIu64 " of them in clear\n",
			   l->rows, l->rows == 1 ? "" : "s", l->in_clear);
	cli_print(&l->out);
}

static int list(struct listing *l)
{
	struct error err = { 0 };
	int r = 0;

	if (l->view.reader)
		r = queue_reader_ledger(l->view.reader, &l->filter, list_entry, l, &err);
	if (r < 0)
		return queue_view_fail(l->view.config, &err);
	if (!l->as_json && r == 0)
		print_total(l);
	return l->rows == 0 && l->is_filtered ? CLI_NO : CLI_DONE;
}

int cli_ledger_list(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct listing l = { .as_json = false };
	struct words words = { .since = NULL };
	const struct cli_flag flags[] = {
		{ "--json", &l.as_json },
		{ "--clear", &l.filter.in_clear },
		{ "--since", NULL, &words.since },
		{ "--sender", NULL, &words.sender },
		{ "--recipient", NULL, &words.recipient },
		{ "--next-hop", NULL, &words.next_hop },
		{ "--status", NULL, &words.status },
	};
	int code;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, 0) < 0 ||
	    take_words(&l, &words) != 0)
		return CLI_USAGE;
	config = config_load(cli->config_file);
	code = queue_view_open(&l.view, config);
	if (code == CLI_DONE)
		code = list(&l);
	queue_view_close(&l.view);
	buf_done(&l.out);
	return code;
}
