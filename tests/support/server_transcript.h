/*
 * server_transcript - an owner of the SMTP server engine that writes down all
 * it sees, one line each:
 *
 *	S: 250 2.1.5 Ok				a reply line; a space at its end is \x20
 *	E: hello client.test esmtp		(smtp after HELO)
 *	E: starttls
 *	E: auth PLAIN id= user=a password=b
 *	E: etrn vm1.vm				@vm1.vm with its subdomains
 *	E: mail <a@b> size=10 8bit auth=c ret=hdrs envid=e smtputf8	(the rest if given;
 *			also binary and requiretls, behind 8bit)
 *	E: rcpt <a@vm1.vm> typed=a notify=NEVER orcpt=rfc822;a	(typed= if it differs)
 *	E: data				"data by BDAT" if that was it
 *	E: body TEXT				a line of the message, told with its end;
 *						of a binary message all of it
 *	E: end					"end lines" of a binary one that has them
 *	E: reset				or "reset 552 5.3.4 TEXT"
 *	E: rejected RCPT 554 5.7.1 TEXT
 *	E: quit
 *
 * Bytes that are not printable are written as \r \n \\ or \xHH. However the
 * input is cut in pieces, and whenever answers are given, a transcript is the
 * same. It asserts what must hold for every session, so the fuzzer uses it too.
 */
#pragma once

#include "base/buf.h"
#include "smtp/server.h"

struct transcript_answer {
	const char *event; /* "mail", "rcpt", ... */
	const char *about; /* sender, recipient, user; NULL: all */
	struct smtp_status status;
};

struct transcript {
	struct smtp_server_options options;
	const struct transcript_answer
		*answers; /* the first that fits counts; else a friendly one */
	size_t answer_count;
	bool is_late; /* pauses at each piece of the body; answers and resumes only when told to */

	/* its own */
	struct smtp_server *server;
	struct buf output, lines, body;
	char *input; /* exact copy of what the engine reads: the sanitizer sees more than that */
	const struct transcript_answer *answer; /* to be given */
	bool is_paused, is_open, in_handshake, is_over;
	const char *challenge; /* to be given; NULL: the answer */
	bool in_auth, is_login, has_user;
	char user[64];		 /* who has tried to log in last */
	bool is_utf8, is_binary; /* of the running transaction */
};

/* options and answers are set; the rest is zero. Greets. */
void transcript_begin(struct transcript *t, bool tls);
void transcript_done(struct transcript *t);

/* Gives bytes to the engine; returns how many it used up. */
size_t transcript_input(struct transcript *t, struct slice bytes);

/* When late: give the answer, or resume, that is due. False: nothing is. */
bool transcript_continue(struct transcript *t);

/* The handshake after STARTTLS is done. */
void transcript_secured(struct transcript *t);

void transcript_end(struct transcript *t, const struct smtp_status *status);
