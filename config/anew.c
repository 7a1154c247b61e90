/*
 * A configuration that is to replace another while the server runs: what may
 * not differ, and what does.
 */
#include "config/state.h"

#include "base/macros.h"

/* What was opened, made or given away at the start, for good. */
static const enum config_parameter_id fixed[] = {
	CONFIG_MODE,
	CONFIG_QUEUE_DIRECTORY,
	CONFIG_QUEUE_MINFREE,
	CONFIG_RUN_DIRECTORY,
	CONFIG_USER,
	CONFIG_WORKERS,
	/* what the process was told that writes others' mailboxes (edge/carrier.h) */
	CONFIG_VIRTUAL_UID_MAPS,
	CONFIG_VIRTUAL_GID_MAPS,
	CONFIG_VIRTUAL_MINIMUM_UID,
};

static bool is_same(const struct config *a, const struct config *b, enum config_parameter_id id)
{
	const char *a_value = config_value(a, id), *b_value = config_value(b, id);

	return a_value && b_value ? strcmp(a_value, b_value) == 0 : a_value == b_value;
}

/*
 * What nobody has set is what it was at the start: the default of user depends
 * on who asks, who was root then and is not any more; that of queue_minfree on
 * another parameter.
 */
static bool is_fixed_same(const struct config *a, const struct config *b,
			  enum config_parameter_id id)
{
	return is_same(a, b, id) || (!config_is_given(a, id) && !config_is_given(b, id));
}

static bool is_fixed(enum config_parameter_id id)
{
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (fixed[i] == id)
			return true;
	return false;
}

static const char *shown(const struct config *c, enum config_parameter_id id)
{
	const char *value = config_value(c, id);

	return value && value[0] ? value : "nothing";
}

void config_check_fixed(struct config *c)
{
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		enum config_parameter_id id = fixed[i];

		if (c->settings[id].state == SETTING_FAULTY || is_fixed_same(c, c->running, id))
			continue;
		config_report_setting(c, id, CONFIG_ERROR,
				      "%s: cannot change while the server runs, where it is %s; "
				      "this needs a restart",
				      shown(c, id), shown(c->running, id));
	}
}

static size_t add_name(struct buf *out, size_t count, const char *name, const char *what)
{
	buf_printf(out, "%s%s%s", count > 0 ? ", " : "", name, what);
	return count + 1;
}

/* Identities whose files are the same are the same. */
static bool has_same_chains(const struct config *a, const struct config *b)
{
	return !is_same(a, b, CONFIG_SMTPD_TLS_CHAIN_FILES) ||
	       !is_same(a, b, CONFIG_TLS_SERVER_SNI_MAPS) ||
	       slice_equal(buf_slice(&a->tls->others), buf_slice(&b->tls->others));
}

size_t config_changes(const struct config *config, const struct config *running, struct buf *out)
{
	size_t count = 0;

	for (unsigned int id = 0; id < CONFIG_PARAMETER_COUNT; id++)
		if (!is_fixed(id) && !is_same(config, running, id))
			count = add_name(out, count, config_schema[id].name, "");
	if (config->tls->server_identity != running->tls->server_identity &&
	    is_same(config, running, CONFIG_SMTPD_TLS_CERT_FILE))
		count = add_name(out, count, "smtpd_tls_cert_file", " (its contents)");
	if (config->tls->client_identity != running->tls->client_identity &&
	    is_same(config, running, CONFIG_SMTP_TLS_CERT_FILE))
		count = add_name(out, count, "smtp_tls_cert_file", " (its contents)");
	if (!has_same_chains(config, running))
		count = add_name(out, count, config_schema[CONFIG_SMTPD_TLS_CHAIN_FILES].name,
				 " or tls_server_sni_maps (their contents)");
	return count;
}
