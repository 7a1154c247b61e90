/*
 * server - plays the conversations in a folder to the SMTP server engine
 *
 *	server FOLDER...
 *
 * A file is one conversation, line by line:
 *
 *	# a comment
 *	option starttls				a field of struct smtp_server_options;
 *	option size_limit 100			"option tls": the session begins in TLS
 *	option discard CHUNKING			an extension that is not offered
 *	answer rcpt x@y 550 5.1.1 No such user	how the owner answers an event: about
 *	answer end 452 4.3.1 Disk full		one address (or user), or always
 *	C: MAIL FROM:<a@b>			the client sends a line, CRLF behind it
 *	R: NOOP\n				the client sends just these bytes
 *	S: 250 2.1.0 Ok				replies and events, as in a transcript
 *	E: quit					(tests/support/server_transcript.h)
 *	T:					the TLS handshake is done
 *	X: 421 4.3.2 Shutting down		the owner ends the session
 *	? protocol ESMTPS			then this is what the engine tells of
 *	? user alice				protocol, user, hello and summary
 *
 * C: and R: know \r \n \t \\ \xHH, and \*N{TEXT} for TEXT N times.
 *
 * Each conversation is played six times: line by line, where replies must come
 * in their place; all that comes up to the next T:, X: or ? in one piece; and
 * byte by byte. Each of them with answers given at once, and late.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/macros.h"
#include "base/parse.h"
#include "tests/support/server_transcript.h"

#define LINES_MAX   400
#define ANSWERS_MAX 20

struct line {
	unsigned int number;
	char kind;	   /* C (R too), S (E too), T, X, ? */
	struct slice text; /* bytes to send, or "S: ..." whole, or what is behind the kind */
};

struct dialog {
	const char *path;
	struct arena arena;
	struct smtp_server_options options;
	bool tls;
	struct transcript_answer answers[ANSWERS_MAX];
	size_t answer_count;
	struct line lines[LINES_MAX];
	size_t line_count;
};

enum feeding { LINE_BY_LINE, ONE_PIECE, BYTE_BY_BYTE };

static const char *const feeding_names[] = { "line by line", "in one piece", "byte by byte" };

/* One way to play a dialog. */
struct play {
	const struct dialog *dialog;
	enum feeding feeding;
	struct transcript transcript;
	struct buf input;     /* sent, not yet taken by the engine */
	size_t next_expected; /* index of the first line whose S: or E: has not come yet */
	bool has_failed;
};

static void complain(const char *path, unsigned int number, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void complain(const char *path, unsigned int number, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%u: ", path, number);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
}

/* Reading a file */

static bool set_option(struct dialog *d, struct slice text)
{
	struct smtp_server_options *o = &d->options;
	struct {
		const char *name;
		bool *field;
	} flags[] = {
		{ "starttls", &o->starttls },
		{ "tls_required", &o->tls_required },
		{ "auth_equals", &o->auth_equals },
		{ "auth_clear", &o->auth_clear },
		{ "auth_required", &o->auth_required },
		{ "hello_required", &o->hello_required },
		{ "etrn", &o->etrn },
		{ "tls", &d->tls },
	};
	struct slice name = { 0 };
	uint64_t number = 0;

	slice_next_word(&text, " ", &name);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (slice_equal(name, slice_from(flags[i].name))) {
			*flags[i].field = true;
			return true;
		}
	}
	if (slice_equal(name, SLICE("discard"))) {
		o->discarded |= smtp_extension_parse(text);
		return smtp_extension_parse(text) != 0;
	}
	if (slice_equal(name, SLICE("auth")))
		o->auth = arena_slicedup(&d->arena, text);
	else if (!parse_uint(text, UINT32_MAX, &number))
		return false;
	else if (slice_equal(name, SLICE("size_limit")))
		o->size_limit = number;
	else if (slice_equal(name, SLICE("recipient_limit")))
		o->recipient_limit = (unsigned int)number;
	else if (slice_equal(name, SLICE("junk_limit")))
		o->junk_limit = (unsigned int)number;
	else
		return false;
	return true;
}

