/* forget - what address verification knows of an address (mta/verify.h) goes */
#pragma once

#include "cli/serve.h"
#include "config/config.h"

/*
 * By the running server; or, when none runs, in its file. Returns CLI_DONE,
 * also where nothing was known; or an exit code, and the reason has been told.
 */
int forget_address(const struct config *config, const char *address);

/* The server's side. */
void forget_serve(struct serve *s);
