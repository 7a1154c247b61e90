/*
 * posthouse - main(): global options, the table of commands, their help
 *
 * A command is one or two words. Those of the contract that this version does
 * not have are in the table too, so that they are refused by name.
 */
#include <signal.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/nearest.h"
#include "cli/cli.h"

#define NAME_MAX_LEN 64

#define WHICH "ID...|--all|FILTER... [--dry-run] [--json]"

#define ACTIONS                                                                                    \
	"Acts on all that match, in one transaction, on a running server or, when none runs, on\n" \
	"the queue itself. Asks nothing; prints how many recipients of how many messages were\n"   \
	"changed. Exits 1 when an ID is not in the queue, or nothing matches.\n\n"                 \
	"  --dry-run          count only, change nothing\n"                                        \
	"  --json             as one JSON object\n"                                                \
	"  --all              everything in the queue\n\n"

#define FILTERS                                                                                    \
	"Filters; all that are given must match:\n"                                                \
	"  --sender ADDRESS     * stands for any characters, @DOMAIN for all addresses of a\n"     \
	"  --recipient ADDRESS  domain, <> for the null sender; quote them for the shell\n"        \
	"  --next-hop HOP       as `queue list` shows it; * as above\n"                            \
	"  --status STATUS      queued, active, deferred, held, or several with commas\n"          \
	"  --older-than TIME    in the queue for longer than 30s, 5m, 4h, 5d\n"

#define PASSWORD                                                                                   \
	"The password is asked\n"                                                                  \
	"for on the terminal, twice, or read as one line from standard input. A running server\n"  \
	"takes the change up by itself. "

#define SCHEMES                                                                                    \
	"  --scheme SCHEME  how the password is stored; default: SCRAM-SHA-256, by which users\n"  \
	"                   can log in by SCRAM-SHA-256, PLAIN and LOGIN. One of\n"                \
	"                     SCRAM-SHA-256 SCRAM-SHA-1 ARGON2ID ARGON2I BLF-CRYPT SHA512-CRYPT\n" \
	"                     SHA256-CRYPT MD5-CRYPT CRYPT SSHA512 SHA512 SSHA256 SHA256 "         \
	"CRAM-MD5\n"                                                                               \
	"                     PLAIN CLEARTEXT, each also with .b64 or .hex behind it\n"

