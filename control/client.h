/*
 * client - asking the running server, from a command; blocking
 */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

struct json_t;
struct control_client;

enum control_client_outcome {
	CONTROL_NO_SERVER = 1, /* nobody listens */
	CONTROL_DONE,	       /* that was the last line */
	CONTROL_FAILED,	       /* that was the last line: the server said no */
};

/*
 * Connect. Returns 0, NO_SERVER, or an error; -EACCES: we may not talk to it.
 * patience_ms: how long each line may take until -EAGAIN; 0: two minutes.
 */
int control_connect(const char *path, int patience_ms, struct control_client **ret_client,
		    struct error *err);
void control_client_close(struct control_client *c);
DEFINE_CLEANUP(struct control_client *, control_client_close);

/* Send the request, which is taken over. */
int control_send(struct control_client *c, struct json_t *request, struct error *err);

/*
 * The next line: 0, or DONE with the last one; the object is the caller's.
 * FAILED with the server's words in err->text. Or an error.
 */
int control_receive(struct control_client *c, struct json_t **ret_object, struct error *err);

/* After FAILED: the exit code that the server gave. */
int control_client_exit(const struct control_client *c);
