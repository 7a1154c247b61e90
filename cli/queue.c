/*
 * posthouse queue list, show, cat - what waits, and why
 *
 * These read the database beside a running server, or without one.
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/macros.h"
#include "cli/json.h"
#include "queue/reader.h"

#define CAT_PIECE 65536

/*
 * 0, or an exit code; *ret stays NULL while no queue has been made yet. What
 * waits can be looked at whatever else is wrong with the configuration.
 */
static int open_reader(const struct cli *cli, struct queue_reader **ret)
{
	CLEANUP(config_freep) struct config *config = config_load(cli->config_file);
	const char *directory = config_value(config, CONFIG_QUEUE_DIRECTORY);
	struct error err = { 0 };
	int r;

	if (config_mode(config) == 0 || !directory) {
		cli_print_errors(config);
		return CLI_CONFIG;
	}
	r = queue_reader_open(directory, ret, &err);
	return r < 0 && r != -ENOENT ? cli_fail(&err) : CLI_DONE;
}

/* "deferred after 2 attempts, next in 3m12s, by [hub]:25" */
static void format_state(struct buf *out, const struct queue_recipient *r, int64_t now_ms)
{
	buf_append_string(out, queue_status_name(r->status));
	if (r->attempts > 0)
		buf_printf(out, " after %u attempt%s", r->attempts, r->attempts == 1 ? "" : "s");
	if (r->status == QUEUE_DEFERRED || (r->status == QUEUE_QUEUED && r->due_ms > now_ms)) {
		buf_append_string(out, r->due_ms > now_ms ? ", next in " : ", due now");
		if (r->due_ms > now_ms)
			cli_format_duration(out, (r->due_ms - now_ms + 999) / 1000);
	}
	if (r->next_hop[0] != '\0') {
		buf_append_string(out, ", by ");
		cli_format_text(out, r->next_hop);
	}
}

static void format_recipient(struct buf *out, const struct queue_recipient *r, int64_t now_ms)
{
	buf_append_string(out, "    ");
	cli_format_address(out, r->address);
	buf_append_string(out, ": ");
	format_state(out, r, now_ms);
	if (r->reason[0] != '\0') {
		buf_printf(out, "\n        %s%s", r->enhanced, r->enhanced[0] ? " " : "");
		cli_format_text(out, r->reason);
	}
	buf_append_string(out, "\n");
}

struct listing {
	bool as_json;
	int64_t now_ms;
	uint64_t messages, recipients, bytes;
	struct buf out;
};

static void list_for_people(struct listing *listing, const struct queue_message *m)
{
	struct buf *out = &listing->out;

	buf_printf(out, "%s  ", m->name);
	cli_format_size(out, m->size);
	buf_append_string(out, "  ");
	cli_format_duration(out, (listing->now_ms - m->arrived_ms) / 1000);
	buf_append_string(out, "  ");
	cli_format_address(out, m->sender);
	buf_append_string(out, "\n");
	for (unsigned int i = 0; i < m->recipient_count; i++)
		if (queue_status_is_pending(m->recipients[i].status))
			format_recipient(out, &m->recipients[i], listing->now_ms);
}

static int list_message(void *arg, const struct queue_message *m)
{
	struct listing *listing = arg;

	if (listing->as_json)
		cli_json_message(&listing->out, m, false);
	else
		list_for_people(listing, m);
	listing->messages++;
	listing->bytes += m->size;
	for (unsigned int i = 0; i < m->recipient_count; i++)
		listing->recipients += queue_status_is_pending(m->recipients[i].status);
	cli_print(&listing->out);
	return 0;
}

static void print_total(struct listing *listing)
{
	struct buf *out = &listing->out;

	if (listing->messages == 0) {
		buf_append_string(out, "The queue is empty.\n");
	} else {
		buf_printf(out, "\n%" PRIu64 " message%s, %" PRIu64 " recipient%s, ",
			   listing->messages, listing->messages == 1 ? "" : "s",
			   listing->recipients, listing->recipients == 1 ? "" : "s");
		cli_format_size(out, listing->bytes);
		buf_append_string(out, "\n");
	}
	cli_print(out);
}

int cli_queue_list(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(queue_reader_closep) struct queue_reader *reader = NULL;
	struct listing listing = { .now_ms = clock_wall_ms(&clock_system) };
	const struct cli_flag flags[] = { { "--json", &listing.as_json } };
	struct error err = { 0 };
	int r;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, 0) < 0)
		return CLI_USAGE;
	r = open_reader(cli, &reader);
	if (r != CLI_DONE)
		return r;
	r = reader ? queue_reader_list(reader, NULL, list_message, &listing, &err) : 0;
	if (r == 0 && !listing.as_json)
		print_total(&listing);
	buf_done(&listing.out);
	return r < 0 ? cli_fail(&err) : CLI_DONE;
}