/* "550 5.1.1 TEXT" */
static bool parse_status(struct slice text, struct smtp_status *ret)
{
	struct smtp_enhanced enhanced = { 0 };
	struct slice word = { 0 };
	uint64_t code;

	if (!slice_next_word(&text, " ", &word) || !parse_uint(word, 599, &code) || code < 200)
		return false;
	smtp_enhanced_parse(&text, &enhanced);
	smtp_status_set_text(ret, (int)code, enhanced, text);
	return true;
}

static bool add_answer(struct dialog *d, struct slice text)
{
	struct transcript_answer *a = &d->answers[d->answer_count];
	struct slice event, about;

	if (d->answer_count == ANSWERS_MAX || !slice_next_word(&text, " ", &event))
		return false;
	a->event = arena_slicedup(&d->arena, event);
	if (!parse_status(text, &a->status)) {
		if (!slice_next_word(&text, " ", &about) || !parse_status(text, &a->status))
			return false;
		a->about = arena_slicedup(&d->arena, about);
	}
	d->answer_count++;
	return true;
}

static bool append_unescaped(struct buf *out, struct slice text);

/* "*N{TEXT}" in front of *text, which may hold escapes but no braces. */
static bool repeat(struct slice *text, struct buf *out)
{
	size_t open = slice_find(*text, '{'), close = slice_find(*text, '}');
	uint64_t count;

	if (close == text->len || open > close ||
	    !parse_uint(slice_of(text->ptr + 1, open - 1), 1000000, &count))
		return false;
	while (count-- > 0)
		if (!append_unescaped(out, slice_of(text->ptr + open + 1, close - open - 1)))
			return false;
	*text = slice_skip(*text, close + 1);
	return true;
}

/* Takes one escape, behind its backslash, from the front of *text. */
static bool unescape(struct slice *text, struct buf *out)
{
	static const char letters[] = "rnt\\", bytes[] = "\r\n\t\\";
	const char *letter;

	if (text->len == 0)
		return false;
	if (*text->ptr == '*')
		return repeat(text, out);
	letter = memchr(letters, *text->ptr, sizeof(letters) - 1);
	if (letter) {
		buf_append(out, bytes + (letter - letters), 1);
		*text = slice_skip(*text, 1);
		return true;
	}
	if (text->len >= 3 && *text->ptr == 'x') {
		char hex[3] = { text->ptr[1], text->ptr[2], '\0' };
		char byte = (char)strtoul(hex, NULL, 16);

		buf_append(out, &byte, 1);
		*text = slice_skip(*text, 3);
		return isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1]);
	}
	return false;
}

static bool append_unescaped(struct buf *out, struct slice text)
{
	while (text.len > 0) {
		char c = *text.ptr;

		text = slice_skip(text, 1);
		if (c != '\\')
			buf_append(out, &c, 1);
		else if (!unescape(&text, out))
			return false;
	}
	return true;
}

static bool set_bytes(struct dialog *d, struct line *line, struct slice text, bool has_end)
{
	struct buf bytes = { 0 };
	bool is_valid = append_unescaped(&bytes, text);

	if (has_end)
		buf_append_string(&bytes, "\r\n");
	line->text.len = buf_len(&bytes);
	line->text.ptr = arena_slicedup(&d->arena, buf_slice(&bytes));
	buf_done(&bytes);
	return is_valid;
}

