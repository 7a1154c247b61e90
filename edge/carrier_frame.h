/*
 * carrier_frame - what goes over the socket pair between server and carrier
 *
 * SOCK_SEQPACKET: one send() is one frame, a struct carrier_frame and text. Mails come as
 *
 *	MAIL DATA* [FAIL]  MAIL DATA* [FAIL]  …  COMMIT
 *
 * and then as many RESULT frames go back, in that order. Anything else makes
 * the carrier end: whoever sends it is not the server that we know.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "edge/carrier.h"

enum carrier_frame_kind {
	CARRIER_MAIL_HOME,    /* text: the account */
	CARRIER_MAIL_VIRTUAL, /* text: the path; with uid and gid */
	CARRIER_DATA,	      /* text: bytes of the mail */
	CARRIER_FAIL,	      /* it has no end, and is not to be delivered */
	CARRIER_COMMIT,
	CARRIER_RESULT, /* result, and text: why */
};

struct carrier_frame {
	uint32_t kind;
	int32_t result;
	uint32_t uid, gid;
	uint64_t limit_bytes;
};

#define CARRIER_TEXT_MAX 32768

struct carrier {
	int fd;
	pid_t pid;
	pthread_mutex_t mutex; /* of whoever speaks with it */
	bool is_broken;
};

/* Send a frame with its text; 0 or an error. */
int carrier_send(int fd, const struct carrier_frame *frame, struct slice text);

/*
 * Receive one; text has room for CARRIER_TEXT_MAX bytes. Returns 0 or an error: -ECONNRESET
 * at the end, -EBADMSG for what is no frame.
 */
int carrier_receive(int fd, struct carrier_frame *ret, char *text, size_t *ret_len);

/* The new process: serves until the other side is closed, or does not keep to the above. */
void carrier_run(int fd, const struct carrier_rights *rights);
