/*
 * The header is read first, since it may name the recipients, who stand in
 * front of the message in the file. From then on the message passes through
 * in pieces. Nothing has a name that the server would look at until all is
 * there and on the disk: whoever is killed before has sent nothing.
 */
#include "cli/sendmail.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/sendmail_lines.h"
#include "smtp/address.h"

#define READ_SIZE     65536
#define FULL_NAME_MAX 200

/* ---- who it is from ---- */

static int set_sender(struct sendmail *s, const char *text)
{
	struct sendmail_addresses a = { .count = 0 };
	int code = CLI_DONE;

	sendmail_addresses_add(&a, slice_from(text), s->to.origin);
	if (a.error.code || a.count > 1)
		code = cli_usage_error("sendmail: -f %s",
				       a.error.code ? a.error.text : "has several addresses");
	else
		s->envelope.sender = a.count ? arena_strdup(&s->arena, a.list[0]) : "";
	sendmail_addresses_done(&a);
	return code;
}

static const char *clean_name(struct sendmail *s, const char *name)
{
	char *clean = arena_slicedup(&s->arena, slice_first(slice_from(name), FULL_NAME_MAX));

	for (char *c = clean; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = ' ';
	return clean;
}

/* As passwd(5) has it: up to the first comma, and "&" is the login's name. */
static const char *name_of(struct sendmail *s, const struct passwd *account)
{
	const char *gecos = account->pw_gecos ? account->pw_gecos : "";
	struct buf name = { 0 };
	char *ret;

	for (const char *c = gecos; *c && *c != ','; c++) {
		if (*c != '&') {
			buf_append(&name, c, 1);
			continue;
		}
		buf_append_string(&name, account->pw_name);
		if (account->pw_name[0] >= 'a' && account->pw_name[0] <= 'z')
			name.mem[name.end - strlen(account->pw_name)] -= 'a' - 'A';
	}
	buf_append(&name, "", 1);
	ret = arena_strdup(&s->arena, clean_name(s, buf_slice(&name).ptr));
	buf_done(&name);
	return ret;
}

int sendmail_find_sender(struct sendmail *s)
{
	const struct passwd *account = NULL;

	s->envelope.full_name = s->options.full_name ? clean_name(s, s->options.full_name) : "";
	if (s->options.sender)
		return set_sender(s, s->options.sender);
	account = getpwuid(getuid()); /* not $USER, which anybody can set */
	if (!account) {
		cli_error("sendmail: user id %lu has no name, so there is no sender; see -f",
			  (unsigned long)getuid());
		return CLI_NO_USER;
	}
	if (!s->options.full_name)
		s->envelope.full_name = name_of(s, account);
	s->envelope.sender = smtp_address_quoted(
		&s->arena, arena_printf(&s->arena, "%s@%s", account->pw_name, s->to.origin));
	return CLI_DONE;
}

/* ---- what became of it ---- */

int sendmail_not_stored(const struct sendmail *s, const struct error *err)
{
	struct stat st;

	switch (err->code) {
	case -ENOENT:
		cli_error("sendmail: %s; the server makes it when it starts (posthouse run)",
			  err->text);
		break;
	case -EACCES:
		/* Somebody has closed the directory, or one above it. */
		cli_error("sendmail: %s; every account must be able to get to %s: see posthouse "
			  "check",
			  err->text, s->to.drop_directory);
		break;
	default:
		cli_error("sendmail: %s%s", err->text,
			  stat(s->to.drop_directory, &st) < 0 ? "" : "; the message was not sent");
	}
	return CLI_TRY_LATER;
}

static int too_large(const struct sendmail *s)
{
	cli_error("sendmail: the message is larger than %llu bytes (message_size_limit)",
		  (unsigned long long)s->to.size_limit);
	return CLI_DATA;
}

/* ---- the message ---- */

struct transfer {
	struct sendmail *sendmail;
	struct sendmail_addresses arguments;
	struct sendmail_lines lines;
	struct sendmail_header header;
	struct sendmail_breaker breaker;
	struct buf text, out;
	struct drop_writer *writer; /* NULL: the header is not over yet */
	uint64_t size;
};

static void set_envelope(struct transfer *t)
{
	const struct sendmail_addresses *in_header = sendmail_header_recipients(&t->header);
	const struct sendmail_options *o = &t->sendmail->options;
	struct drop_envelope *e = &t->sendmail->envelope;
	size_t count = t->arguments.count + in_header->count;

	e->envelope_id = o->envelope_id;
	e->returning = o->returning;
	e->notify = o->notify;
	e->body_8bit = o->body_8bit;
	e->is_relayed = o->is_relayed;
	e->recipients = arena_alloc(&t->sendmail->arena, (count + 1) * sizeof(*e->recipients));
	for (size_t i = 0; i < t->arguments.count; i++)
		e->recipients[e->recipient_count++] = t->arguments.list[i];
	for (size_t i = 0; i < in_header->count; i++)
		e->recipients[e->recipient_count++] = in_header->list[i];
}

/* The header is there. */
static int begin(struct transfer *t)
{
	const struct sendmail_addresses *in_header = sendmail_header_recipients(&t->header);
	const struct config_submission *to = &t->sendmail->to;
	struct error err;

	if (in_header->error.code) {
		cli_error("sendmail: in the header: %s", in_header->error.text);
		return CLI_DATA;
	}
	if (t->header.received_count > to->hop_limit) {
		cli_error("sendmail: too many hops: the message has been received %u times",
			  t->header.received_count);
		return CLI_DATA;
	}
	if (t->arguments.count + in_header->count > DROP_RECIPIENTS_MAX) {
		cli_error("sendmail: more than %d recipients; send it in parts",
			  DROP_RECIPIENTS_MAX);
		return CLI_DATA;
	}
	set_envelope(t);
	if (t->sendmail->envelope.recipient_count == 0)
		return cli_usage_error("sendmail: no recipient addresses found in message header");
	if (drop_create(to->drop_directory, &t->sendmail->envelope, &t->writer, &err) < 0)
		return sendmail_not_stored(t->sendmail, &err);
	sendmail_breaker_input(&t->breaker, buf_slice(&t->header.text), &t->out);
	t->breaker.is_body = true;
	return CLI_DONE;
}

static int pass_on(struct transfer *t)
{
	const struct config_submission *to = &t->sendmail->to;
	struct error err;
	int r;

	t->size += buf_len(&t->out);
	if (to->size_limit > 0 && t->size > to->size_limit)
		return too_large(t->sendmail);
	r = drop_write(t->writer, buf_slice(&t->out), &err);
	buf_clear(&t->out);
	return r < 0 ? sendmail_not_stored(t->sendmail, &err) : CLI_DONE;
}

/* What is in text, which are lines. */
static int take_text(struct transfer *t, bool is_end)
{
	struct slice rest = buf_slice(&t->text);
	const struct config_submission *to = &t->sendmail->to;
	int code;

	if (!t->header.is_over) {
		sendmail_header_input(&t->header, &rest);
		if (is_end)
			sendmail_header_end(&t->header);
		if (to->size_limit > 0 && buf_len(&t->header.text) > to->size_limit)
			return too_large(t->sendmail);
	}
	if (t->header.is_over && !t->writer) {
		code = begin(t);
		if (code != CLI_DONE)
			return code;
	}
	if (t->header.is_over)
		sendmail_breaker_input(&t->breaker, rest, &t->out);
	buf_clear(&t->text);
	return t->writer ? pass_on(t) : CLI_DONE;
}

static int read_all(struct transfer *t)
{
	static char bytes[READ_SIZE];
	int code = CLI_DONE;

	while (code == CLI_DONE && !t->lines.is_over) {
		ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			cli_error("sendmail: standard input: %s", strerror(errno));
			return CLI_IO;
		}
		if (n > 0)
			sendmail_lines_input(&t->lines, slice_of(bytes, (size_t)n), &t->text);
		else
			sendmail_lines_end(&t->lines, &t->text);
		code = take_text(t, t->lines.is_over);
	}
	return code;
}

