/*
 * Certificates of clients: the list of those that may relay, and what is asked
 * for that nobody can fulfil. Values alone are judged when the file is read,
 * the rest when the list was opened.
 */
#include "config/state.h"

static bool is_yes(const struct config *c, enum config_parameter_id id)
{
	return config_value(c, id) && config_bool(c, id);
}

bool config_asks_clients(const struct config *c)
{
	return is_yes(c, CONFIG_SMTPD_TLS_ASK_CCERT) || is_yes(c, CONFIG_SMTPD_TLS_REQ_CCERT);
}

/* Whether there is a listener on which a client may go on without TLS. */
static bool has_optional_tls(const struct config *c)
{
	const char *level = config_value(c, CONFIG_SMTPD_TLS_SECURITY_LEVEL);

	for (unsigned int i = 0; i < c->listener_count; i++)
		if (!config_listen_needs_tls(c->listeners[i].kind))
			return level && strcmp(level, "encrypt") != 0;
	return false;
}

static void check_demand(struct config *c)
{
	const enum config_parameter_id id = CONFIG_SMTPD_TLS_REQ_CCERT;

	if (!is_yes(c, id))
		return;
	if (config_value(c, CONFIG_SMTPD_TLS_CAFILE) &&
	    !config_given_value(c, CONFIG_SMTPD_TLS_CAFILE))
		config_report_setting(c, id, CONFIG_ERROR,
				      "yes: nobody could connect, as no CA is trusted: set "
				      "smtpd_tls_CAfile");
	if (has_optional_tls(c))
		config_report_setting(
			c, id, CONFIG_WARNING,
			"yes: has no effect on smtp listeners, where TLS is optional: "
			"set smtpd_tls_security_level = encrypt");
	if (config_is_given(c, CONFIG_SMTPD_TLS_ASK_CCERT) &&
	    !is_yes(c, CONFIG_SMTPD_TLS_ASK_CCERT))
		config_report_setting(c, CONFIG_SMTPD_TLS_ASK_CCERT, CONFIG_WARNING,
				      "no: smtpd_tls_req_ccert asks for certificates all the same");
}

void config_check_clients(struct config *c)
{
	check_demand(c);
	if (config_given_value(c, CONFIG_RELAY_CLIENTCERTS) && !config_asks_clients(c))
		config_report_setting(c, CONFIG_RELAY_CLIENTCERTS, CONFIG_ERROR,
				      "no client is asked for a certificate: set "
				      "smtpd_tls_ask_ccert = yes");
	if (config_asks_clients(c) && config_value(c, CONFIG_SMTPD_TLS_CERT_FILE) &&
	    !config_has_certificate(c))
		config_report_setting(c,
				      is_yes(c, CONFIG_SMTPD_TLS_REQ_CCERT)
					      ? CONFIG_SMTPD_TLS_REQ_CCERT
					      : CONFIG_SMTPD_TLS_ASK_CCERT,
				      CONFIG_ERROR,
				      "clients are asked during TLS, for which the server has no "
				      "certificate: set smtpd_tls_cert_file");
}

static void on_finding(void *arg, bool is_error, const char *source, const char *text)
{
	config_report_source(arg, CONFIG_RELAY_CLIENTCERTS,
			     is_error ? CONFIG_ERROR : CONFIG_WARNING, source, text);
}

void config_open_clients(struct config *c)
{
	const char *list = config_given_value(c, CONFIG_RELAY_CLIENTCERTS);

	if (!list)
		return;
	if (clientcerts_open(slice_from(list), c->directory, &c->relay_clientcerts, NULL) < 0) {
		clientcerts_diagnose(slice_from(list), c->directory, on_finding, c);
		return;
	}
	clientcerts_check(c->relay_clientcerts, on_finding, c);
	for (size_t i = 0; i < clientcerts_map_count(c->relay_clientcerts); i++)
		config_check_map_readable(c, CONFIG_RELAY_CLIENTCERTS,
					  clientcerts_map_at(c->relay_clientcerts, i));
	if (clientcerts_needs_ca(c->relay_clientcerts) &&
	    config_value(c, CONFIG_SMTPD_TLS_CAFILE) &&
	    !config_given_value(c, CONFIG_SMTPD_TLS_CAFILE))
		config_report_setting(c, CONFIG_RELAY_CLIENTCERTS, CONFIG_ERROR,
				      "a name, or all, counts only where a CA of ours has signed: "
				      "set smtpd_tls_CAfile, or list fingerprints");
}
