/* Values become the fields that the modules declare; here every value is known to be good. */
#include "config/state.h"

#include <assert.h>

#include "base/macros.h"
#include "mta/domain_list.h"
#include "smtp/server.h"

#define MAIL_NAME    "Posthouse"
#define MEMORY_LIMIT (64u << 20) /* messages that wait in memory; the rest waits on disk */

/* As edge_is_local() (edge/lookup.c) has it, before there is an edge. */
static int edge_is_local(void *arg, struct slice domain, struct error *err)
{
	const struct config *c = arg;
	struct domains *lists[] = { c->local_domains, c->alias_domains, c->mailbox_domains };
	int r = MAP_NOT_FOUND;

	for (size_t i = 0; i < ARRAY_SIZE(lists) && r == MAP_NOT_FOUND; i++)
		if (lists[i])
			r = domain_list_has(lists[i], domain, err);
	return r;
}

static int edge_is_home(void *arg, struct slice domain, struct error *err)
{
	const struct config *c = arg;

	return c->local_domains ? domain_list_has(c->local_domains, domain, err) : MAP_NOT_FOUND;
}

static int hub_is_local(void *arg, struct slice domain, struct error *err)
{
	(void)arg;
	(void)domain;
	(void)err;
	return MAP_NOT_FOUND; /* a hub has no mailboxes */
}

static enum tls_level level_of(const struct config *c, enum config_parameter_id id)
{
	enum tls_level level = TLS_LEVEL_ENCRYPT;

	tls_level_parse(slice_from(config_value(c, id)), &level, NULL);
	return level;
}

void config_transport_options(const struct config *c, struct transport_options *ret)
{
	const char *ca_file = config_value(c, CONFIG_SMTP_TLS_CAFILE);
	const char *default_transport = config_value(c, CONFIG_DEFAULT_TRANSPORT);

	*ret = (struct transport_options){
		.transport_maps = c->transport_maps,
		.tls_policy_maps = c->tls_policy_maps,
		.relayhost = config_value(c, CONFIG_RELAYHOST),
		.relayhost_source = c->settings[CONFIG_RELAYHOST].source,
		.default_transport = default_transport
					     ? default_transport
					     : config_schema[CONFIG_DEFAULT_TRANSPORT].hub_default,
		.default_transport_source = c->settings[CONFIG_DEFAULT_TRANSPORT].source,
		.tls.level = level_of(c, CONFIG_SMTP_TLS_SECURITY_LEVEL),
		.tls.source = c->settings[CONFIG_SMTP_TLS_SECURITY_LEVEL].source,
		.recipient_delimiter = config_value(c, CONFIG_RECIPIENT_DELIMITER),
		.socket_directory = config_value(c, CONFIG_QUEUE_DIRECTORY),
		.lacks_mailboxes = c->mode == CONFIG_HUB,
		.can_verify = ca_file && ca_file[0] != '\0',
		.has_local_dns = dns_servers_are_local(config_value(c, CONFIG_RESOLVER)),
		.is_local = c->mode == CONFIG_HUB ? hub_is_local : edge_is_local,
		.is_home = c->mode == CONFIG_HUB ? NULL : edge_is_home,
		.is_local_arg = (void *)c,
	};
	tls_protocols_parse(slice_from(config_value(c, CONFIG_SMTP_TLS_PROTOCOLS)),
			    &ret->tls.min_version, NULL);
}

