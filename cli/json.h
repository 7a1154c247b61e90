/* json - one object a line, with the field names of the contract */
#pragma once

#include "base/buf.h"
#include "queue/message.h"

/* Appends the message and its recipients; those that are done only if asked for. */
void cli_json_message(struct buf *out, const struct queue_message *m, bool with_done);