static const struct cli_command commands[] = {
	{ "run", "", "run the server in the foreground, in the mode that the configuration names",
	  "SIGTERM and SIGINT: finish or park what is in flight, and exit; a second one hurries.\n"
	  "SIGHUP: open the log file anew, and reload the configuration.\n",
	  cli_run },
	{ "check", "", "report every problem of the configuration and what it names",
	  "Prints FILE:LINE: error|warning: TEXT for each problem. Exits 0 when there is no\n"
	  "error, else 1.\n",
	  cli_check },
	{ "config", "[-d] [NAME...]", "print effective parameters, or defaults",
	  "  -d  the defaults, as they are before $names are expanded\n", cli_config },
	{ "explain", "[--from SENDER] [--probe] [--forget] [--json] ADDRESS...",
	  "tell where mail for an address would go, with what TLS, and why",
	  "Shows every lookup that delivery would make and the line that decides, the next hops "
	  "in\n"
	  "their order, the TLS level and what it accepts, and what happens if the peer stops\n"
	  "offering TLS. Reads the configuration; no server need be running.\n"
	  "  --from SENDER  with this envelope sender, <> for none\n"
	  "  --probe        connect to each next hop and do the handshake, and exit 1 when one\n"
	  "                 does not satisfy the policy, or offers no login where there is\n"
	  "                 one; no password and no envelope is sent\n"
	  "  --forget       on a hub, first forget what the next hop has said of the address\n"
	  "                 (relay_recipient_verify): it is asked again when mail comes\n"
	  "  --json         one JSON object a line\n",
	  cli_explain },
	{ "ledger list", "[--json] [--since TIME] [--clear] [FILTERS]",
	  "what was attempted, and how it was encrypted",
	  "One row for each attempt to deliver to a recipient, the oldest first; kept for\n"
	  "ledger_lifetime, whatever has become of the message. Exits 1 when nothing matches.\n"
	  "  --since TIME         not longer ago than 30s, 5m, 4h, 5d\n"
	  "  --clear              only what could be read on the network\n"
	  "  --sender ADDRESS     * stands for any characters, @DOMAIN for all addresses of a\n"
	  "  --recipient ADDRESS  domain, <> for the null sender; quote them for the shell\n"
	  "  --next-hop HOP       as the route names it; * as above\n"
	  "  --status STATUS      delivered, deferred, bounced, or several with commas\n"
	  "  --json               one JSON object a line\n",
	  cli_ledger_list },
	{ "ledger verify", "[--head ROW:HASH]", "check that no row of the ledger was changed",
	  "Follows the chain of hashes from the first row to the last, names the first row that\n"
	  "was changed or is missing, and exits 1; else prints the head: the number and hash of\n"
	  "the last row. Noted down elsewhere, it shows later that all up to it is as it was.\n"
	  "  --head ROW:HASH  compare with a head that was noted (the log has some, too)\n",
	  cli_ledger_verify },
	{ "map query", "MAP KEY", "look KEY up in a map, as in hash:transport",
	  "  KEY \"-\"  each line of standard input; prints KEY, a tab, and what was found\n\n"
	  "  hash:FILE, texthash:, lmdb:, btree:  lines \"key value\" of the text file itself\n"
	  "  regexp:FILE       lines \"/pattern/ result\", tried in order; $1 in results\n"
	  "  cidr:FILE         lines \"network/bits result\", for keys that are IP addresses\n"
	  "  sqlite:FILE.cf    a query; FILE.cf names dbpath and query\n"
	  "  inline:{ k = v, ... }, static:VALUE\n\n"
	  "A relative file is looked for here, then beside the configuration file. Exits 1 when\n"
	  "the map does not have the key, 75 when that can't be told now (a locked database).\n",
	  cli_map_query },
	{ "certs ca", "--out DIR [--name NAME] [--days N] [--force]",
	  "make a private CA: DIR/ca.crt and DIR/ca.key",
	  "  --out DIR    where the files go; made if it is not there\n"
	  "  --name NAME  the CA's; default: Posthouse CA, and digits of its key\n"
	  "  --days N     how long it is good for; default: 3650\n"
	  "  --force      replace files that are there\n\n"
	  "Keys are EC P-256, readable by nobody else. Exits 1 when a file is in the way.\n",
	  cli_certs_ca },
	{ "certs issue", "--ca DIR [OPTION...] NAME...",
	  "make a certificate for a hub or an edge, signed by a CA of yours",
	  "NAME is a DNS name, which may start with *., or an IP address; the files are called\n"
	  "after the first: NAME.crt and NAME.key. It is good for servers and clients.\n\n"
	  "  --ca DIR        as `certs ca` made it; or the file of a CA's certificate\n"
	  "  --ca-key FILE   its key, where that is elsewhere\n"
	  "  --out DIR       where the files go; default: here\n"
	  "  --days N        how long it is good for; default: 365, and never longer than the CA\n"
	  "  --renew         for the key that is there, so that what is pinned to it stays good.\n"
	  "                  The first NAME alone keeps all names of the old certificate; of\n"
	  "                  several, no name of the old one may be missing, but with --force\n"
	  "  --force         replace files that are there\n\n"
	  "Files appear whole or not at all. Exits 1 when one is in the way.\n",
	  cli_certs_issue },
	{ "certs show", "[--json] [OPTION...] FILE|HOST:PORT...",
	  "show certificates, their days left and fingerprints, and what is wrong with them",
	  "Of a server, STARTTLS is used, or TLS from the first byte on port 465.\n\n"
	  "  --json        one JSON object a line\n"
	  "  --ca FILE     whether the chain leads to one of these CAs\n"
	  "  --key FILE    whether this key belongs to the certificate of the file\n"
	  "  --name NAME   ask the server for this name, and whether the certificate has it;\n"
	  "                default: HOST\n"
	  "  --starttls, --implicit  how TLS begins, whatever the port\n\n"
	  "Fingerprints are in the form that fingerprint= takes. Exits 1 when there is a "
	  "problem.\n",
	  cli_certs_show },
	{ "queue list", "[--json] [FILTER...]", "list the messages that wait, and why",
	  "  --json  one JSON object a line\n\n" FILTERS, cli_queue_list },
	{ "queue show", "[--json] ID", "show one message: envelope, each recipient's fate, history",
	  "  --json  as one JSON object\n", cli_queue_show },
	{ "queue cat", "ID", "print a message exactly as it is stored", NULL, cli_queue_cat },
	{ "queue stats", "[--json]", "count what waits, by next hop and status",
	  "  --json  one JSON object a line\n", cli_queue_stats },
	{ "queue hold", WHICH, "keep recipients from being tried until they are released",
	  ACTIONS FILTERS, cli_queue_action },
	{ "queue release", WHICH, "end a hold: they are due at once", ACTIONS FILTERS,
	  cli_queue_action },
	{ "queue retry", WHICH, "try deferred recipients at once, back-offs forgotten",
	  ACTIONS FILTERS, cli_queue_action },
	{ "queue reroute", WHICH, "look for changed maps, then try recipients at once",
	  "Every attempt looks its route up, so a changed map applies to what waits by itself; "
	  "this\n"
	  "takes the change up now.\n\n" ACTIONS FILTERS,
	  cli_queue_action },
	{ "queue bounce", WHICH, "give up on recipients: return them to the sender",
	  ACTIONS FILTERS, cli_queue_action },
	{ "queue delete", WHICH, "drop recipients; nobody is told", ACTIONS FILTERS,
	  cli_queue_action },
	{ "reload", "[--dry-run] [--allow-weaker]",
	  "have the running server load its configuration again",
	  "Sessions and deliveries under way end as they began. A configuration with errors is\n"
	  "refused, and so is one that weakens the TLS of an existing route.\n"
	  "  --dry-run       print which routes and TLS levels would change, and change nothing\n"
	  "  --allow-weaker  also where TLS becomes weaker\n",
	  cli_reload },
	{ "status", "[--json]", "tell how the running server is: next hops, queue, certificates",
	  "  --json  as one JSON object\n\n"
	  "A next hop is up when it has answered to mail since the server started, be it by a\n"
	  "refusal; in backoff when it is down and tried again later; and else unknown. Exits 69\n"
	  "when no server runs.\n",
	  cli_status },
	{ "trace", "[--json] ID|ADDRESS", "tell the life of a message",
	  "Who brought it over what TLS, what routed it, each attempt with its TLS and the reply,\n"
	  "and what happens next; also when the message has gone, for ledger_lifetime. With an\n"
	  "address: the last 20 messages from it or to it. Of those to it only what concerns it,\n"
	  "of those from it 20 recipients, first those that wait; the others are counted, and "
	  "trace\n"
	  "of the ID shows them all. Exits 1 when nothing is known.\n"
	  "  --json  one JSON object a line\n",
	  cli_trace },
	{ .name = "fleet" },
	{ "user add", "[--scheme SCHEME] NAME", "add an account to the password file",
	  "NAME is the address, as alice@vm1.vm; letters are made small. " PASSWORD
	  "Exits 1 when the account is there already.\n\n" SCHEMES,
	  cli_user_add },
	{ "user passwd", "[--scheme SCHEME] NAME", "give an account another password",
	  PASSWORD "Exits 1 when there is no such account.\n\n" SCHEMES, cli_user_passwd },
	{ "user delete", "NAME", "take an account out of the password file",
	  "Its mail stays where it is. A running server takes the change up by itself. Exits 1\n"
	  "when there is no such account.\n",
	  cli_user_delete },
	{ "user list", "[--json]", "list the accounts of the password file",
	  "Prints each name, and the scheme of its password; - where nobody can log in by it.\n"
	  "  --json  one JSON object a line\n",
	  cli_user_list },
};

