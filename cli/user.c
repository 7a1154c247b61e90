/*
 * posthouse user add|passwd|delete - accounts of the password file
 *
 * The password is read last, when all else has turned out right, and hashed
 * before the file is locked. It is never an argument: those are seen by all
 * on the host.
 */
#include "cli/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/utf8.h"
#include "cli/password.h"
#include "edge/accounts.h"
#include "edge/passwd_edit.h"
#include "sasl/sasl.h"

#define DEFAULT_SCHEME "SCRAM-SHA-256"

static int tell_other_source(enum accounts_kind kind, const char *path)
{
	if (kind == ACCOUNTS_SQLITE)
		cli_error("smtpd_sasl_passdb is a database (%s): change its rows where they are "
			  "made, in PostfixAdmin, or with sqlite3; `doveadm pw` makes the "
			  "value of a password column",
			  path);
	else
		cli_error("smtpd_sasl_passdb asks Dovecot (%s): accounts are where its passdb "
			  "says, see `doveconf passdb`",
			  path);
	return CLI_CONFIG;
}

int user_find_file(const struct config *config, const char **ret_file)
{
	const char *passdb = config_value(config, CONFIG_SMTPD_SASL_PASSDB);
	enum accounts_kind kind;

	if (config_mode(config) == CONFIG_HUB) {
		cli_error("a hub has no accounts; they are on the edges");
		return CLI_CONFIG;
	}
	/* Whatever else is wrong, where the accounts are is known. */
	if (!passdb) {
		cli_print_errors(config);
		return CLI_CONFIG;
	}
	kind = accounts_kind(passdb, ret_file);
	return kind == ACCOUNTS_PASSWD_FILE ? CLI_DONE : tell_other_source(kind, *ret_file);
}

int user_fail(const struct error *err)
{
	if (err->code == -ENOENT)
		cli_error("%s; posthouse user add makes it", err->text);
	else
		return cli_fail(err);
	return cli_exit_of(err);
}

/* The group of the account that the server runs as, so that it can read a file that root makes. */
static gid_t group_of_server(const struct config *config)
{
	const char *name = config_value(config, CONFIG_USER);
	const struct passwd *account = name && name[0] && geteuid() == 0 ? getpwnam(name) : NULL;

	return account && account->pw_uid != 0 ? account->pw_gid : (gid_t)-1;
}

static int check_name(const char *name)
{
	struct error err = { 0 };

	return passwd_user_check(name, &err) < 0 ? cli_usage_error("%s", err.text) : CLI_DONE;
}

