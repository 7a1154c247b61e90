/*
 * pair - a client engine and a server engine back to back, in memory
 *
 * Messages go through both, and through owners who follow the rules but are as
 * awkward as these allow: bytes cross in pieces, answers and bodies come late, the
 * server's owner pauses, and refuses where he is told to. Whatever they do, this
 * must hold, and is asserted:
 * - each message is one transaction, in order: no byte of it is taken for a command;
 * - a recipient is delivered only where the server's owner has taken the message,
 *   and what he has is what the client's owner had;
 * - what is taken is told, and each recipient is told once.
 */
#pragma once

#include "base/buf.h"

#define PAIR_RECIPIENTS_MAX 3

struct pair_options {
	/*
	 * One byte for each decision. When they are used up all is simple: pieces
	 * are whole, answers come at once, and nothing is refused.
	 */
	struct slice choices;
	bool may_refuse;	/* owners' refusals are among the decisions */
	unsigned int discarded; /* enum smtp_extension, or-ed: what the server has not */
	bool no_pipelining;
};

struct pair_message {
	struct slice body;
	bool is_binary;
	unsigned int recipient_count; /* 1 to PAIR_RECIPIENTS_MAX */

	/* What became of it: */
	struct buf arrived;
	bool is_taken;		/* the server's owner has said 250 to it */
	unsigned int told;	/* recipients whose fate the client has told, */
	unsigned int delivered; /*   and of these */
	int code;		/* of the last one that was not */
	bool is_broken;		/* the session ended amid it */
};

/* Send count messages over one session. The caller frees what has arrived. */
void pair_run(const struct pair_options *options, struct pair_message *messages, size_t count);

/*
 * Whether a body can go as text: CR and LF only together, and no NUL. It arrives
 * as it is, but that its last line is completed.
 */
bool pair_is_text(struct slice body);
