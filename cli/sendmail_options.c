/*
 * The grammar is that of getopt(3): letters may share an argument, a value may
 * be in the same argument or the next, and options end at the first argument
 * that is none. But -q and -b have a grammar of their own.
 */
#include "cli/sendmail_options.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"

enum option_kind {
	OPTION_FLAG = 1,
	OPTION_VALUE,
};

struct parser {
	struct sendmail_options *o;
	struct error *err;
};

/* ---- what options mean ---- */

static int set_mode(struct parser *p, const char *value)
{
	static const struct {
		const char *value;
		enum sendmail_mode mode;
	} modes[] = {
		{ "m", SENDMAIL_MESSAGE },
		{ "s", SENDMAIL_SMTP },
		{ "p", SENDMAIL_LIST },
		{ "i", SENDMAIL_ALIASES },
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(value, modes[i].value) == 0) {
			p->o->mode = modes[i].mode;
			return 0;
		}
	if (value[0] && strchr("dDl", value[0]))
		return error_set(p->err, -EINVAL, "-b%s: the server is started by posthouse run",
				 value);
	return error_set(p->err, -EINVAL, "-b%s: not a mode that there is here; -bm, -bs, -bp, -bi",
			 value);
}

static int set_body(struct parser *p, const char *value)
{
	if (strcasecmp(value, "8BITMIME") == 0)
		p->o->body_8bit = true;
	else if (strcasecmp(value, "7BIT") == 0)
		p->o->body_8bit = false;
	else
		return error_set(p->err, -EINVAL, "-B %s: expected 7BIT or 8BITMIME", value);
	return 0;
}

/* Processing options of old: those that say nothing to us are for whoever reads the script. */
static int set_processing(struct parser *p, const char *value)
{
	if (value[0] == 'i')
		p->o->keeps_dots = true;
	else if (value[0] == '8')
		p->o->body_8bit = true;
	else if (value[0] == '7')
		p->o->body_8bit = false;
	return 0;
}

static int set_envelope_id(struct parser *p, const char *value)
{
	size_t len = strlen(value);

	for (size_t i = 0; i < len; i++)
		if (value[i] < ' ' || value[i] > '~')
			return error_set(p->err, -EINVAL, "-V: must be printable ASCII");
	if (len > SMTP_ENVELOPE_ID_MAX)
		return error_set(p->err, -EINVAL, "-V: longer than %d characters",
				 SMTP_ENVELOPE_ID_MAX);
	p->o->envelope_id = value;
	return 0;
}

static int set_value(struct parser *p, char letter, const char *value)
{
	struct sendmail_options *o = p->o;

	switch (letter) {
	case 'B':
		return set_body(p, value);
	case 'C':
		o->config_file = value;
		return 0;
	case 'F':
		o->full_name = value;
		return 0;
	case 'N':
		return smtp_notify_parse(slice_from(value), &o->notify)
			       ? 0
			       : error_set(p->err, -EINVAL,
					   "-N %s: expected never, or success, failure and delay "
					   "with commas",
					   value);
	case 'R':
		return smtp_return_parse(slice_from(value), &o->returning)
			       ? 0
			       : error_set(p->err, -EINVAL, "-R %s: expected full or hdrs", value);
	case 'V':
		return set_envelope_id(p, value);
	case 'b':
		return set_mode(p, value);
	case 'f':
	case 'r':
		o->sender = value;
		return 0;
	case 'o':
		return set_processing(p, value);
	default:
		return 0; /* A L O X e h p: harmless, and of no use here */
	}
}

static void set_flag(struct parser *p, char letter)
{
	switch (letter) {
	case 'G':
		p->o->is_relayed = true;
		break;
	case 'I':
		p->o->mode = SENDMAIL_ALIASES;
		break;
	case 'i':
		p->o->keeps_dots = true;
		break;
	case 't':
		p->o->takes_recipients = true;
		break;
	default:
		break; /* U c m n v x: as above */
	}
}

/* ---- how they are written ---- */

static enum option_kind kind_of(char letter)
{
	if (letter && strchr("ABCFLNORVXbefhopr", letter))
		return OPTION_VALUE;
	return letter && strchr("GIUcimntvx", letter) ? OPTION_FLAG : 0;
}

/* -q alone flushes; -q15m would make a daemon of another sendmail, and does nothing here. */
static int take_queue(struct parser *p, const char *value)
{
	if (value[0] == '\0' || value[0] == 'I' || value[0] == 'R') {
		p->o->mode = SENDMAIL_FLUSH;
		p->o->flush_id = value[0] == 'I' ? value + 1 : NULL;
		p->o->flush_domain = value[0] == 'R' ? value + 1 : NULL;
		return 0;
	}
	if (value[0] >= '0' && value[0] <= '9')
		return 0;
	return error_set(p->err, -EINVAL, "-q%s: expected -q, -qIID or -qRDOMAIN", value);
}

/* One argument, perhaps of several letters. Returns how many arguments were used up. */
static int take_argument(struct parser *p, const char *argument, const char *next)
{
	for (const char *c = argument + 1; *c; c++) {
		const char *value = c[1] ? c + 1 : next;
		int r;

		if (*c == 'q') {
			r = take_queue(p, c + 1);
			return r < 0 ? r : 1;
		}
		switch (kind_of(*c)) {
		case OPTION_FLAG:
			set_flag(p, *c);
			continue;
		case OPTION_VALUE:
			if (!value)
				return error_set(p->err, -EINVAL, "-%c needs a value", *c);
			r = set_value(p, *c, value);
			if (r < 0)
				return r;
			return value == next ? 2 : 1;
		default:
			return error_set(p->err, -EINVAL, "unknown option -%c; see sendmail --help",
					 *c);
		}
	}
	return 1;
}

static bool is_called(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, name) == 0;
}

static int check(const struct sendmail_options *o, struct error *err)
{
	bool takes_arguments = o->mode == SENDMAIL_MESSAGE || o->mode == SENDMAIL_ALIASES;

	if (o->recipient_count > 0 && !takes_arguments)
		return error_set(err, -EINVAL, "%s: this takes no recipients", o->recipients[0]);
	return 0;
}

int sendmail_options_parse(int argc, char **argv, struct sendmail_options *ret, struct error *err)
{
	struct parser parser = { ret, err };
	int i = 1;

	*ret = (struct sendmail_options){ .envelope_id = "" };
	if (is_called(argv[0], "mailq"))
		ret->mode = SENDMAIL_LIST;
	else if (is_called(argv[0], "newaliases"))
		ret->mode = SENDMAIL_ALIASES;
	while (i < argc && argv[i][0] == '-' && argv[i][1] != '\0') {
		int r;

		if (strcmp(argv[i], "--") == 0) {
			i++;
			break;
		}
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "--version") == 0) {
			ret->mode = argv[i][2] == 'h' ? SENDMAIL_HELP : SENDMAIL_VERSION;
			return 0;
		}
		r = take_argument(&parser, argv[i], argv[i + 1]);
		if (r < 0)
			return r;
		i += r;
	}
	ret->recipients = argv + i;
	ret->recipient_count = argc - i;
	return check(ret, err);
}
