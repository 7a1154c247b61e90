/*
 * server_bdat - BDAT: the message in chunks of a known length (RFC 3030)
 *
 * Behind the command come as many octets as it says, whatever we think of it.
 * So each BDAT whose number can be read takes its octets before it is
 * answered, and drops them where it is refused: a client that has pipelined
 * what follows is never misunderstood, and no octet is ever read as a command.
 * Where the number cannot be read nobody knows where the next command begins,
 * and the session ends.
 *
 * A message with a fault, or one that is too large, is doomed as with DATA:
 * all further chunks up to the last are answered alike, or until RSET. Dots
 * mean nothing in here. Unless it is binary the message is made of lines, as
 * it may have to go on by DATA: a bare CR or LF and a NUL are refused, and the
 * last line is completed.
 */
#include <inttypes.h>

#include "base/macros.h"
#include "base/parse.h"
#include "smtp/server_internal.h"

#define PIECE_MAX 65536 /* how many octets are passed on at a time */

/* "COUNT [LAST]". False: the count can't be read, and the session was ended. */
static bool parse_chunk(struct smtp_server *s, struct slice args)
{
	struct slice count = { 0 }, last = { 0 }, more;

	s->chunk = (struct server_chunk){ .then = s->state };
	slice_next_word(&args, " \t", &count);
	if (!parse_uint(count, INT64_MAX, &s->chunk.size)) {
		server_out_of_step(s, 501, ESC(5, 5, 4), "Syntax: BDAT count [LAST]");
		return false;
	}
	s->chunk.left = s->chunk.size;
	slice_next_word(&args, " \t", &last);
	s->chunk.is_last = slice_equal_nocase(last, SLICE("LAST"));
	if ((last.len > 0 && !s->chunk.is_last) || slice_next_word(&args, " \t", &more))
		smtp_status_set(&s->chunk.refusal, 501, ESC(5, 5, 4), "Syntax: BDAT count [LAST]");
	return true;
}

/* Read what was announced; nothing, if that is nothing. */
static void start_chunk(struct smtp_server *s)
{
	struct slice none = { 0 };

	if (s->chunk.left == 0 && !s->chunk.is_last)
		server_count_idle(s);
	server_enter(s, SERVER_CHUNK);
	s->paused = s->data_ended = false;
	if (s->chunk.left == 0)
		server_bdat_take(s, &none);
}

void server_bdat_refuse(struct smtp_server *s, struct slice args, const struct smtp_status *refusal)
{
	if (!parse_chunk(s, args))
		return;
	s->chunk.refusal = *refusal;
	start_chunk(s);
}

/* Why a BDAT in its place is refused, whatever its octets are. */
static bool find_refusal(const struct smtp_server *s, struct smtp_status *ret)
{
	if (s->options->discarded & SMTP_CHUNKING)
		smtp_status_set(ret, 502, ESC(5, 5, 1), "Error: command not implemented");
	else if (!s->esmtp)
		smtp_status_set(ret, 503, ESC(5, 5, 1), "Error: send EHLO first");
	else if (s->rcpt_count == 0 && s->state != SERVER_CHUNKS)
		smtp_status_set(ret, 554, ESC(5, 5, 1), "Error: no valid recipients");
	else
		return false;
	return true;
}

static void begin_message(struct smtp_server *s)
{
	s->reader = (struct smtp_data_reader){ .is_chunked = true };
	s->doom = (struct smtp_status){ 0 };
	s->announced = 0;
}

/* Known at once, and so told: of what is too large nothing need be kept. */
static void judge_size(struct smtp_server *s)
{
	struct smtp_status why;

	s->announced += MIN(s->chunk.left, UINT64_MAX - s->announced);
	if (s->doom.code != 0 || s->options->size_limit == 0 ||
	    s->announced <= s->options->size_limit)
		return;
	smtp_status_set(&why, 552, ESC(5, 3, 4), SERVER_TOO_BIG);
	server_data_doom(s, &why);
}

void server_cmd_bdat(struct smtp_server *s, struct slice args)
{
	struct smtp_status refusal;
	bool is_first = s->state != SERVER_CHUNKS;

	if (find_refusal(s, &refusal)) {
		server_bdat_refuse(s, args, &refusal);
		return;
	}
	if (!parse_chunk(s, args))
		return;
	if (is_first)
		begin_message(s);
	if (s->doom.code == 0 && s->chunk.refusal.code != 0)
		server_data_doom(s, &s->chunk.refusal); /* was it the last? nobody knows */
	s->chunk.refusal = (struct smtp_status){ 0 };
	judge_size(s);
	if (is_first && s->doom.code == 0) { /* now it is the owner's turn */
		server_enter(s, SERVER_ASK_CHUNK);
		s->events->data(s->arg, s->verb);
	} else {
		start_chunk(s);
	}
}

void server_bdat_answered(struct smtp_server *s, const struct smtp_status *status)
{
	if (status->code == 421) {
		server_reply_status(s, status); /* the session is over: nothing more is read */
		return;
	}
	if (status->code != 354)
		server_data_doom(s, status);
	start_chunk(s);
}

/* As it is; the reader only finds out whether it is lines all the same. */
static void pass_on_binary(struct smtp_server *s, struct slice piece)
{
	struct slice rest = piece;

	if (s->reader.fault == SMTP_DATA_FINE)
		smtp_data_read(&s->reader, &rest, &s->body);
	buf_clear(&s->body);
	if (piece.len > 0)
		s->events->body(s->arg, piece);
}

static void pass_on(struct smtp_server *s, struct slice piece)
{
	bool is_end = s->chunk.left == 0 && s->chunk.is_last;

	if (s->mail.body_binary) {
		pass_on_binary(s, piece);
		return;
	}
	smtp_data_read(&s->reader, &piece, &s->body);
	if (is_end)
		smtp_data_read_end(&s->reader, &s->body);
	server_data_judge(s);
	if (s->doom.code == 0 && buf_len(&s->body) > 0)
		s->events->body(s->arg, buf_slice(&s->body));
	buf_clear(&s->body);
}

void server_bdat_take(struct smtp_server *s, struct slice *input)
{
	struct slice piece = slice_first(*input, PIECE_MAX);

	if (piece.len > s->chunk.left)
		piece.len = (size_t)s->chunk.left;
	*input = slice_skip(*input, piece.len);
	s->chunk.left -= piece.len;
	if (s->chunk.refusal.code == 0 && s->doom.code == 0)
		pass_on(s, piece);
	s->data_ended = s->chunk.left == 0;
	if (s->data_ended && !s->paused)
		server_bdat_end(s);
}

/*
 * A client that pipelines chunks behind the one that was refused has made one
 * error, and not as many as it has chunks; but for ever it may not go on.
 */
static void refuse(struct smtp_server *s, enum server_state then, const struct smtp_status *why)
{
	server_enter(s, then);
	if (s->refusals++ == 0) {
		server_reply_status(s, why);
		return;
	}
	server_append(s, why);
	server_count_idle(s);
	server_check_errors(s);
}

void server_bdat_end(struct smtp_server *s)
{
	struct smtp_status status;

	if (s->chunk.refusal.code != 0) {
		refuse(s, s->chunk.then, &s->chunk.refusal);
	} else if (s->chunk.is_last) {
		server_data_end(s);
	} else if (s->doom.code != 0) {
		refuse(s, SERVER_CHUNKS, &s->doom);
	} else {
		server_enter(s, SERVER_CHUNKS);
		smtp_status_set(&status, 250, ESC(2, 0, 0), "Ok: %" PRIu64 " octets",
				s->chunk.size);
		server_reply_status(s, &status);
	}
}
