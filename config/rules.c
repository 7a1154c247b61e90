/*
 * What one value alone does not show: settings that contradict each other.
 * Each rule looks only at values that are there, so that one fault is told once.
 */
#include "config/state.h"

static bool value_is(const struct config *c, enum config_parameter_id id, const char *text)
{
	const char *value = config_value(c, id);

	return value && strcmp(value, text) == 0;
}

static bool is_empty(const struct config *c, enum config_parameter_id id)
{
	return value_is(c, id, "");
}

/* A listener in the words of the list, for messages. */
static struct slice listener_text(const struct config *c, unsigned int index)
{
	struct slice rest = slice_from(config_value(c, CONFIG_LISTEN)), word = SLICE("");

	for (unsigned int i = 0; i <= index; i++)
		if (!c->listeners[i].is_second_half)
			slice_next_word(&rest, ", \t\r\n", &word);
	return word;
}

static void check_accounts(struct config *c)
{
	for (unsigned int i = 0; i < c->listener_count && c->mode == CONFIG_HUB; i++) {
		struct slice text = listener_text(c, i);

		if (config_listen_needs_accounts(c->listeners[i].kind) &&
		    !c->listeners[i].is_second_half)
			config_report_setting(c, CONFIG_LISTEN, CONFIG_ERROR,
					      "%.*s: a hub has no accounts; expected smtp or smtps",
					      (int)text.len, text.ptr);
	}
}

/* Or some whose value is faulty. */
static bool has_chains(const struct config *c)
{
	return config_is_given(c, CONFIG_SMTPD_TLS_CHAIN_FILES) &&
	       !is_empty(c, CONFIG_SMTPD_TLS_CHAIN_FILES);
}

/* TLS that was asked for and cannot be had is an error: it must never mean less TLS. */
static void check_certificate(struct config *c)
{
	static const char remedy[] = "set smtpd_tls_cert_file and smtpd_tls_key_file";
	bool has_smtp = false;

	if (config_given_value(c, CONFIG_SMTPD_TLS_CERT_FILE) &&
	    config_given_value(c, CONFIG_SMTPD_TLS_CHAIN_FILES))
		config_report_setting(c, CONFIG_SMTPD_TLS_CHAIN_FILES, CONFIG_ERROR,
				      "smtpd_tls_cert_file is given, too; put its certificate and "
				      "key into one file of this list, and remove it");
	if (!is_empty(c, CONFIG_SMTPD_TLS_CERT_FILE) || has_chains(c))
		return;
	if (config_given_value(c, CONFIG_TLS_SERVER_SNI_MAPS))
		config_report_setting(c, CONFIG_TLS_SERVER_SNI_MAPS, CONFIG_ERROR,
				      "there is no certificate for clients that ask for other "
				      "names, or for none: %s",
				      remedy);
	if (config_is_given(c, CONFIG_SMTPD_TLS_KEY_FILE) &&
	    !is_empty(c, CONFIG_SMTPD_TLS_KEY_FILE))
		config_report_setting(c, CONFIG_SMTPD_TLS_KEY_FILE, CONFIG_ERROR,
				      "a key without a certificate: set smtpd_tls_cert_file");
	for (unsigned int i = 0; i < c->listener_count; i++) {
		struct slice text = listener_text(c, i);

		if (c->listeners[i].is_second_half)
			continue;
		if (!config_listen_needs_tls(c->listeners[i].kind))
			has_smtp = true;
		else
			config_report_setting(c, CONFIG_LISTEN, CONFIG_ERROR,
					      "%.*s needs a certificate: %s", (int)text.len,
					      text.ptr, remedy);
	}
	if (has_smtp && config_value(c, CONFIG_SMTPD_TLS_SECURITY_LEVEL) &&
	    !value_is(c, CONFIG_SMTPD_TLS_SECURITY_LEVEL, "none"))
		config_report_setting(c, CONFIG_SMTPD_TLS_SECURITY_LEVEL, CONFIG_ERROR,
				      "%s needs a certificate: %s; or set "
				      "smtpd_tls_security_level = none",
				      config_value(c, CONFIG_SMTPD_TLS_SECURITY_LEVEL), remedy);
}

static void check_sending_tls(struct config *c)
{
	if (config_is_given(c, CONFIG_SMTP_TLS_KEY_FILE) &&
	    is_empty(c, CONFIG_SMTP_TLS_CERT_FILE) && !is_empty(c, CONFIG_SMTP_TLS_KEY_FILE))
		config_report_setting(c, CONFIG_SMTP_TLS_KEY_FILE, CONFIG_ERROR,
				      "a key without a certificate: set smtp_tls_cert_file");
}

static void check_passwords_in_the_clear(struct config *c)
{
	if (c->mode == CONFIG_EDGE && value_is(c, CONFIG_SMTPD_TLS_AUTH_ONLY, "no"))
		config_report_setting(c, CONFIG_SMTPD_TLS_AUTH_ONLY, CONFIG_WARNING,
				      "no: passwords may cross the network in the clear");
}