static int find_recipients(struct transfer *t)
{
	const struct sendmail *s = t->sendmail;

	for (int i = 0; i < s->options.recipient_count; i++)
		sendmail_addresses_add(&t->arguments, slice_from(s->options.recipients[i]),
				       s->to.origin);
	if (t->arguments.error.code) {
		cli_error("sendmail: %s", t->arguments.error.text);
		return CLI_DATA;
	}
	if (t->arguments.count == 0 && !s->options.takes_recipients)
		return cli_usage_error("sendmail: recipient addresses must be specified on the "
				       "command line or via the -t option");
	return CLI_DONE;
}

int sendmail_message(struct sendmail *s)
{
	struct transfer t = {
		.sendmail = s,
		.lines.keep_dots = s->options.keeps_dots,
		.header = { .takes_recipients = s->options.takes_recipients,
			    .origin = s->to.origin },
	};
	char name[DROP_NAME_SIZE];
	struct error err;
	int code;

	signal(SIGXFSZ, SIG_IGN); /* a limit of the caller's (ulimit -f) is an error to tell */
	code = find_recipients(&t);
	if (code == CLI_DONE)
		code = read_all(&t);
	if (code == CLI_DONE && drop_commit(t.writer, name, &err) < 0)
		code = sendmail_not_stored(s, &err);
	drop_free(t.writer);
	sendmail_addresses_done(&t.arguments);
	sendmail_header_done(&t.header);
	sendmail_breaker_done(&t.breaker);
	buf_done(&t.text);
	buf_done(&t.out);
	return code;
}
