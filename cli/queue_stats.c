/*
 * posthouse queue stats - what waits, by next hop and status; the worst next
 * hop first
 *
 * How the next hops are is told by a running server. Without one the queue
 * alone says what is known: why the oldest waits, and until when.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/hops.h"
#include "cli/json.h"

#define HOP_WIDTH_MAX 48 /* a longer one pushes the rest of its line aside */

struct row {
	char *next_hop;
	const char *status;
	int64_t recipients, messages, active, oldest_ms;
	int64_t next_ms;       /* 0: there is no next attempt */
	const struct hop *hop; /* of all of its rows; NULL: it was never tried */
};

struct stats {
	struct row *rows;
	size_t count;
	struct hops hops;
	int64_t now_ms;
	struct buf out;
};

static int add_row(void *arg, const struct queue_stats *found)
{
	struct stats *s = arg;

	hops_take_waiting(&s->hops, found);
	if ((s->count & (s->count - 1)) == 0) /* full at each power of two */
		s->rows = memory_grow(s->rows, MAX(s->count * 2, 1) * sizeof(*s->rows));
	s->rows[s->count++] = (struct row){
		.next_hop = slice_strdup(slice_from(found->next_hop)),
		.status = queue_status_name(found->status),
		.recipients = found->recipients,
		.messages = found->messages,
		.active = found->active,
		.oldest_ms = found->oldest_ms,
		.next_ms = found->next_due_ms == INT64_MAX ? 0 : found->next_due_ms,
	};
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *left = a, *right = b;
	int names;

	if (left->hop != right->hop) {
		if (!left->hop || !right->hop)
			return left->hop ? -1 : 1;
		return hops_compare(left->hop, right->hop);
	}
	if (left->recipients != right->recipients)
		return left->recipients < right->recipients ? 1 : -1;
	names = strcmp(left->next_hop, right->next_hop);
	return names != 0 ? names : strcmp(left->status, right->status);
}

/* ---- for people ---- */

static void append_hop(struct buf *out, const struct row *row)
{
	if (row->next_hop[0] != '\0')
		cli_format_text(out, row->next_hop);
	else if (strcmp(row->status, "deferred") == 0) /* retry:, or a map that cannot be asked */
		buf_append_string(out, "(no next hop)");
	else
		buf_append_string(out, "(not tried yet)");
}

static size_t hop_width(const struct stats *s)
{
	struct buf hop = { 0 };
	size_t width = strlen("NEXT HOP");

	for (size_t i = 0; i < s->count; i++) {
		append_hop(&hop, &s->rows[i]);
		width = MAX(width, MIN(buf_len(&hop), HOP_WIDTH_MAX));
		buf_clear(&hop);
	}
	buf_done(&hop);
	return width;
}

static void pad(struct buf *out, size_t from, size_t width)
{
	while (buf_len(out) - from < width)
		buf_append_string(out, " ");
	buf_append_string(out, "  ");
}

static const char *state_of(const struct row *row)
{
	return row->hop ? hop_state_name(hop_state(row->hop)) : "-";
}

static void print_row(struct stats *s, const struct row *row, size_t width)
{
	struct buf *out = &s->out;
	size_t oldest;

	append_hop(out, row);
	pad(out, 0, width);
	buf_printf(out, "%-7s  ", state_of(row));
	buf_printf(out, "%-8s  %10" PRId64 "  %8" PRId64 "  %6" PRId64 "  ", row->status,
		   row->recipients, row->messages, row->active);
	oldest = buf_len(out);
	cli_format_duration(out, (s->now_ms - row->oldest_ms) / 1000);
	pad(out, oldest, strlen("OLDEST"));
	if (row->next_ms == 0) {
		buf_append_string(out, "-");
	} else if (row->next_ms <= s->now_ms) {
		buf_append_string(out, "now");
	} else {
		buf_append_string(out, "in ");
		cli_format_duration(out, (row->next_ms - s->now_ms + 999) / 1000);
	}
	buf_append_string(out, "\n");
}

/* What is wrong with a next hop stands below the last of its rows. */
static bool is_last_of_hop(const struct stats *s, size_t i)
{
	return s->rows[i].hop && (i + 1 == s->count || s->rows[i + 1].hop != s->rows[i].hop);
}

static void print_table(struct stats *s)
{
	size_t width = hop_width(s);

	if (s->count == 0) {
		printf("The queue is empty.\n");
		return;
	}
	printf("%-*s  STATE    STATUS    RECIPIENTS  MESSAGES  ACTIVE  OLDEST  NEXT ATTEMPT\n",
	       (int)width, "NEXT HOP");
	for (size_t i = 0; i < s->count && !ferror(stdout); i++) {
		print_row(s, &s->rows[i], width);
		if (is_last_of_hop(s, i))
			hop_text_trouble(&s->out, s->rows[i].hop, s->now_ms);
		cli_print(&s->out);
	}
}

/* ---- for programs ---- */

static void print_object(struct stats *s, const struct row *row)
{
	json_t *object = json_object();

	json_object_set_new(object, "next_hop", cli_json_text(row->next_hop));
	json_object_set_new(object, "status", json_string(row->status));
	json_object_set_new(object, "recipients", json_integer(row->recipients));
	json_object_set_new(object, "messages", json_integer(row->messages));
	json_object_set_new(object, "active", json_integer(row->active));
	json_object_set_new(object, "oldest_at", cli_json_time(row->oldest_ms));
	json_object_set_new(object, "next_attempt_at", cli_json_time(row->next_ms));
	hop_json(row->hop, object);
	cli_json_print(&s->out, object);
	json_decref(object);
	cli_print(&s->out);
}

static int take_line(void *arg, const json_t *line, bool is_last)
{
	(void)is_last;
	hops_take_line(arg, line);
	return 0;
}

/* One that does not answer is no reason to show nothing. */
static void ask_about_hops(struct stats *s, const struct queue_view *view)
{
	CLEANUP(control_client_closep)
	struct control_client *client = view->is_server_running ? ask_try(view->config) : NULL;

	if (client)
		ask(client, json_pack("{s:s}", "command", "status"), take_line, &s->hops);
}

static int collect(struct stats *s, struct queue_view *view)
{
	struct error err = { 0 };
	int r = 0;

	queue_view_ask_server(view);
	ask_about_hops(s, view);
	s->now_ms = view->now_ms;
	if (view->reader)
		r = queue_reader_stats(view->reader, add_row, s, &err);
	for (size_t i = 0; i < s->count; i++)
		s->rows[i].hop = hops_find(&s->hops, s->rows[i].next_hop);
	if (s->count > 0)
		qsort(s->rows, s->count, sizeof(*s->rows), compare_rows);
	return r < 0 ? queue_view_fail(view->config, &err) : CLI_DONE;
}

static void print(struct stats *s, bool as_json)
{
	if (!as_json)
		print_table(s);
	for (size_t i = 0; as_json && i < s->count; i++)
		print_object(s, &s->rows[i]);
}

int cli_queue_stats(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct queue_view view;
	struct stats stats = { .count = 0 };
	bool as_json = false;
	const struct cli_flag flags[] = { { "--json", &as_json } };
	int code;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, 0) < 0)
		return CLI_USAGE;
	config = config_load(cli->config_file);
	code = queue_view_open(&view, config);
	if (code == CLI_DONE)
		code = collect(&stats, &view);
	if (code == CLI_DONE)
		print(&stats, as_json);
	queue_view_close(&view);
	for (size_t i = 0; i < stats.count; i++)
		free(stats.rows[i].next_hop);
	free(stats.rows);
	hops_done(&stats.hops);
	buf_done(&stats.out);
	return code;
}