static void print_usage(void)
{
	printf("Usage: posthouse [-c FILE] COMMAND [ARGUMENT...]\n\n"
	       "Commands (posthouse COMMAND --help tells more):\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].run)
			printf("  %-13s  %s\n", commands[i].name, commands[i].summary);
	printf("\nOptions:\n"
	       "  -c FILE      configuration; default: " CLI_DEFAULT_CONFIG "\n"
	       "  --version    print the version\n"
	       "  --help       print this\n\n"
	       "By links called sendmail, mailq and newaliases it does what those do: see\n"
	       "sendmail --help.\n\n"
	       "Exit codes: 0 done, 1 the answer is no, 64 usage, 69 no server is running, 74 "
	       "I/O,\n"
	       "75 try later, 77 not permitted, 78 configuration.\n");
}

static void print_command_usage(const struct cli_command *command)
{
	printf("Usage: posthouse [-c FILE] %s%s%s\n\n%c%s.\n", command->name,
	       command->arguments[0] ? " " : "", command->arguments,
	       command->summary[0] >= 'a' ? command->summary[0] - 'a' + 'A' : command->summary[0],
	       command->summary + 1);
	if (command->explanation)
		printf("\n%s", command->explanation);
}

static bool is_help(const char *argument)
{
	return strcmp(argument, "--help") == 0;
}

static const struct cli_command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* Whether there are commands of two words that begin with this one. */
static bool is_group(const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strncmp(commands[i].name, word, len) == 0 && commands[i].name[len] == ' ')
			return true;
	return false;
}

