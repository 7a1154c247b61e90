/*
 * sendmail, mailq, newaliases - the names that programs know a mail server by
 *
 * Runs with the rights of whoever calls: no setuid, no setgid. So all that
 * it can do is to write files that the server reads (mta/drop.h).
 */
#include "cli/sendmail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"

bool cli_is_sendmail(const char *name)
{
	/* bsd-mailx calls it send-mail, whatever the file is called. */
	static const char *const names[] = { "sendmail", "send-mail", "mailq", "newaliases" };
	const char *slash = strrchr(name, '/');

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(slash ? slash + 1 : name, names[i]) == 0)
			return true;
	return false;
}

static void print_usage(void)
{
	printf("Usage: sendmail [OPTION...] [RECIPIENT...]\n"
	       "       mailq\n"
	       "       newaliases\n\n"
	       "Sends the message on standard input. Addresses without a domain get myorigin.\n\n"
	       "  -t             to the recipients in To, Cc and Bcc too; Bcc is taken out\n"
	       "  -i, -oi        a line of a single dot does not end the message\n"
	       "  -f, -r SENDER  where reports go; default: who calls\n"
	       "  -F NAME        full name, for a From field where there is none\n"
	       "  -N never|success,failure,delay  when the sender wants a report\n"
	       "  -R full|hdrs   how much of the message a report returns\n"
	       "  -V ID          envelope id, for reports\n"
	       "  -B 7BIT|8BITMIME\n"
	       "  -G             the message is relayed: nothing is added to its header\n"
	       "  -bs            an SMTP session on standard input and output\n"
	       "  -bp            list the queue, as mailq does\n"
	       "  -bi            look at the alias files, as newaliases does\n"
	       "  -q, -qIID, -qRDOMAIN  try what waits at once\n"
	       "  -C FILE        configuration; default: $POSTHOUSE_CONFIG, or\n"
	       "                 " CLI_DEFAULT_CONFIG "\n\n"
	       "Other options of sendmail(1) are taken and ignored: -A -L -O -U -X -c -e -h -m -n "
	       "-o\n"
	       "-p -v -x.\n\n"
	       "Exit codes: 0 stored, 64 usage, 65 a bad address or message, 67 the caller has no\n"
	       "name, 75 try later, 77 not permitted, 78 configuration.\n");
}

/* -q: what `posthouse queue retry` does. */
static int flush_queue(const char *config_file, const struct sendmail_options *o)
{
	const struct cli cli = { .config_file = config_file };
	char name[] = "queue retry", all[] = "--all", recipient[] = "--recipient", pattern[300];
	char *argv[] = { name, all, NULL, NULL };
	int argc = 2;

	if (o->flush_id) {
		snprintf(pattern, sizeof(pattern), "%s", o->flush_id);
		argv[1] = pattern;
	} else if (o->flush_domain) {
		snprintf(pattern, sizeof(pattern), "@%s", o->flush_domain);
		argv[1] = recipient;
		argv[2] = pattern;
		argc = 3;
	}
	return cli_queue_action(&cli, argc, argv);
}

static int submit(struct sendmail *s)
{
	int code;

	if (!config_submission(s->config, &s->to)) {
		cli_print_errors(s->config);
		if (config_mode(s->config) == 0)
			cli_error("sendmail takes its configuration from -C, $POSTHOUSE_CONFIG, "
				  "or " CLI_DEFAULT_CONFIG ", which every account that sends mail "
				  "must be able to read");
		return CLI_CONFIG;
	}
	code = sendmail_find_sender(s);
	if (code != CLI_DONE)
		return code;
	sendmail_make_directories(s);
	code = s->options.mode == SENDMAIL_SMTP ? sendmail_smtp(s) : sendmail_message(s);
	if (code == CLI_DONE) {
		sendmail_queue(s->config);
		s->config = NULL;
	}
	return code;
}

static int run(struct sendmail *s, const char *config_file)
{
	switch (s->options.mode) {
	case SENDMAIL_HELP:
		print_usage();
		return CLI_DONE;
	case SENDMAIL_VERSION:
		printf("posthouse %s\n", POSTHOUSE_VERSION);
		return CLI_DONE;
	case SENDMAIL_FLUSH:
		return flush_queue(config_file, &s->options);
	case SENDMAIL_LIST:
		s->config = config_load(config_file);
		return sendmail_list(s->config);
	case SENDMAIL_ALIASES:
		s->config = config_load(config_file);
		return sendmail_aliases(config_file, s->config);
	default:
		s->config = config_load(config_file);
		return submit(s);
	}
}

int cli_sendmail(int argc, char **argv)
{
	struct sendmail sendmail = { .config = NULL };
	const char *config_file, *environment = getenv("POSTHOUSE_CONFIG");
	struct error err;
	int code;

	if (sendmail_options_parse(argc, argv, &sendmail.options, &err) < 0)
		return cli_usage_error("sendmail: %s", err.text);
	config_file = sendmail.options.config_file;
	if (!config_file)
		config_file = environment && environment[0] ? environment : CLI_DEFAULT_CONFIG;
	code = run(&sendmail, config_file);
	config_free(sendmail.config);
	arena_done(&sendmail.arena);
	return code;
}
