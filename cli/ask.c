/* ask - see ask.h */
#include "cli/ask.h"

#include <errno.h>
#include <jansson.h>

#include "cli/cli.h"

#define TRY_PATIENCE_MS 5000 /* for what is nice to have */

/*
 * Where cli/run.c puts it; NULL where the configuration has no run_directory. A
 * file without a mode is none of ours: the defaults must not stand in for it,
 * or `-c` with the wrong file acts on another server.
 */
static char *socket_path(const struct config *config)
{
	const char *directory = config_value(config, CONFIG_RUN_DIRECTORY);
	char *path;

	return config_mode(config) != 0 && directory &&
			       asprintf(&path, "%s/control", directory) >= 0
		       ? path
		       : NULL;
}

int ask_connect(const struct config *config, struct control_client **ret_client)
{
	CLEANUP(free_strp) char *path = socket_path(config);
	struct error err = { 0 };
	int r;

	if (!path) {
		cli_print_errors(config);
		return CLI_CONFIG;
	}
	r = control_connect(path, 0, ret_client, &err);
	if (r == -EACCES)
		cli_error("%s; only root and the account of the server may do this", err.text);
	else if (r < 0)
		return cli_fail(&err);
	return r < 0 ? CLI_NOT_PERMITTED : CLI_DONE;
}

struct control_client *ask_try(const struct config *config)
{
	CLEANUP(free_strp) char *path = socket_path(config);
	struct control_client *client = NULL;

	return path && control_connect(path, TRY_PATIENCE_MS, &client, NULL) == 0 ? client : NULL;
}

int ask_no_server(const struct config *config)
{
	CLEANUP(free_strp) char *path = socket_path(config);

	cli_print_errors(config); /* they may be why */
	cli_error("no server is running: nobody listens on %s", path ? path : "its socket");
	return CLI_NO_SERVER;
}

static int fail(const struct control_client *client, int r, const struct error *err)
{
	int code = r == CONTROL_FAILED ? control_client_exit(client) : 0;

	if (code <= 0 || code > 255)
		return cli_fail(err);
	cli_error("%s", err->text);
	return code;
}

int ask(struct control_client *client, json_t *request,
	int (*line)(void *arg, const json_t *object, bool is_last), void *arg)
{
	struct error err = { 0 };
	int r = control_send(client, request, &err), stop = 0;

	while (r == 0 && stop == 0) {
		json_t *object;

		r = control_receive(client, &object, &err);
		if (r != 0 && r != CONTROL_DONE)
			break;
		if (line)
			stop = line(arg, object, r == CONTROL_DONE);
		json_decref(object);
	}
	if (stop != 0)
		return stop;
	return r == CONTROL_DONE ? CLI_DONE : fail(client, r, &err);
}
