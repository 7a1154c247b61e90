/*
 * offline - the queue in a command's own hands, while no server runs
 *
 * What is written then is the server's: by its account, and in its log.
 */
#pragma once

#include <sys/types.h>

#include "config/config.h"
#include "net/loop.h"
#include "queue/queue.h"

struct offline {
	uid_t uid; /* who we were */
	struct log *log;
	struct queue *queue; /* this and the rest: NULL while it is not open */
	struct queue_port *port;
	struct loop *loop;
	struct loop_notify *notify;
};

/*
 * Become the account that the queue belongs to, for good, and open its log.
 * -EINVAL: the configuration lacks something, by errors that the caller tells.
 * -EPERM, -EACCES: the queue is not ours.
 */
int offline_init(struct offline *o, const struct config *config, struct error *err);
void offline_done(struct offline *o); /* of a zeroed one, too */

/*
 * Open the queue. Blocks. -EBUSY: somebody else has it, a server perhaps; may
 * be called again. While it is open a server waits for us with its start, for a
 * second at most.
 */
int offline_open(struct offline *o, const char *directory, struct error *err);
void offline_close(struct offline *o);

/* What was submitted to the port is completed here, until a completion calls offline_stop(). */
void offline_run(struct offline *o);
void offline_stop(struct offline *o);
