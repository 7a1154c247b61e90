/* ask - commands that talk to the running server */
#pragma once

#include "config/config.h"
#include "control/client.h"

/*
 * Connect to the server of this configuration. CLI_DONE, with *ret_client
 * NULL when none runs; or an exit code, and the reason has been told.
 */
int ask_connect(const struct config *config, struct control_client **ret_client);

/* The same for who can do without: NULL, and nothing is told. */
struct control_client *ask_try(const struct config *config);

/* Tell that no server runs, and the errors of the configuration. Returns CLI_NO_SERVER. */
int ask_no_server(const struct config *config);

/*
 * Send the request, which is taken over, and take each line of the answer; the
 * last one too. Returns CLI_DONE, or an exit code, and the reason has been
 * told. line() may be NULL; when it returns non-zero the rest is not awaited,
 * and that is returned.
 */
int ask(struct control_client *client, struct json_t *request,
	int (*line)(void *arg, const struct json_t *object, bool is_last), void *arg);
