/*
 * audit - one line in the log for what an operator has done, or was refused
 *
 *	posthouse/control[123]: action=delete, by=alice(1000), args="--sender=*@example.net",
 *		matched=3, recipients=3, messages=2, status=done
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "net/loop.h"

struct audit {
	const char *action; /* "hold", "reload" */
	bool is_user_known;
	uid_t uid;
	const char *arguments; /* as on the command line; from outside: escaped here */
	const char *counts;    /* "matched=3, recipients=3, messages=2", or NULL */
	const char *status;    /* "done", or why not; escaped here */
};

/*
 * Write the line. Looking a user's name up may take long, where names come
 * over the network: with a loop that is done beside it, and the line comes
 * later; with NULL at once.
 */
void audit_write(struct loop *loop, struct log *log, const struct audit *audit);
