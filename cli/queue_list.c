/*
 * posthouse queue list - what waits, and why
 *
 * Reads the database beside a running server, or without one. Messages are
 * printed as they are read, so a long listing starts at once, and ends when
 * nobody reads it any more.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/macros.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/queue_text.h"
#include "cli/selection.h"

#define FLUSH_MS       100 /* where matches are rare, what was found is not kept back */
#define NOBODY_LISTENS 1

struct listing {
	bool as_json;
	struct control_request *request;
	struct selection selection;
	struct queue_view view;
	uint64_t messages, recipients, bytes;
	int64_t flushed_ms;
	struct buf out;
};

static void list_for_people(struct listing *l, const struct queue_message *m)
{
	struct buf *out = &l->out;

	buf_printf(out, "%s  ", m->name);
	cli_format_size(out, m->size);
	buf_append_string(out, "  ");
	cli_format_duration(out, (l->view.now_ms - m->arrived_ms) / 1000);
	buf_append_string(out, "  ");
	cli_format_address(out, m->sender);
	buf_append_string(out, "\n");
	for (unsigned int i = 0; i < m->recipient_count; i++)
		queue_text_recipient(out, m, &m->recipients[i], &l->view);
}

static void list_for_programs(struct listing *l, const struct queue_message *m)
{
	json_t *object = cli_json_message(m, &l->view, false);

	cli_json_print(&l->out, object);
	json_decref(object);
}

static int list_message(void *arg, const struct queue_message *m)
{
	struct listing *l = arg;
	int64_t now_ms = clock_mono_ms(&clock_system);

	if (l->as_json)
		list_for_programs(l, m);
	else
		list_for_people(l, m);
	l->messages++;
	l->recipients += m->recipient_count;
	l->bytes += m->size;
	cli_print(&l->out);
	if (now_ms - l->flushed_ms >= FLUSH_MS) {
		fflush(stdout);
		l->flushed_ms = now_ms;
	}
	return ferror(stdout) ? NOBODY_LISTENS : 0;
}

static void print_total(struct listing *l)
{
	struct buf *out = &l->out;

	if (l->messages == 0) {
		buf_append_string(out, l->selection.is_given ? "Nothing in the queue matches.\n"
							     : "The queue is empty.\n");
	} else {
		buf_printf(out, "\n%" PRIu64 " message%s, %" PRIu64 " recipient%s, ", l->messages,
			   l->messages == 1 ? "" : "s", l->recipients,
			   l->recipients == 1 ? "" : "s");
		cli_format_size(out, l->bytes);
		buf_append_string(out, "\n");
	}
	cli_print(out);
}

static int list(struct listing *l)
{
	struct error err = { 0 };
	int r = 0;

	queue_view_ask_server(&l->view);
	if (l->view.reader)
		r = queue_reader_list(l->view.reader, &l->selection.filter, list_message, l, &err);
	if (r == 0 && !l->as_json)
		print_total(l);
	if (r < 0)
		return queue_view_fail(l->view.config, &err);
	return l->messages == 0 && l->selection.is_given ? CLI_NO : CLI_DONE;
}

int cli_queue_list(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct listing listing = { .as_json = false };
	struct selection_words words = { .all = false };
	const struct cli_flag flags[] = {
		{ "--json", &listing.as_json },
		SELECTION_FLAGS(words),
	};
	struct error err = { 0 };
	int code;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, 0) < 0)
		return CLI_USAGE;
	if (selection_from_words(&words, "queue list", &listing.request, &listing.selection, &err) <
	    0) {
		control_request_free(listing.request);
		return cli_usage_error("queue list: %s", err.text);
	}
	config = config_load(cli->config_file);
	code = queue_view_open(&listing.view, config);
	if (code == CLI_DONE)
		code = list(&listing);
	queue_view_close(&listing.view);
	selection_done(&listing.selection);
	control_request_free(listing.request);
	buf_done(&listing.out);
	return code;
}
