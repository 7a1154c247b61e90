/*
 * request - what a client asks for: one JSON object on one line
 *
 *	{"command":"queue hold","ids":["1A2B"],"dry_run":true}
 *
 * "command" is required; everything else are the arguments of that command,
 * which asks for them by name and type. The client is another process, so
 * nothing in it is believed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

#define CONTROL_REQUEST_MAX ((size_t)1024 * 1024) /* bytes of the line: thousands of ids fit */

struct json_t;
struct control_request;

/* line: without its end. -EINVAL says what is wrong with it; the text is escaped. */
int control_request_parse(struct slice line, struct control_request **ret_request,
			  struct error *err);

/* The same from an object that was made here; takes it over. */
int control_request_from(struct json_t *object, struct control_request **ret_request,
			 struct error *err);
void control_request_free(struct control_request *r);
DEFINE_CLEANUP(struct control_request *, control_request_free);

const char *control_request_command(const struct control_request *r);

/*
 * Whether all arguments are in names, which are separated by spaces: what a
 * server does not know it must not ignore, "dry_run" least of all. Else -EINVAL.
 */
int control_request_allow(const struct control_request *r, const char *names, struct error *err);

/* An argument that is absent leaves *ret alone; one of another type is -EINVAL. */
int control_request_flag(const struct control_request *r, const char *name, bool *ret,
			 struct error *err);
int control_request_number(const struct control_request *r, const char *name, int64_t *ret,
			   struct error *err);
int control_request_text(const struct control_request *r, const char *name, const char **ret,
			 struct error *err);

/* An array of texts: calls take() with each; its negative results end it. */
int control_request_texts(const struct control_request *r, const char *name,
			  int (*take)(void *arg, const char *text, struct error *err), void *arg,
			  struct error *err);

/*
 * The arguments as on a command line, for the log: "--sender=*@x --dry-run".
 * Not escaped, and cut where it is long.
 */
void control_request_describe(const struct control_request *r, struct buf *out);
