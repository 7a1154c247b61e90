/* json - one object a line, with the field names of the contract */
#pragma once

#include "cli/queue_view.h"

struct json_t;

/* Appends the object as a line. */
void cli_json_print(struct buf *out, const struct json_t *object);

/* A text that may be anything: broken UTF-8 is escaped. */
struct json_t *cli_json_text(const char *text);
struct json_t *cli_json_time(int64_t wall_ms); /* null for 0 */

/* The message and its recipients; those that are done only if asked for. The caller's. */
struct json_t *cli_json_message(const struct queue_message *m, const struct queue_view *v,
				bool with_done);