bool config_submission(const struct config *config, struct config_submission *ret)
{
	static const enum config_parameter_id needed[] = {
		CONFIG_MYHOSTNAME,     CONFIG_MYORIGIN,	       CONFIG_MESSAGE_SIZE_LIMIT,
		CONFIG_HOPCOUNT_LIMIT, CONFIG_QUEUE_DIRECTORY,
	};

	/* A file without a mode is none of ours, and the defaults must not stand in for it. */
	if (config->mode == 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (!config_value(config, needed[i]))
			return false;
	*ret = (struct config_submission){
		.hostname = config_value(config, CONFIG_MYHOSTNAME),
		.origin = config_value(config, CONFIG_MYORIGIN),
		.drop_directory = config->drop_directory,
		.size_limit = (uint64_t)config_number(config, CONFIG_MESSAGE_SIZE_LIMIT),
		.hop_limit = (unsigned int)config_number(config, CONFIG_HOPCOUNT_LIMIT),
	};
	return true;
}

void config_queue_options(const struct config *config, struct queue_options *ret)
{
	ret->directory = config_value(config, CONFIG_QUEUE_DIRECTORY);
	ret->minfree_bytes = (uint64_t)config_number(config, CONFIG_QUEUE_MINFREE);
}

int64_t config_ledger_lifetime_s(const struct config *config)
{
	return config_number(config, CONFIG_LEDGER_LIFETIME);
}

/* "silent-discard", which is about Postfix's log, is none of them. */
static unsigned int discarded_extensions(const struct config *c)
{
	struct slice rest = slice_from(config_value(c, CONFIG_SMTPD_DISCARD_EHLO_KEYWORDS)), word;
	unsigned int extensions = 0;

	while (slice_next_word(&rest, ", \t\r\n", &word))
		extensions |= smtp_extension_parse(word);
	return extensions;
}

int64_t config_destination_alarm_s(const struct config *config)
{
	return config_number(config, CONFIG_DESTINATION_ALARM_TIME);
}

static struct networks networks_of(const struct config_networks *n)
{
	return (struct networks){ n->prefixes, n->count, n->maps };
}

/* What has no meaning in this mode does not limit anything. */
static unsigned int limit_of(const struct config *c, enum config_parameter_id id)
{
	return config_value(c, id) ? (unsigned int)config_number(c, id) : 0;
}

static void limits_of_clients(const struct config *c, struct mta_options *ret)
{
	bool has_own = config_is_given(c, CONFIG_SMTPD_CLIENT_EVENT_LIMIT_EXCEPTIONS);
	unsigned int *limits = ret->client_rates.limits;

	ret->client_connection_limit = limit_of(c, CONFIG_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT);
	limits[RATE_CONNECTION] = limit_of(c, CONFIG_SMTPD_CLIENT_CONNECTION_RATE_LIMIT);
	limits[RATE_TLS_SESSION] = limit_of(c, CONFIG_SMTPD_CLIENT_NEW_TLS_SESSION_RATE_LIMIT);
	limits[RATE_AUTH] = limit_of(c, CONFIG_SMTPD_CLIENT_AUTH_RATE_LIMIT);
	limits[RATE_MESSAGE] = limit_of(c, CONFIG_SMTPD_CLIENT_MESSAGE_RATE_LIMIT);
	limits[RATE_RECIPIENT] = limit_of(c, CONFIG_SMTPD_CLIENT_RECIPIENT_RATE_LIMIT);
	ret->client_rates.unit_s = config_number(c, CONFIG_ANVIL_RATE_TIME_UNIT);
	ret->limit_exceptions = networks_of(has_own ? &c->limit_exceptions : &c->networks);
	ret->ipv4_limit_bits = limit_of(c, CONFIG_SMTPD_CLIENT_IPV4_PREFIX_LENGTH);
	ret->ipv6_limit_bits = limit_of(c, CONFIG_SMTPD_CLIENT_IPV6_PREFIX_LENGTH);
}

static void limits_of_users(const struct config *c, struct mta_options *ret)
{
	unsigned int *limits = ret->user_rates.limits;

	if (c->mode != CONFIG_EDGE)
		return;
	limits[RATE_MESSAGE] = limit_of(c, CONFIG_SMTPD_USER_MESSAGE_RATE_LIMIT);
	limits[RATE_RECIPIENT] = limit_of(c, CONFIG_SMTPD_USER_RECIPIENT_RATE_LIMIT);
	ret->user_rates.unit_s = config_number(c, CONFIG_SMTPD_USER_RATE_TIME_UNIT);
}

static void receiving_options(const struct config *c, struct mta_options *ret)
{
	ret->server_tls = c->tls->server;
	ret->server_level = level_of(c, CONFIG_SMTPD_TLS_SECURITY_LEVEL);
	ret->require_certificate = config_bool(c, CONFIG_SMTPD_TLS_REQ_CCERT);
	ret->relay_clientcerts = c->relay_clientcerts;
	ret->auth_enabled = config_bool(c, CONFIG_SMTPD_SASL_AUTH_ENABLE);
	ret->auth_for_broken_clients =
		c->mode == CONFIG_EDGE && config_bool(c, CONFIG_BROKEN_SASL_AUTH_CLIENTS);
	ret->auth_only_with_tls = config_bool(c, CONFIG_SMTPD_TLS_AUTH_ONLY);
	ret->message_size_limit = (uint64_t)config_number(c, CONFIG_MESSAGE_SIZE_LIMIT);
	ret->recipient_limit = (unsigned int)config_number(c, CONFIG_SMTPD_RECIPIENT_LIMIT);
	limits_of_clients(c, ret);
	limits_of_users(c, ret);
	ret->discarded_extensions = discarded_extensions(c);
	ret->session_timeout_s = config_number(c, CONFIG_SMTPD_TIMEOUT);
	ret->drop_directory = c->drop_directory;
	ret->hop_limit = (unsigned int)config_number(c, CONFIG_HOPCOUNT_LIMIT);
}

static int64_t milliseconds(const struct config *c, enum config_parameter_id id)
{
	return config_number(c, id) * 1000;
}

enum net_protocols config_protocols(const struct config *config)
{
	const char *word = config_value(config, CONFIG_INET_PROTOCOLS);

	if (strcmp(word, "ipv4") == 0)
		return NET_PROTOCOLS_IPV4;
	return strcmp(word, "ipv6") == 0 ? NET_PROTOCOLS_IPV6 : NET_PROTOCOLS_ALL;
}

static void time_limits(const struct config *c, struct mta_options *ret)
{
	ret->connect_timeout_ms = milliseconds(c, CONFIG_SMTP_CONNECT_TIMEOUT);
	ret->timeouts = (struct smtp_timeouts){
		.helo_ms = milliseconds(c, CONFIG_SMTP_HELO_TIMEOUT),
		.starttls_ms = milliseconds(c, CONFIG_SMTP_STARTTLS_TIMEOUT),
		.mail_ms = milliseconds(c, CONFIG_SMTP_MAIL_TIMEOUT),
		.rcpt_ms = milliseconds(c, CONFIG_SMTP_RCPT_TIMEOUT),
		.data_init_ms = milliseconds(c, CONFIG_SMTP_DATA_INIT_TIMEOUT),
		.data_xfer_ms = milliseconds(c, CONFIG_SMTP_DATA_XFER_TIMEOUT),
		.data_done_ms = milliseconds(c, CONFIG_SMTP_DATA_DONE_TIMEOUT),
		.rset_ms = milliseconds(c, CONFIG_SMTP_RSET_TIMEOUT),
		.quit_ms = milliseconds(c, CONFIG_SMTP_QUIT_TIMEOUT),
	};
	ret->connection_idle_ms = milliseconds(c, CONFIG_SMTP_CONNECTION_CACHE_TIME_LIMIT);
	ret->connection_age_ms = milliseconds(c, CONFIG_SMTP_CONNECTION_REUSE_TIME_LIMIT);
	ret->connection_uses =
		(unsigned int)config_number(c, CONFIG_SMTP_CONNECTION_REUSE_COUNT_LIMIT);
	ret->discarded_keywords = config_value(c, CONFIG_SMTP_DISCARD_EHLO_KEYWORDS);
}

static void sending_options(const struct config *c, struct mta_options *ret)
{
	ret->client_tls = c->tls->client;
	config_transport_options(c, &ret->transport);
	config_credentials_options(c, &ret->credentials);
	ret->dns = (struct dns_options){
		.servers = config_value(c, CONFIG_RESOLVER),
		.protocols = config_protocols(c),
	};
	ret->mx_address_limit = (unsigned int)config_number(c, CONFIG_SMTP_MX_ADDRESS_LIMIT);
	ret->mx_session_limit = (unsigned int)config_number(c, CONFIG_SMTP_MX_SESSION_LIMIT);
	ret->hello = config_value(c, CONFIG_SMTP_HELO_NAME);
	time_limits(c, ret);
	ret->destination_concurrency =
		(unsigned int)config_number(c, CONFIG_DEFAULT_DESTINATION_CONCURRENCY_LIMIT);
	ret->destination_recipients =
		(unsigned int)config_number(c, CONFIG_DEFAULT_DESTINATION_RECIPIENT_LIMIT);
	ret->minimal_backoff_s = config_number(c, CONFIG_MINIMAL_BACKOFF_TIME);
	ret->maximal_backoff_s = config_number(c, CONFIG_MAXIMAL_BACKOFF_TIME);
	ret->maximal_lifetime_s = config_number(c, CONFIG_MAXIMAL_QUEUE_LIFETIME);
	ret->bounce_lifetime_s = config_number(c, CONFIG_BOUNCE_QUEUE_LIFETIME);
	ret->delay_warning_s = config_number(c, CONFIG_DELAY_WARNING_TIME);
	ret->double_bounce_recipient = config_value(c, CONFIG_2BOUNCE_NOTICE_RECIPIENT);
}

/* Of a hub; an edge knows who is there. */
static void verify_options(const struct config *c, struct verify_options *ret)
{
	const char *sender = config_value(c, CONFIG_ADDRESS_VERIFY_SENDER);
	const char *action = config_value(c, CONFIG_UNVERIFIED_RECIPIENT_TEMPFAIL_ACTION);

	if (c->mode != CONFIG_HUB)
		return;
	*ret = (struct verify_options){
		.sender = strcmp(sender, "<>") == 0 ? "" : sender,
		.positive_expire_s = config_number(c, CONFIG_ADDRESS_VERIFY_POSITIVE_EXPIRE_TIME),
		.positive_refresh_s = config_number(c, CONFIG_ADDRESS_VERIFY_POSITIVE_REFRESH_TIME),
		.negative_expire_s = config_number(c, CONFIG_ADDRESS_VERIFY_NEGATIVE_EXPIRE_TIME),
		.negative_refresh_s = config_number(c, CONFIG_ADDRESS_VERIFY_NEGATIVE_REFRESH_TIME),
		.keeps_refusals = config_bool(c, CONFIG_ADDRESS_VERIFY_NEGATIVE_CACHE),
		.wait_ms = (config_number(c, CONFIG_ADDRESS_VERIFY_POLL_COUNT) - 1) *
			   milliseconds(c, CONFIG_ADDRESS_VERIFY_POLL_DELAY),
		.reject_code = (int)config_number(c, CONFIG_UNVERIFIED_RECIPIENT_REJECT_CODE),
		.defer_code = (int)config_number(c, CONFIG_UNVERIFIED_RECIPIENT_DEFER_CODE),
		.takes_unknown = strcmp(action, "permit") == 0,
	};
}

void config_mta_options(const struct config *config, struct mta_options *ret)
{
	assert(!config_has_errors(config));
	ret->hostname = config_value(config, CONFIG_MYHOSTNAME);
	ret->origin = config_value(config, CONFIG_MYORIGIN);
	ret->mail_name = MAIL_NAME;
	ret->workers = (unsigned int)config_number(config, CONFIG_WORKERS);
	ret->memory_limit = MEMORY_LIMIT;
	receiving_options(config, ret);
	sending_options(config, ret);
	verify_options(config, &ret->verify);
}

void config_edge_options(const struct config *config, struct edge_options *ret)
{
	assert(config->mode == CONFIG_EDGE);
	*ret = (struct edge_options){
		.hostname = config_value(config, CONFIG_MYHOSTNAME),
		.origin = config_value(config, CONFIG_MYORIGIN),
		.recipient_delimiter = config_value(config, CONFIG_RECIPIENT_DELIMITER),
		.mailbox_domains = config->mailbox_domains,
		.mailbox_maps = config->mailbox_maps,
		.mailbox_base = config_value(config, CONFIG_VIRTUAL_MAILBOX_BASE),
		.passdb = config->are_accounts_secret || !config_needs_accounts(config)
				  ? NULL
				  : config_value(config, CONFIG_SMTPD_SASL_PASSDB),
		.sender_login_maps = config->sender_login_maps,
		.networks = networks_of(&config->networks),
	};
	config_edge_addresses(config, ret);
	config_auth_options(config, ret);
	config_edge_writing(config, &ret->writing);
}

void config_hub_options(const struct config *config, struct hub_options *ret)
{
	assert(config->mode == CONFIG_HUB);
	*ret = (struct hub_options){
		.relay_domains = config->relay_domains,
		.verified_domains = config_value(config, CONFIG_RELAY_RECIPIENT_VERIFY)[0]
					    ? config->verified_domains
					    : NULL,
		.relay_recipient_maps = config->relay_recipient_maps,
		.recipient_delimiter = config_value(config, CONFIG_RECIPIENT_DELIMITER),
		.networks = networks_of(&config->networks),
	};
}
