/*
 * forget - see forget.h
 *
 * A server has the cache in memory, and would write its own lines over any
 * that were changed behind its back: so it is asked. With no server a line at
 * the end of the file says that what came before does not count any more.
 */
#include "cli/forget.h"

#include <errno.h>
#include <jansson.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/serve_internal.h"
#include "mta/verify_file.h"

static int forget_in_file(const struct config *config, const char *address)
{
	const char *directory = config_value(config, CONFIG_QUEUE_DIRECTORY);
	struct arena arena = { 0 };
	struct buf line = { 0 };
	struct error err = { 0 };
	int r = 0;

	if (verify_file_exists(directory)) {
		verify_file_write_line(&line, verify_cache_key(&arena, address), NULL);
		r = verify_file_append(directory, buf_slice(&line), &err);
	}
	buf_done(&line);
	arena_done(&arena);
	return r < 0 ? cli_fail(&err) : CLI_DONE;
}

int forget_address(const struct config *config, const char *address)
{
	CLEANUP(control_client_closep) struct control_client *client = NULL;
	int code = ask_connect(config, &client);

	if (code != CLI_DONE)
		return code;
	if (!client)
		return forget_in_file(config, address);
	return ask(client, json_pack("{s:s, s:s}", "command", "forget", "address", address), NULL,
		   NULL);
}

/* ---- in the server ---- */

static void run(void *arg, struct control_call *call)
{
	const struct serve *s = arg;
	const char *address = NULL;
	struct error err = { 0 };
	bool was_known;

	if (control_request_text(control_call_request(call), "address", &address, &err) < 0 ||
	    !address) {
		control_call_fail(call, CONTROL_USAGE, "forget: %s",
				  err.code ? err.text : "no address is given");
		return;
	}
	was_known = mta_forget_address(s->options.mta, address);
	serve_audit(s, call, NULL, was_known ? "done" : "done (nothing was known)");
	control_call_end(call, json_pack("{s:b}", "was_known", was_known));
}

void forget_serve(struct serve *s)
{
	static const struct control_handler handler = {
		.command = "forget",
		.arguments = "address",
		.run = run,
	};

	control_register(s->control, &handler, s);
}
