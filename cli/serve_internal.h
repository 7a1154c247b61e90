/* serve_internal - what the files of the server's side of commands share */
#pragma once

#include "cli/serve.h"

struct serve {
	struct loop *loop;
	struct serve_options options;
	struct control *control;
	struct queue_port *port;
	struct loop_notify *port_notify;
};

/* serve_queue.c */
void serve_queue_register(struct serve *s);