/* Dovecot looks logins up in small letters; so are the names that we make. */
static char *small(const char *name)
{
	char *text = strdup(name);

	for (char *c = text; c && *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c |= 32;
	return text;
}

/* A password that the line cannot carry as it is. */
static int check_stored(struct slice stored)
{
	for (size_t i = 0; i < stored.len; i++)
		if (strchr(":\r\n", stored.ptr[i]) || stored.ptr[i] == '\0') {
			cli_error("a line of the password file cannot hold this password as it is; "
				  "use another --scheme, or --scheme PLAIN.b64");
			return CLI_NO;
		}
	return CLI_DONE;
}

/* Keys of SCRAM are made of what its clients make of the password (RFC 5802 section 2.2). */
static int make_of(const char *scheme, const char *password, struct buf *out, struct error *err)
{
	unsigned int secrets = 0;
	char *prepared = NULL;
	int r;

	if (scheme_find(scheme, &secrets, err) == 0 &&
	    (secrets == SCHEME_SCRAM_SHA_1 || secrets == SCHEME_SCRAM_SHA_256)) {
		prepared = sasl_prepare(password);
		if (!prepared)
			return error_set(err, -EINVAL,
					 "the password has characters that SCRAM does not let "
					 "through (RFC 4013), or is no UTF-8");
	}
	r = scheme_make(scheme, prepared ? prepared : password, out, err);
	if (prepared)
		explicit_bzero(prepared, strlen(prepared));
	free(prepared);
	return r;
}

static int make_stored(const char *user, const char *scheme, struct buf *out)
{
	char password[SCHEME_PASSWORD_MAX + 1] = "";
	struct error err = { 0 };
	int r = password_read(user, password, &err);

	if (r == 0)
		r = make_of(scheme, password, out, &err);
	explicit_bzero(password, sizeof(password));
	if (r == PASSWORD_REFUSED || r == -EINVAL) {
		cli_error("%s", err.text);
		return CLI_NO;
	}
	return r < 0 ? cli_fail(&err) : check_stored(buf_slice(out));
}

static int tell(const char *file, const struct passwd_edit *edit, int outcome,
		const struct error *err)
{
	static const char *const done[] = {
		[PASSWD_ADD] = "added",
		[PASSWD_SET] = "has a new password",
		[PASSWD_DELETE] = "deleted; mail that it has stays",
	};

	if (outcome < 0)
		return user_fail(err);
	if (outcome == PASSWD_EDITED) {
		printf("%s: %s\n", edit->user, done[edit->action]);
		return CLI_DONE;
	}
	if (outcome == PASSWD_USER_EXISTS)
		cli_error("%s is in %s already; posthouse user passwd gives it another password",
			  edit->user, file);
	else
		cli_error("%s is not in %s", edit->user, file);
	return CLI_NO;
}

struct search {
	const char *user;
	bool is_there;
};

static void compare(void *arg, struct slice user, const char *scheme)
{
	struct search *search = arg;

	(void)scheme;
	if (slice_equal_nocase(user, slice_from(search->user)))
		search->is_there = true;
}

/* Before somebody types a password in vain. */
static int look_before(const char *file, const struct passwd_edit *edit)
{
	struct search search = { edit->user, false };
	struct error err = { 0 };
	int r = passwd_list(file, compare, &search, &err);
	bool must_be_there = edit->action != PASSWD_ADD;

	if (r == -ENOENT && !must_be_there)
		return CLI_DONE;
	if (r < 0)
		return user_fail(&err);
	if (search.is_there != must_be_there)
		return tell(file, edit, must_be_there ? PASSWD_NO_USER : PASSWD_USER_EXISTS, &err);
	return CLI_DONE;
}

static int run_edit(const char *file, struct passwd_edit *edit, const char *scheme)
{
	struct buf stored = { 0 };
	struct error err = { 0 };
	int code = CLI_DONE;

	if (edit->action != PASSWD_DELETE) {
		code = look_before(file, edit);
		if (code == CLI_DONE)
			code = make_stored(edit->user, scheme, &stored);
	}
	edit->stored = buf_slice(&stored);
	if (code == CLI_DONE)
		code = tell(file, edit, passwd_edit(file, edit, &err), &err);
	buf_wipe(&stored);
	return code;
}

/* Whether a list of domains has this one. True where that cannot be told from the list itself. */
static bool may_list(const char *domains, const char *domain)
{
	struct slice rest = slice_from(domains), word;

	while (slice_next_word(&rest, ", \t\r\n", &word))
		if (word.ptr[0] == '.' || word.ptr[0] == '!' || slice_find(word, ':') < word.len ||
		    !utf8_is_ascii(word) || slice_equal_nocase(word, slice_from(domain)))
			return true;
	return !utf8_is_ascii(slice_from(domain));
}

/* A mistyped domain has no mail, and a name without one no Maildir of its own. */
static void warn_of_domain(const struct config *config, const char *user)
{
	const char *maps = config_value(config, CONFIG_VIRTUAL_MAILBOX_MAPS);
	const char *domains = config_value(config, CONFIG_VIRTUAL_MAILBOX_DOMAINS);
	const char *at = strrchr(user, '@');

	if (!at && !(maps && maps[0]))
		cli_error("warning: %s has no @domain: it can log in, but has no mailbox", user);
	if (at && domains && !may_list(domains, at + 1))
		cli_error("warning: %s is not in virtual_mailbox_domains (%s): %s can log in, but "
			  "gets no mail",
			  at + 1, domains, user);
}

static int edit_user(const struct cli *cli, enum passwd_action action, const char *name,
		     const char *scheme)
{
	CLEANUP(config_freep) struct config *config = NULL;
	CLEANUP(free_strp) char *user = small(name);
	struct passwd_edit edit = { .action = action, .user = user };
	struct error err = { 0 };
	const char *file = NULL;
	unsigned int secrets;
	int code = CLI_DONE;

	/* A name that could never be made may be there all the same, and go; but "" is none. */
	if (!user || ((action == PASSWD_ADD || !name[0]) && check_name(name) != CLI_DONE))
		return CLI_USAGE;
	if (scheme_find(scheme, &secrets, &err) < 0)
		return cli_usage_error("--scheme: %s", err.text);
	config = config_load(cli->config_file);
	code = user_find_file(config, &file);
	if (code != CLI_DONE)
		return code;
	edit.group = group_of_server(config);
	code = run_edit(file, &edit, scheme);
	if (code == CLI_DONE && action == PASSWD_ADD)
		warn_of_domain(config, user);
	return code;
}

static int edit_with_scheme(const struct cli *cli, enum passwd_action action, int argc, char **argv)
{
	const char *scheme = NULL;
	const struct cli_flag flags[] = { { "--scheme", NULL, &scheme } };

	int count = cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 1, 2);

	if (count < 0)
		return CLI_USAGE;
	if (count == 2) /* somebody has shown it to all on the host */
		return cli_usage_error("%s: the password is never an argument; it is asked for on "
				       "the terminal, or read from standard input",
				       argv[0]);
	return edit_user(cli, action, argv[1], scheme ? scheme : DEFAULT_SCHEME);
}

int cli_user_add(const struct cli *cli, int argc, char **argv)
{
	return edit_with_scheme(cli, PASSWD_ADD, argc, argv);
}

int cli_user_passwd(const struct cli *cli, int argc, char **argv)
{
	return edit_with_scheme(cli, PASSWD_SET, argc, argv);
}

int cli_user_delete(const struct cli *cli, int argc, char **argv)
{
	if (cli_arguments(argc, argv, NULL, 0, 1, 1) < 0)
		return CLI_USAGE;
	return edit_user(cli, PASSWD_DELETE, argv[1], DEFAULT_SCHEME);
}
