/* posthouse queue cat - a message exactly as it is stored */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/queue_view.h"

#define PIECE 65536

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
		n = queue_body_read(&reader, PIECE, &piece, &err);
		cli_print(&piece);
	} while (n > 0 && !ferror(stdout));
	queue_body_reader_done(&reader);
	buf_done(&piece);
	return n < 0 ? cli_fail(&err) : CLI_DONE;
}

static int cat(struct queue_view *view, const char *name)
{
	struct queue_message *message = NULL;
	int code = queue_view_load(view, name, &message);

	if (code != CLI_DONE)
		return code;
	if (message->body) {
		code = print_body(message->body);
	} else {
		cli_error("%s: the stored message is damaged", message->name);
		code = CLI_IO;
	}
	queue_message_free(message);
	return code;
}

int cli_queue_cat(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct queue_view view;
	int code;

	if (cli_arguments(argc, argv, NULL, 0, 1, 1) < 0)
		return CLI_USAGE;
	config = config_load(cli->config_file);
	code = queue_view_open(&view, config);
	if (code == CLI_DONE)
		code = cat(&view, argv[1]);
	queue_view_close(&view);
	return code;
}
