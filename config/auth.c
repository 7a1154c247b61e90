/* AUTH: what clients log in by. (What we log in by at next hops is in logins.c.) */
#include "config/state.h"

#include "base/macros.h"
#include "edge/accounts.h"
#include "sasl/sasl.h"

static const struct {
	struct slice word;
	unsigned int bit;
} demands[] = {
	{ { "noplaintext", 11 }, EDGE_NOPLAINTEXT },
	{ { "noactive", 8 }, EDGE_NOACTIVE },
	{ { "nodictionary", 12 }, EDGE_NODICTIONARY },
	{ { "mutual_auth", 11 }, EDGE_MUTUAL_AUTH },
};

static unsigned int security_of(const struct config *c, enum config_parameter_id id)
{
	struct slice rest = slice_from(config_value(c, id)), word;
	unsigned int bits = 0;

	while (slice_next_word(&rest, ", \t\r\n", &word))
		for (size_t i = 0; i < ARRAY_SIZE(demands); i++)
			if (slice_equal_nocase(word, demands[i].word))
				bits |= demands[i].bit;
	return bits;
}

static bool is_yes(const struct config *c, enum config_parameter_id id)
{
	const char *value = config_value(c, id);

	return value && strcmp(value, "yes") == 0;
}

/* Dovecot has a list of mechanisms of its own. */
static void check_mechanisms(struct config *c)
{
	const char *filter = config_value(c, CONFIG_SMTPD_SASL_MECHANISM_FILTER);

	if (!filter || !config_value(c, CONFIG_SMTPD_SASL_TLS_SECURITY_OPTIONS))
		return;
	if (!edge_admits_any_mechanism(filter, 0, SCHEME_EVERY_SECRET))
		config_report_setting(c, CONFIG_SMTPD_SASL_MECHANISM_FILTER, CONFIG_ERROR,
				      "%s: leaves no mechanism; put static:rest behind exclusions",
				      filter);
	else if (!edge_admits_any_mechanism(filter,
					    security_of(c, CONFIG_SMTPD_SASL_TLS_SECURITY_OPTIONS),
					    SCHEME_EVERY_SECRET))
		config_report_setting(c, CONFIG_SMTPD_SASL_TLS_SECURITY_OPTIONS, CONFIG_ERROR,
				      "%s: leaves no mechanism",
				      config_value(c, CONFIG_SMTPD_SASL_TLS_SECURITY_OPTIONS));
}

bool config_logs_in(const struct config *c)
{
	return is_yes(c, CONFIG_SMTPD_SASL_AUTH_ENABLE);
}

void config_check_served(struct config *c, struct accounts *accounts)
{
	const char *filter = config_value(c, CONFIG_SMTPD_SASL_MECHANISM_FILTER);
	struct arena arena = { 0 };
	struct slice decoy = accounts_decoy(accounts, &arena);
	bool is_served =
		!filter || !config_value(c, CONFIG_SMTPD_SASL_TLS_SECURITY_OPTIONS) ||
		!config_logs_in(c) || decoy.len == 0 || /* nobody is there yet */
		edge_admits_any_mechanism(filter,
					  security_of(c, CONFIG_SMTPD_SASL_TLS_SECURITY_OPTIONS),
					  accounts_secrets(accounts));

	if (decoy.len > 0)
		explicit_bzero((void *)(uintptr_t)decoy.ptr, decoy.len);
	arena_done(&arena);
	if (!is_served)
		config_report_setting(
			c, CONFIG_SMTPD_SASL_PASSDB, CONFIG_WARNING,
			"nobody can log in: no mechanism that smtpd_sasl_mechanism_filter and "
			"smtpd_sasl_tls_security_options let can be served by every stored "
			"password");
}

/* Said by name, it was meant; static:all may mean the others. */
static bool names_external(const char *filter)
{
	struct slice rest = slice_from(filter), word;

	while (slice_next_word(&rest, ", \t\r\n", &word))
		if (slice_equal_nocase(word, SLICE("external")))
			return sasl_filter_admits(filter, "EXTERNAL");
	return false;
}

static void check_external(struct config *c)
{
	const char *filter = config_value(c, CONFIG_SMTPD_SASL_MECHANISM_FILTER);

	if (!filter || !names_external(filter) || is_yes(c, CONFIG_SMTPD_TLS_ASK_CCERT) ||
	    is_yes(c, CONFIG_SMTPD_TLS_REQ_CCERT))
		return;
	config_report_setting(c, CONFIG_SMTPD_SASL_MECHANISM_FILTER, CONFIG_WARNING,
			      "external: no client is asked for its certificate; set "
			      "smtpd_tls_ask_ccert = yes");
}

static bool requires_auth(const struct config *c)
{
	for (unsigned int i = 0; i < c->listener_count; i++)
		if (config_listen_needs_accounts(c->listeners[i].kind))
			return true;
	return false;
}

void config_check_auth(struct config *c)
{
	const char *enabled = config_value(c, CONFIG_SMTPD_SASL_AUTH_ENABLE);

	if (!enabled)
		return;
	if (c->mode == CONFIG_HUB && is_yes(c, CONFIG_SMTPD_SASL_AUTH_ENABLE))
		config_report_setting(c, CONFIG_SMTPD_SASL_AUTH_ENABLE, CONFIG_ERROR,
				      "yes: a hub has no accounts; its edges' users log in there");
	if (c->mode != CONFIG_EDGE)
		return;
	if (!is_yes(c, CONFIG_SMTPD_SASL_AUTH_ENABLE) && requires_auth(c))
		config_report_setting(c, CONFIG_SMTPD_SASL_AUTH_ENABLE, CONFIG_ERROR,
				      "no: nobody could send by the submission services of listen");
	check_mechanisms(c);
	check_external(c);
}

void config_auth_options(const struct config *c, struct edge_options *ret)
{
	ret->local_domain = config_value(c, CONFIG_SMTPD_SASL_LOCAL_DOMAIN);
	ret->mechanism_filter = config_value(c, CONFIG_SMTPD_SASL_MECHANISM_FILTER);
	ret->security = security_of(c, CONFIG_SMTPD_SASL_SECURITY_OPTIONS);
	ret->tls_security = security_of(c, CONFIG_SMTPD_SASL_TLS_SECURITY_OPTIONS);
	ret->failure_delay_ms = config_number(c, CONFIG_SMTPD_SASL_FAILURE_DELAY_LIMIT) * 1000;
}