static void check_schedule(struct config *c)
{
	if (!config_value(c, CONFIG_MINIMAL_BACKOFF_TIME) ||
	    !config_value(c, CONFIG_MAXIMAL_BACKOFF_TIME))
		return;
	if (config_number(c, CONFIG_MINIMAL_BACKOFF_TIME) >
	    config_number(c, CONFIG_MAXIMAL_BACKOFF_TIME))
		config_report_setting(c,
				      config_is_given(c, CONFIG_MINIMAL_BACKOFF_TIME)
					      ? CONFIG_MINIMAL_BACKOFF_TIME
					      : CONFIG_MAXIMAL_BACKOFF_TIME,
				      CONFIG_ERROR,
				      "minimal_backoff_time is longer than maximal_backoff_time "
				      "(%s, %s)",
				      config_value(c, CONFIG_MINIMAL_BACKOFF_TIME),
				      config_value(c, CONFIG_MAXIMAL_BACKOFF_TIME));
}

/* Then nothing is asked for again before it is forgotten, and the next client has to wait. */
static void check_refresh(struct config *c, enum config_parameter_id refresh,
			  enum config_parameter_id expire)
{
	if (c->mode == CONFIG_HUB && config_value(c, refresh) && config_value(c, expire) &&
	    config_number(c, refresh) >= config_number(c, expire))
		config_report_setting(c, config_is_given(c, refresh) ? refresh : expire,
				      CONFIG_WARNING, "%s is not shorter than %s (%s, %s)",
				      config_schema[refresh].name, config_schema[expire].name,
				      config_value(c, refresh), config_value(c, expire));
}

static void check_user(struct config *c)
{
	if (value_is(c, CONFIG_USER, "root"))
		config_report_setting(c, CONFIG_USER, CONFIG_WARNING,
				      "root: the server keeps all privileges");
	if (is_empty(c, CONFIG_USER) && geteuid() == 0)
		config_report_setting(c, CONFIG_USER, CONFIG_ERROR,
				      "is empty; to stay root, set user = root");
}

static void check_reach(struct config *c)
{
	if (c->mode == CONFIG_HUB && is_empty(c, CONFIG_RELAY_DOMAINS))
		config_report_setting(c, CONFIG_RELAY_DOMAINS, CONFIG_WARNING,
				      "is empty: this hub forwards for nobody but mynetworks");
	if (c->mode == CONFIG_EDGE && is_empty(c, CONFIG_VIRTUAL_MAILBOX_DOMAINS) &&
	    is_empty(c, CONFIG_MYDESTINATION))
		config_report_setting(c, CONFIG_VIRTUAL_MAILBOX_DOMAINS, CONFIG_WARNING,
				      "is empty: this edge delivers to no mailbox");
}

/* Postfix has it so, too, and many a main.cf has such a line: # would be one of relay_domains. */
static void check_comments(struct config *c)
{
	for (unsigned int i = 0; i < CONFIG_PARAMETER_COUNT; i++)
		if (c->settings[i].raw && strstr(c->settings[i].raw, " # "))
			config_report_setting(c, i, CONFIG_WARNING,
					      "# and what is behind it are part of the value; a "
					      "comment has a line of its own");
}

/* Postfix does not start then, but there the limit is that of a single mail in a Maildir. */
static void check_quota(struct config *c, enum config_parameter_id id)
{
	const char *limit = config_given_value(c, id);

	if (limit && config_value(c, CONFIG_MESSAGE_SIZE_LIMIT) && config_number(c, id) > 0 &&
	    config_number(c, id) < config_number(c, CONFIG_MESSAGE_SIZE_LIMIT))
		config_report_setting(c, id, CONFIG_WARNING,
				      "%s is less than message_size_limit, %s: what fits into no "
				      "empty mailbox is taken, and waits in vain",
				      limit, config_value(c, CONFIG_MESSAGE_SIZE_LIMIT));
}

void config_check_rules(struct config *c)
{
	check_comments(c);
	check_quota(c, CONFIG_VIRTUAL_MAILBOX_LIMIT);
	check_quota(c, CONFIG_MAILBOX_SIZE_LIMIT);
	check_accounts(c);
	check_certificate(c);
	check_sending_tls(c);
	config_check_clients(c);
	config_check_logins(c);
	config_check_auth(c);
	check_passwords_in_the_clear(c);
	check_schedule(c);
	check_refresh(c, CONFIG_ADDRESS_VERIFY_POSITIVE_REFRESH_TIME,
		      CONFIG_ADDRESS_VERIFY_POSITIVE_EXPIRE_TIME);
	check_refresh(c, CONFIG_ADDRESS_VERIFY_NEGATIVE_REFRESH_TIME,
		      CONFIG_ADDRESS_VERIFY_NEGATIVE_EXPIRE_TIME);
	check_user(c);
	check_reach(c);
}
