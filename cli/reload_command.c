/* posthouse reload - asks the server, which tells what it found */
#include <jansson.h>
#include <stdio.h>

#include "base/macros.h"
#include "cli/ask.h"
#include "cli/cli.h"

static int print_line(void *arg, const json_t *object, bool is_last)
{
	const char *text = json_string_value(json_object_get(object, "text"));
	struct buf out = { 0 };

	(void)arg;
	(void)is_last;
	if (text) {
		cli_format_text(&out, text);
		buf_append_string(&out, "\n");
		cli_print(&out);
	}
	buf_done(&out);
	return 0;
}

int cli_reload(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	CLEANUP(control_client_closep) struct control_client *client = NULL;
	bool is_dry_run = false, may_weaken = false;
	const struct cli_flag flags[] = {
		{ "--dry-run", &is_dry_run },
		{ "--allow-weaker", &may_weaken },
	};
	int code;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, 0) < 0)
		return CLI_USAGE;
	/* It may have errors, which the server will tell. Where the socket is it does say. */
	config = config_load(cli->config_file);
	code = ask_connect(config, &client);
	if (code != CLI_DONE)
		return code;
	if (!client)
		return ask_no_server(config);
	return ask(client,
		   json_pack("{s:s, s:b, s:b}", "command", "reload", "dry_run", is_dry_run,
			     "allow_weaker", may_weaken),
		   print_line, NULL);
}
