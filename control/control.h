/*
 * control - the socket by which commands reach the running server
 *
 * A client connects, sends one request (control/request.h), and reads lines of
 * JSON until the last one, which has "done" or "error". Everything runs on one
 * loop, which never waits for a client: there is a bound on connections and on
 * a request, replies are made as fast as they are read, and a client that does
 * not go on for CONTROL_PATIENCE_MS is dropped.
 *
 * Root and the account of the server may do everything. Where the directory of
 * the socket has the set-group-id bit, the socket has its group and mode 0660,
 * and members of that group may use the handlers that only look. The kernel
 * says who a client is; where it does not, the mode of the file (0600) decides.
 *
 * "control.lock" beside the socket is held as long as the server lives, so two
 * servers never share one, and a socket without its holder is a stale one.
 */
#pragma once

#include <sys/types.h>

#include "control/request.h"
#include "net/loop.h"

#define CONTROL_PATIENCE_MS	30000
#define CONTROL_CONNECTIONS	32
#define CONTROL_GROUP_SHARE	16 /* of these; so the group cannot keep root out */
#define CONTROL_OUTPUT_MAX	((size_t)64 * 1024)
#define CONTROL_MODE_ALONE	0600
#define CONTROL_MODE_WITH_GROUP 0660

/* Exit codes for the client, as in sysexits.h. */
enum control_exit {
	CONTROL_NO = 1, /* it ran, and the answer is no */
	CONTROL_USAGE = 64,
	CONTROL_IO = 74,
	CONTROL_TRY_LATER = 75,
	CONTROL_NOT_PERMITTED = 77,
	CONTROL_CONFIG = 78,
};

struct control;
struct control_call;

struct control_handler {
	const char *command;
	const char *arguments; /* the names that it knows, separated by spaces */
	bool only_looks;       /* members of the group may */

	/*
	 * Start to answer. The call lives until control_call_end() or _fail(),
	 * one of which must be called, now or later, on the loop.
	 */
	void (*run)(void *arg, struct control_call *call);
};

struct control_options {
	const char *path;    /* of the socket; its directory exists */
	int64_t patience_ms; /* with a client whose turn it is; 0: CONTROL_PATIENCE_MS */

	/* May be NULL. Somebody was refused what his request asks for; trouble to tell of. */
	void (*refused)(void *arg, const struct control_call *call);
	void (*warn)(void *arg, const char *text);
	void *arg;
};

/* Bind, and serve from now on. -EBUSY: another server has it. */
int control_new(struct loop *loop, const struct control_options *options,
		struct control **ret_control, struct error *err);

/*
 * Remove the socket, and run the loop until each call has its answer. Not
 * inside a callback of the loop. NULL is fine.
 */
void control_free(struct control *c);

/* At most CONTROL_HANDLERS; handler is used until control_free(). */
#define CONTROL_HANDLERS 32
void control_register(struct control *c, const struct control_handler *handler, void *arg);

const struct control_request *control_call_request(const struct control_call *call);

/* The account of the client. False where the system does not tell: it is then ours or root. */
bool control_call_user(const struct control_call *call, uid_t *ret_uid);

/* The client has gone: what is replied goes nowhere. */
bool control_call_is_gone(const struct control_call *call);

/* A line of the answer; takes the object over. */
void control_call_reply(struct control_call *call, struct json_t *object);

/*
 * For long answers: more() is called whenever less than CONTROL_OUTPUT_MAX
 * waits to be read, and replies a few lines or ends the call; also once the
 * client has gone, to end it.
 */
void control_call_stream(struct control_call *call,
			 void (*more)(void *arg, struct control_call *call), void *arg);

/* The last line: the object, which is taken over and may be NULL, and "done". */
void control_call_end(struct control_call *call, struct json_t *object);
void control_call_fail(struct control_call *call, enum control_exit code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