/* Find the message that is named; 0 or an exit code. */
static int load_message(struct queue_reader *reader, const char *name, struct queue_message **ret)
{
	struct error err = { 0 };
	int64_t id;
	int r = QUEUE_READER_NOT_FOUND;

	if (reader && queue_id_parse(name, &id))
		r = queue_reader_load(reader, id, ret, &err);
	if (r < 0)
		return cli_fail(&err);
	if (r == QUEUE_READER_NOT_FOUND) {
		cli_error("%s: no such message in the queue", name);
		return CLI_NO;
	}
	return CLI_DONE;
}

static void format_origin(struct buf *out, const struct queue_origin *origin)
{
	buf_append_string(out, "client:   ");
	cli_format_text(out, origin->hello);
	buf_printf(out, " [%s] by %s", origin->client_ip, origin->protocol);
	if (origin->tls_protocol[0] != '\0')
		buf_printf(out, ", %s with %s", origin->tls_protocol, origin->tls_cipher);
	if (origin->auth_user[0] != '\0') {
		buf_append_string(out, ", as ");
		cli_format_text(out, origin->auth_user);
	}
	buf_append_string(out, "\n");
}

static void show_for_people(struct buf *out, const struct queue_message *m)
{
	int64_t now_ms = clock_wall_ms(&clock_system);
	char time[TIME_RFC3339_SIZE];

	buf_printf(out, "id:       %s\nsender:   ", m->name);
	cli_format_address(out, m->sender);
	buf_append_string(out, "\nsize:     ");
	cli_format_size(out, m->size);
	buf_printf(out, "\narrived:  %s, ", time_rfc3339(m->arrived_ms, time));
	cli_format_duration(out, (now_ms - m->arrived_ms) / 1000);
	buf_append_string(out, " ago\n");
	if (m->origin.client_ip[0] != '\0')
		format_origin(out, &m->origin);
	buf_append_string(out, "recipients:\n");
	for (unsigned int i = 0; i < m->recipient_count; i++)
		format_recipient(out, &m->recipients[i], now_ms);
}

int cli_queue_show(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(queue_reader_closep) struct queue_reader *reader = NULL;
	struct queue_message *message = NULL;
	bool as_json = false;
	const struct cli_flag flags[] = { { "--json", &as_json } };
	struct buf out = { 0 };
	int r;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 1, 1) < 0)
		return CLI_USAGE;
	r = open_reader(cli, &reader);
	if (r == CLI_DONE)
		r = load_message(reader, argv[1], &message);
	if (r != CLI_DONE)
		return r;
	if (as_json)
		cli_json_message(&out, message, true);
	else
		show_for_people(&out, message);
	cli_print(&out);
	buf_done(&out);
	queue_message_free(message);
	return CLI_DONE;
}

/* Bytes go out as they come in: the checksum is known only at the end, and then is told. */
static int print_body(struct queue_body *body)
{
	struct queue_body_reader reader;
	struct error err = { 0 };
	struct buf piece = { 0 };
	int64_t n;

	if (!queue_body_in_file(body)) {
		struct slice bytes = queue_body_memory(body);

		fwrite(bytes.ptr, 1, bytes.len, stdout);
		return CLI_DONE;
	}
	queue_body_reader_init(&reader, body);
	do {
		n = queue_body_read(&reader, CAT_PIECE, &piece, &err);
		cli_print(&piece);
	} while (n > 0);
	queue_body_reader_done(&reader);
	buf_done(&piece);
	return n < 0 ? cli_fail(&err) : CLI_DONE;
}

int cli_queue_cat(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(queue_reader_closep) struct queue_reader *reader = NULL;
	struct queue_message *message = NULL;
	int r;

	if (cli_arguments(argc, argv, NULL, 0, 1, 1) < 0)
		return CLI_USAGE;
	r = open_reader(cli, &reader);
	if (r == CLI_DONE)
		r = load_message(reader, argv[1], &message);
	if (r != CLI_DONE)
		return r;
	if (message->body) {
		r = print_body(message->body);
	} else {
		cli_error("%s: the stored message is damaged", message->name);
		r = CLI_IO;
	}
	queue_message_free(message);
	return r;
}
