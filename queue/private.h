/* private - what the files of the queue know about messages and nobody else needs */
#pragma once

#include "queue/message.h"

#define QUEUE_NEVER INT64_MAX /* a due time that does not come: held, or nothing left to do */

/* A message without recipients and with no body (NULL). */
struct queue_message *queue_message_make(int64_t id, int64_t arrived_ms);

/* When the first of its recipients is due; QUEUE_NEVER when all that are pending are held. */
int64_t queue_message_due_ms(const struct queue_message *m);
