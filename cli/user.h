/* user - the password file of the configuration, for the commands that edit and list it */
#pragma once

#include "cli/cli.h"

/*
 * The file that smtpd_sasl_passdb names, owned by config. Anything else
 * (a hub, a database, an error in the configuration) is told, and the exit code
 * returned; CLI_DONE: there is one.
 */
int user_find_file(const struct config *config, const char **ret_file);

/* cli_fail(), and what to do where there is no file yet. */
int user_fail(const struct error *err);