static void print_group_usage(const char *word)
{
	size_t len = strlen(word);

	printf("Usage:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].run && strncmp(commands[i].name, word, len) == 0 &&
		    commands[i].name[len] == ' ')
			printf("  posthouse [-c FILE] %s %s\n        %s\n", commands[i].name,
			       commands[i].arguments, commands[i].summary);
}

static int unknown_command(const char *name)
{
	const char *names[ARRAY_SIZE(commands)], *near;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	near = nearest_name(name, names, ARRAY_SIZE(names));
	return cli_usage_error("%s: unknown command%s%s%s; see posthouse --help", name,
			       near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static int run_command(const struct cli *cli, int argc, char **argv)
{
	const struct cli_command *command;
	char name[NAME_MAX_LEN];

	if (is_group(argv[0]) && argc > 1 && is_help(argv[1])) {
		print_group_usage(argv[0]);
		return CLI_DONE;
	}
	if (is_group(argv[0]) && argc == 1)
		return cli_usage_error("%s: which command? See posthouse %s --help", argv[0],
				       argv[0]);
	if (is_group(argv[0])) {
		snprintf(name, sizeof(name), "%s %s", argv[0], argv[1]);
		argc--;
		argv++;
	} else {
		snprintf(name, sizeof(name), "%s", argv[0]);
	}

	command = command_find(name);
	if (!command)
		return unknown_command(name);
	if (!command->run)
		return cli_usage_error("%s: not available in this version", name);
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (is_help(argv[i])) {
			print_command_usage(command);
			return CLI_DONE;
		}
	}
	argv[0] = name;
	return command->run(cli, argc, argv);
}

/* Options before the command; *index is advanced to it. Returns an exit code, or -1 to go on. */
static int take_options(struct cli *cli, int argc, char **argv, int *index)
{
	for (; *index < argc && argv[*index][0] == '-'; ++*index) {
		const char *option = argv[*index];

		if (is_help(option)) {
			print_usage();
			return CLI_DONE;
		}
		if (strcmp(option, "--version") == 0) {
			printf("posthouse %s\n", POSTHOUSE_VERSION);
			return CLI_DONE;
		}
		if (strncmp(option, "-c", 2) != 0)
			return cli_usage_error("unknown option %s; see posthouse --help", option);
		if (option[2] != '\0')
			cli->config_file = option + 2;
		else if (++*index < argc)
			cli->config_file = argv[*index];
		else
			return cli_usage_error("-c needs a file");
	}
	return -1;
}

/* What was printed must have arrived: a full disk is no success. */
static int finish(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	cli_error("standard output: cannot be written");
	return code == CLI_DONE ? CLI_IO : code;
}

int main(int argc, char **argv)
{
	struct cli cli = { .config_file = CLI_DEFAULT_CONFIG };
	int index = 1, code;

	/* `queue list | head` ends quietly, whoever starts it; the server decides for itself. */
	signal(SIGPIPE, SIG_DFL);
	if (argc > 0 && cli_is_sendmail(argv[0]))
		return finish(cli_sendmail(argc, argv));
	code = take_options(&cli, argc, argv, &index);

	if (code >= 0)
		return finish(code);
	if (index == argc)
		return cli_usage_error("no command; see posthouse --help");
	return finish(run_command(&cli, argc - index, argv + index));
}