static bool add_line(struct dialog *d, unsigned int number, struct slice text)
{
	struct line *line = &d->lines[d->line_count];
	struct slice rest = slice_skip(text, text.len > 2 && text.ptr[2] == ' ' ? 3 : 2);

	if (d->line_count == LINES_MAX || text.len < 2 ||
	    text.ptr[1] != (text.ptr[0] == '?' ? ' ' : ':'))
		return false;
	d->line_count++;
	line->number = number;
	line->kind = *text.ptr;
	switch (*text.ptr) {
	case 'C':
	case 'R':
		line->kind = 'C';
		return set_bytes(d, line, rest, *text.ptr == 'C');
	case 'S':
	case 'E':
		line->kind = 'S';
		line->text = slice_from(arena_slicedup(&d->arena, text));
		return true;
	case 'T':
	case 'X':
		line->text = slice_from(arena_slicedup(&d->arena, rest));
		return true;
	case '?':
		line->text = slice_from(arena_slicedup(&d->arena, slice_skip(text, 2)));
		return true;
	default:
		return false;
	}
}

static bool read_line(struct dialog *d, unsigned int number, struct slice text)
{
	if (text.len == 0 || *text.ptr == '#')
		return true;
	if (slice_starts_nocase(text, SLICE("option ")))
		return set_option(d, slice_skip(text, 7));
	if (slice_starts_nocase(text, SLICE("answer ")))
		return add_answer(d, slice_skip(text, 7));
	return add_line(d, number, text);
}

static bool dialog_read(struct dialog *d, const char *path)
{
	FILE *file = fopen(path, "re");
	bool is_valid = true;
	char *text = NULL;
	size_t size = 0;
	ssize_t len;

	*d = (struct dialog){ .path = path };
	d->options = (struct smtp_server_options){
		.hostname = "mx.test",
		.append_domain = "vm1.vm",
		.recipient_limit = 1000,
	};
	if (!file) {
		complain(path, 0, "%s", strerror(errno));
		return false;
	}
	for (unsigned int number = 1; (len = getline(&text, &size, file)) >= 0; number++) {
		if (len > 0 && text[len - 1] == '\n')
			len--;
		if (!read_line(d, number, slice_of(text, (size_t)len))) {
			complain(path, number, "not understood: %.*s", (int)len, text);
			is_valid = false;
		}
	}
	free(text);
	fclose(file);
	return is_valid;
}

/* Playing it */

static void play_fail(struct play *p, unsigned int number, const char *what, struct slice want,
		      struct slice got)
{
	complain(p->dialog->path, number, "%s (%s, answers %s)\n\twant  %.*s\n\tgot   %.*s", what,
		 feeding_names[p->feeding], p->transcript.is_late ? "late" : "at once",
		 (int)want.len, want.ptr, (int)got.len, got.ptr);
	p->has_failed = true;
}

/* What the engine has said since the last time must be what stands in front of lines[end]. */
static void expect_up_to(struct play *p, size_t end)
{
	const struct dialog *d = p->dialog;
	struct slice all = buf_slice(&p->transcript.lines), got;

	for (; p->next_expected < end && !p->has_failed; p->next_expected++) {
		const struct line *line = &d->lines[p->next_expected];

		if (line->kind != 'S')
			continue;
		got = slice_first(all, slice_find(all, '\n'));
		if (!slice_equal(got, line->text))
			play_fail(p, line->number, "differs", line->text, got);
		all = slice_skip(all, got.len + 1);
	}
	if (!p->has_failed && all.len > 0)
		play_fail(p, d->lines[MIN(end, d->line_count - 1)].number, "more than expected",
			  SLICE(""), slice_first(all, slice_find(all, '\n')));
	buf_clear(&p->transcript.lines);
}

/* Gives the engine what waits. */
static size_t offer(struct play *p)
{
	size_t used = transcript_input(&p->transcript, buf_slice(&p->input));

	buf_consume(&p->input, used);
	return used;
}

static void feed(struct play *p, struct slice bytes)
{
	size_t step = p->feeding == BYTE_BY_BYTE ? 1 : bytes.len;

	while (bytes.len > 0) {
		buf_append_slice(&p->input, slice_first(bytes, step));
		bytes = slice_skip(bytes, step);
		do
			while (offer(p) > 0)
				;
		while (transcript_continue(&p->transcript));
	}
}

static bool is_barrier(const struct line *line)
{
	return line->kind == 'T' || line->kind == 'X' || line->kind == '?';
}

