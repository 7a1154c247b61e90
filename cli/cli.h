/*
 * cli - what the commands share: exit codes, messages, the configuration
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "config/config.h"

#define CLI_DEFAULT_CONFIG "/etc/posthouse/posthouse.conf"

/* What scripts may rely on; the values are those of sysexits.h. */
enum cli_exit {
	CLI_DONE = 0,
	CLI_NO = 1, /* it ran, and the answer is no */
	CLI_USAGE = 64,
	CLI_DATA = 65,	  /* sendmail: the message cannot be sent as it is */
	CLI_NO_USER = 67, /* sendmail: the caller has no name */
	CLI_NO_SERVER = 69,
	CLI_IO = 74,
	CLI_TRY_LATER = 75,
	CLI_NOT_PERMITTED = 77,
	CLI_CONFIG = 78,
};

/* What stands before the command. */
struct cli {
	const char *config_file;
};

struct cli_command {
	const char *name;	 /* one or two words: "check", "queue list" */
	const char *arguments;	 /* "[--json] ID" */
	const char *summary;	 /* one line */
	const char *explanation; /* what --help says after that; may be NULL */

	/* argv[0] is the name. Returns an exit code. NULL: not available yet. */
	int (*run)(const struct cli *cli, int argc, char **argv);
};

int cli_certs_ca(const struct cli *cli, int argc, char **argv);
int cli_certs_issue(const struct cli *cli, int argc, char **argv);
int cli_certs_show(const struct cli *cli, int argc, char **argv);
int cli_check(const struct cli *cli, int argc, char **argv);
int cli_config(const struct cli *cli, int argc, char **argv);
int cli_explain(const struct cli *cli, int argc, char **argv);
int cli_ledger_list(const struct cli *cli, int argc, char **argv);
int cli_ledger_verify(const struct cli *cli, int argc, char **argv);
int cli_map_query(const struct cli *cli, int argc, char **argv);
int cli_queue_action(const struct cli *cli, int argc, char **argv); /* hold, release, ... */
int cli_reload(const struct cli *cli, int argc, char **argv);
int cli_queue_cat(const struct cli *cli, int argc, char **argv);
int cli_queue_list(const struct cli *cli, int argc, char **argv);
int cli_queue_show(const struct cli *cli, int argc, char **argv);
int cli_queue_stats(const struct cli *cli, int argc, char **argv);
int cli_status(const struct cli *cli, int argc, char **argv);
int cli_run(const struct cli *cli, int argc, char **argv);
int cli_trace(const struct cli *cli, int argc, char **argv);
int cli_user_add(const struct cli *cli, int argc, char **argv);
int cli_user_passwd(const struct cli *cli, int argc, char **argv);
int cli_user_delete(const struct cli *cli, int argc, char **argv);
int cli_user_list(const struct cli *cli, int argc, char **argv);

/*
 * sendmail.c: as sendmail, mailq or newaliases, by the name of a link. Returns
 * an exit code.
 */
bool cli_is_sendmail(const char *name);
int cli_sendmail(int argc, char **argv);

/* message.c: "posthouse: TEXT" on standard error; text from outside is escaped. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, and returns CLI_USAGE. */
int cli_usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The exit code that goes with an error of a module; _fail() tells it, too. */
int cli_exit_of(const struct error *err);
int cli_fail(const struct error *err);

/* One of is_set and value is given. */
struct cli_flag {
	const char *name; /* "--json", "-d" */
	bool *is_set;
	const char **value; /* takes one, as the next argument or behind "=" */
};

/*
 * Take flags, which may stand anywhere before "--", out of argv. What is left
 * are the arguments: argv[1] and up. Returns their count, or -1 when something
 * was wrong, which has been told: the command then returns CLI_USAGE.
 */
int cli_arguments(int argc, char **argv, const struct cli_flag *flags, size_t flag_count,
		  int minimum, int maximum);

/* The errors of a configuration, on standard error. */
void cli_print_errors(const struct config *config);

/* format.c: what people read. All append to out. */
void cli_format_duration(struct buf *out, int64_t seconds);    /* "3m12s", "2d4h" */
void cli_format_size(struct buf *out, uint64_t bytes);	       /* "812 B", "4.1 KiB" */
void cli_format_text(struct buf *out, const char *text);       /* escaped */
void cli_format_address(struct buf *out, const char *address); /* escaped; "<>" when empty */

/* Print what is in the buffer and empty it. */
void cli_print(struct buf *out);
