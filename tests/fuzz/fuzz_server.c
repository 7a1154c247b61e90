/*
 * fuzz_server - a client that says anything, to the server engine
 *
 * The first byte chooses options, the second how the input is cut; the rest is
 * what the client sends. Behind STARTTLS everything up to a byte 0xff is lost.
 * Each input is played twice: in one piece with answers at once, and in pieces
 * with answers given late. Besides what tests/support/server_transcript.c
 * asserts of every session, both transcripts must be the same.
 */
#include <string.h>

#include "base/macros.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/server_transcript.h"

/* What the owner says besides yes; the last one only if an option says so. */
static const struct transcript_answer answers[] = {
	{ "auth", "x", { 535, { 5, 7, 8 }, "Error: authentication failed" } },
	{ "etrn", "x", { 459, { 4, 7, 1 }, "<x>: service unavailable" } },
	{ "mail", "x@y", { 553, { 5, 7, 1 }, "Sender address rejected" } },
	{ "rcpt", "x@y", { 550, { 5, 1, 1 }, "User unknown" } },
	{ "rcpt", "z@y", { 421, { 4, 3, 2 }, "Service not available" } },
	{ "mail", "d@y", { 250, { 2, 1, 0 }, "\303\274 \177" } },
	{ "end", NULL, { 451, { 4, 3, 0 }, "Error: queue file write error" } },
};

/* One way to play the input. */
struct play {
	struct transcript transcript;
	struct slice input;  /* what the client has not sent yet */
	struct buf sent;     /* what the engine has not taken yet */
	unsigned int random; /* for the sizes of pieces; 0: one piece */
};

static void set_options(struct play *p, uint8_t bits, uint8_t more)
{
	p->transcript.options = (struct smtp_server_options){
		.hostname = "mx.test",
		.append_domain = "vm1.vm",
		.size_limit = bits & 1 ? 100 : 0,
		.recipient_limit = 3,
		.junk_limit = bits & 2 ? 1000 : 5,
		.starttls = bits & 4,
		.tls_required = bits & 8,
		.auth = bits & 16 ? "PLAIN LOGIN" : NULL,
		.auth_clear = bits & 32,
		.auth_required = bits & 64,
		.hello_required = more & 2,
		.etrn = more & 8,
		.discarded = more & 4 ? SMTP_CHUNKING | SMTP_SMTPUTF8 : 0,
	};
	p->transcript.answers = answers;
	p->transcript.answer_count = ARRAY_SIZE(answers) - !(more & 1);
}

static size_t next_piece(struct play *p)
{
	if (p->random == 0)
		return p->input.len;
	p->random = p->random * 1103515245u + 12345u;
	return (p->random >> 16) % ((p->random >> 8) % 4 ? 6 : 60) + 1;
}

/* Gives the engine what waits. */
static bool offer(struct play *p)
{
	size_t used = transcript_input(&p->transcript, buf_slice(&p->sent));

	buf_consume(&p->sent, used);
	return used > 0;
}

/* The handshake ends where the client sent 0xff; what it sent before that was not encrypted. */
static bool shake_hands(struct play *p)
{
	size_t end = slice_find(buf_slice(&p->sent), '\377');
	bool is_done = end < buf_len(&p->sent);

	buf_consume(&p->sent, end + is_done);
	if (is_done)
		transcript_secured(&p->transcript);
	return is_done;
}

static void play(struct play *p, bool tls)
{
	transcript_begin(&p->transcript, tls);
	while (p->input.len > 0) {
		struct slice piece = slice_first(p->input, next_piece(p));

		p->input = slice_skip(p->input, piece.len);
		buf_append_slice(&p->sent, piece);
		while (offer(p) || transcript_continue(&p->transcript) ||
		       (p->transcript.in_handshake && shake_hands(p)))
			;
	}
	buf_append_string(&p->transcript.lines, smtp_server_protocol(p->transcript.server));
	smtp_server_summary(p->transcript.server, &p->transcript.lines);
}

static void play_done(struct play *p)
{
	transcript_done(&p->transcript);
	buf_done(&p->sent);
}

/*
 * Which of two reasons dooms a message depends on how much of it is looked at
 * at once, when both turn up; either is right.
 */
static bool is_too_big(const struct play *p)
{
	struct slice lines = buf_slice(&p->transcript.lines);

	return memmem(lines.ptr, lines.len, "file too big", 12);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play whole = { 0 }, pieces = { 0 };

	if (size < 2)
		return 0;
	set_options(&whole, data[0], data[1]);
	set_options(&pieces, data[0], data[1]);
	whole.input = pieces.input = slice_of((const char *)data + 2, size - 2);
	pieces.random = data[1] + 1u;
	pieces.transcript.is_late = true;

	play(&whole, data[0] & 128);
	play(&pieces, data[0] & 128);
	MUST(is_too_big(&whole) || is_too_big(&pieces) ||
	     slice_equal(buf_slice(&whole.transcript.lines), buf_slice(&pieces.transcript.lines)));
	play_done(&whole);
	play_done(&pieces);
	return 0;
}