static void check_fact(struct play *p, const struct line *line)
{
	const struct smtp_server *server = p->transcript.server;
	struct slice text = line->text, name = { 0 };
	struct buf got = { 0 };
	const char *value = NULL;

	slice_next_word(&text, " ", &name);
	if (slice_equal(name, SLICE("protocol")))
		value = smtp_server_protocol(server);
	else if (slice_equal(name, SLICE("user")))
		value = smtp_server_is_authenticated(server) ? p->transcript.user : NULL;
	else if (slice_equal(name, SLICE("hello")))
		value = smtp_server_hello(server);
	if (slice_equal(name, SLICE("summary")))
		smtp_server_summary(server, &got);
	else
		buf_append_string(&got, value ? value : "none");
	if (!slice_equal(buf_slice(&got), text))
		play_fail(p, line->number, "differs", text, buf_slice(&got));
	buf_done(&got);
}

static void pass_barrier(struct play *p, const struct line *line)
{
	struct smtp_status status;

	if (line->kind == '?') {
		check_fact(p, line);
	} else if (line->kind == 'X') {
		if (parse_status(line->text, &status))
			transcript_end(&p->transcript, &status);
	} else if (!p->transcript.in_handshake) {
		play_fail(p, line->number, "no handshake is awaited", SLICE(""), SLICE(""));
	} else {
		buf_clear(&p->input); /* what was sent in the clear is gone */
		transcript_secured(&p->transcript);
	}
}

/* Feed lines[*i] on: one line, or all up to the next barrier. Leaves *i behind them. */
static void play_client(struct play *p, size_t *i)
{
	const struct dialog *d = p->dialog;
	struct buf bytes = { 0 };

	do {
		if (d->lines[*i].kind == 'C')
			buf_append_slice(&bytes, d->lines[*i].text);
		(*i)++;
	} while (p->feeding != LINE_BY_LINE && *i < d->line_count && !is_barrier(&d->lines[*i]));
	feed(p, buf_slice(&bytes));
	buf_done(&bytes);
}

static bool play(const struct dialog *d, enum feeding feeding, bool is_late)
{
	struct play p = {
		.dialog = d,
		.feeding = feeding,
		.transcript = { .options = d->options,
				.answers = d->answers,
				.answer_count = d->answer_count,
				.is_late = is_late },
	};
	size_t i = 0;

	transcript_begin(&p.transcript, d->tls);
	while (i < d->line_count && !p.has_failed) {
		const struct line *line = &d->lines[i];

		if (line->kind == 'S') {
			i++;
			continue;
		}
		if (is_barrier(line) || feeding == LINE_BY_LINE)
			expect_up_to(&p, i);
		if (is_barrier(line)) {
			pass_barrier(&p, line);
			i++;
		} else {
			play_client(&p, &i);
		}
	}
	if (!p.has_failed)
		expect_up_to(&p, d->line_count);
	transcript_done(&p.transcript);
	buf_done(&p.input);
	return !p.has_failed;
}

static bool play_file(const char *path)
{
	static struct dialog dialog;
	bool is_fine = dialog_read(&dialog, path);

	for (int way = 0; way < 6 && is_fine; way++)
		is_fine = play(&dialog, (enum feeding)(way / 2), way % 2);
	arena_done(&dialog.arena);
	return is_fine;
}

static int is_visible(const struct dirent *entry)
{
	return *entry->d_name != '.';
}

int main(int argc, char **argv)
{
	int played = 0, failed = 0;

	for (int i = 1; i < argc; i++) {
		struct dirent **entries;
		int count = scandir(argv[i], &entries, is_visible, alphasort);

		for (int j = 0; j < count; j++) {
			char path[4096];

			snprintf(path, sizeof(path), "%s/%s", argv[i], entries[j]->d_name);
			played++;
			failed += !play_file(path);
			free(entries[j]);
		}
		if (count >= 0)
			free(entries);
	}
	printf("%d dialogs, %d failed\n", played, failed);
	return failed > 0 || played == 0;
}
