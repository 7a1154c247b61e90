/*
 * accounts - what smtpd_sasl_passdb names is opened once, to see what is wrong
 * with it
 */
#include "config/state.h"

#include "edge/accounts.h"

static void on_finding(void *arg, bool is_error, const char *source, const char *text)
{
	config_report_source(arg, CONFIG_SMTPD_SASL_PASSDB,
			     is_error ? CONFIG_ERROR : CONFIG_WARNING, source, text);
}

/* Where accounts stand, and what they are: the passwords themselves, or where to ask. */
static void check_files(struct config *c, enum accounts_kind kind, const char *path,
			struct accounts *accounts)
{
	struct arena arena = { 0 };
	const char *database = accounts ? accounts_database(accounts, &arena) : NULL;

	config_check_readable(c, CONFIG_SMTPD_SASL_PASSDB, path);
	if (kind == ACCOUNTS_PASSWD_FILE)
		config_check_secret(c, CONFIG_SMTPD_SASL_PASSDB, path);
	if (database) {
		config_check_readable(c, CONFIG_SMTPD_SASL_PASSDB, database);
		config_check_secret(c, CONFIG_SMTPD_SASL_PASSDB, database);
	}
	arena_done(&arena);
}

static void open_accounts(struct config *c, const char *passdb, struct accounts **ret_accounts)
{
	struct error err = { 0 };

	if (accounts_open(passdb, ret_accounts, &err) < 0 &&
	    config_secret_severity(c, &err) != CONFIG_ERROR) {
		config_report_file(c, CONFIG_SMTPD_SASL_PASSDB, CONFIG_WARNING, err.text);
		c->are_accounts_secret = true;
	} else {
		accounts_diagnose(passdb, on_finding, c);
	}
}

/* It may be started later than the server, and be restarted at any time: so this is no error. */
static void ask_dovecot(struct config *c)
{
	struct edge_options options;
	struct edge *edge = NULL;

	config_edge_options(c, &options);
	if (edge_new(&options, &edge, NULL) == 0 && edge_trouble(edge))
		config_report_setting(c, CONFIG_SMTPD_SASL_PASSDB, CONFIG_WARNING,
				      "Dovecot does not answer, and until it does nobody can log "
				      "in: %s",
				      edge_trouble(edge));
	edge_free(edge);
}

static void check_dovecot(struct config *c, const char *path)
{
	if (config_given_value(c, CONFIG_VIRTUAL_MAILBOX_DOMAINS) && !c->mailbox_maps &&
	    !config_is_given(c, CONFIG_VIRTUAL_MAILBOX_MAPS))
		config_report_setting(
			c, CONFIG_SMTPD_SASL_PASSDB, CONFIG_ERROR,
			"with dovecot: the accounts are Dovecot's and not known here, "
			"so set virtual_mailbox_maps to say who has a mailbox");
	if (c->is_only_asked)
		return;
	config_check_socket(c, CONFIG_SMTPD_SASL_PASSDB, path);
	ask_dovecot(c);
}

bool config_needs_accounts(const struct config *c)
{
	return config_value(c, CONFIG_SMTPD_SASL_PASSDB) &&
	       (config_logs_in(c) || (config_given_value(c, CONFIG_VIRTUAL_MAILBOX_DOMAINS) &&
				      !config_is_given(c, CONFIG_VIRTUAL_MAILBOX_MAPS)));
}

void config_check_accounts(struct config *c)
{
	CLEANUP(accounts_freep) struct accounts *accounts = NULL;
	const char *passdb = config_value(c, CONFIG_SMTPD_SASL_PASSDB), *path = NULL;
	enum accounts_kind kind;

	if (c->mode != CONFIG_EDGE || !config_needs_accounts(c))
		return;
	kind = accounts_kind(passdb, &path);
	if (kind == ACCOUNTS_DOVECOT) {
		check_dovecot(c, path);
	} else if (kind != ACCOUNTS_UNKNOWN) {
		open_accounts(c, passdb, &accounts);
		check_files(c, kind, path, accounts);
		if (accounts)
			config_check_served(c, accounts);
	}
}
