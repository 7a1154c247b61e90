/*
 * A Postfix administrator brings a main.cf along. Names that mean the same
 * here are the same; for the usual others this table says where their purpose
 * has gone. It is advice: nothing is accepted under these names.
 */
#include "base/macros.h"
#include "config/schema.h"

#define LOG_WORDS     "not needed here: posthouse trace tells what became of a message, and why"
#define NOT_NEEDED    "not needed here: leave it out"
#define FIXED_POLICY  "not needed here: who may send is fixed (relay_domains, mynetworks, AUTH)"
#define TLS_TICKETS   "not needed here: TLS sessions are resumed by themselves"
#define TLS_LOGGED    "not needed here: TLS is always logged"
#define TLS_PRESET    "not settable: ciphers and groups are the safe ones"
#define USE_PASSDB    "use smtpd_sasl_passdb = dovecot:SOCKET, or passwd-file:FILE"
#define USE_LISTEN    "use listen"
#define BY_ROUTE      "use transport_maps or smtp_tls_policy_maps with "
#define USE_TRANSPORT "use transport_maps"
#define USE_LMTP      "leave it out for Maildirs, or use transport_maps: DOMAIN lmtp:unix:PATH"
#define LOGIN_REFUSED "not needed here: a refused login defers, and one connection tries again"
#define LOGIN_TLS     "not needed here: passwords never go without TLS; see smtp_sasl_mechanism_filter"
#define FURTHER_HOPS  "put further next hops on the line of the route: relay:[a], [b]"
#define CONNECTIONS   "not needed here: see smtp_connection_cache_time_limit"

#define ASKED_AS_MAIL                                                                              \
	"not needed here: recipients are asked for over the route that their mail takes"

#define USERS_ONLY "not needed here: users' mail is completed, relayed mail never touched"

static const struct {
	const char *name, *hint;
} hints[] = {
	{ "address_verify_cache_cleanup_interval", NOT_NEEDED },
	{ "address_verify_default_transport", ASKED_AS_MAIL },
	{ "address_verify_local_transport", ASKED_AS_MAIL },
	{ "address_verify_map", "not needed here: what is known is kept in queue_directory" },
	{ "address_verify_relay_transport", ASKED_AS_MAIL },
	{ "address_verify_relayhost", ASKED_AS_MAIL },
	{ "address_verify_sender_ttl", "not available: address_verify_sender stays the same" },
	{ "address_verify_transport_maps", ASKED_AS_MAIL },
	{ "address_verify_virtual_transport", ASKED_AS_MAIL },
	{ "alias_database", "use alias_maps: text files are read directly" },
	{ "allow_percent_hack", "not available: a%b is a local part as any other" },
	{ "always_add_missing_headers", USERS_ONLY },
	{ "anvil_status_update_time", NOT_NEEDED },
	{ "append_at_myorigin", "not needed here: bare addresses always get myorigin" },
	{ "append_dot_mydomain", NOT_NEEDED },
	{ "biff", NOT_NEEDED },
	{ "command_directory", NOT_NEEDED },
	{ "compatibility_level", NOT_NEEDED },
	{ "config_directory", "use posthouse -c FILE" },
	{ "daemon_directory", NOT_NEEDED },
	{ "data_directory", NOT_NEEDED },
	{ "debug_peer_level", LOG_WORDS },
	{ "debug_peer_list", LOG_WORDS },
	{ "debugger_command", NOT_NEEDED },
	{ "default_database_type", "write the type in front of each map, as hash:FILE" },
	{ "default_privs", "use user" },
	{ "default_process_limit", "use workers" },
	{ "disable_dns_lookups", "put next hops into brackets: no MX is looked up for them" },
	{ "fallback_relay", FURTHER_HOPS },
	{ "fast_flush_domains", "not needed here: ETRN is for relay_domains" },
	{ "header_checks", "not available" },
	{ "header_size_limit", "not needed here: headers may be as long as messages" },
	{ "html_directory", NOT_NEEDED },
	{ "ignore_mx_lookup_error", "not available: mail waits while DNS cannot tell" },
	{ "inet_interfaces", USE_LISTEN },
	{ "local_header_rewrite_clients", USERS_ONLY },
	{ "local_destination_concurrency_limit", NOT_NEEDED },
	{ "local_transport", USE_LMTP },
	{ "mail_name", NOT_NEEDED },
	{ "mail_owner", "use user" },
	{ "mail_spool_directory", "use home_mailbox = Maildir/" },
	{ "mailbox_command",
	  "not available: no program is run for mail; use lmtp:unix:PATH, as to Dovecot" },
	{ "maillog_file", "use log_destination" },
	{ "mailq_path", NOT_NEEDED },
	{ "manpage_directory", NOT_NEEDED },
	{ "message_drop_headers",
	  "not settable: users' Bcc, Resent-Bcc, Return-Path and Content-Length go" },
	{ "mynetworks_style", "use mynetworks" },
	{ "newaliases_path", NOT_NEEDED },
	{ "process_id_directory", "use run_directory" },
	{ "proxy_interfaces", "not available: only addresses of this host are known to be ours" },
	{ "readme_directory", NOT_NEEDED },
	{ "relay_transport", USE_TRANSPORT },
	{ "remote_header_rewrite_domain", USERS_ONLY },
	{ "sample_directory", NOT_NEEDED },
	{ "sendmail_path", NOT_NEEDED },
	{ "setgid_group", NOT_NEEDED },
	{ "smtp_address_preference", "not needed: both families are tried, see inet_protocols" },
	{ "smtp_balance_inet_protocols", "not needed: families take turns" },
	{ "smtp_connection_cache_destinations", CONNECTIONS },
	{ "smtp_connection_cache_on_demand", CONNECTIONS },
	{ "smtp_dns_support_level", "not needed: levels dane and dane-only ask for DNSSEC" },
	{ "smtp_enforce_tls", "use smtp_tls_security_level" },
	{ "smtp_fallback_relay", FURTHER_HOPS },
	{ "smtp_host_lookup", "not needed: /etc/hosts is asked first, then DNS" },
	{ "smtp_randomize_addresses", "not needed: equal mail exchangers are shuffled" },
	{ "smtp_sasl_auth_cache_name", LOGIN_REFUSED },
	{ "smtp_sasl_auth_cache_time", LOGIN_REFUSED },
	{ "smtp_sasl_auth_soft_bounce", LOGIN_REFUSED },
	{ "smtp_sasl_path", NOT_NEEDED },
	{ "smtp_sasl_security_options", LOGIN_TLS },
	{ "smtp_sasl_tls_security_options", LOGIN_TLS },
	{ "smtp_sasl_tls_verified_security_options", LOGIN_TLS },
	{ "smtp_sasl_type", NOT_NEEDED },
	{ "smtp_tls_CApath", "use smtp_tls_CAfile" },
	{ "smtp_tls_chain_files", "use smtp_tls_cert_file and smtp_tls_key_file" },
	{ "smtp_tls_ciphers", TLS_PRESET },
	{ "smtp_tls_fingerprint_cert_match", BY_ROUTE "fingerprint=" },
	{ "smtp_tls_fingerprint_digest", "not needed: fingerprints are SHA-256" },
	{ "smtp_tls_loglevel", TLS_LOGGED },
	{ "smtp_tls_mandatory_ciphers", TLS_PRESET },
	{ "smtp_tls_mandatory_protocols", "use smtp_tls_protocols" },
	{ "smtp_tls_note_starttls_offer", TLS_LOGGED },
	{ "smtp_tls_secure_cert_match", BY_ROUTE "match=" },
	{ "smtp_tls_servername", BY_ROUTE "servername=" },
	{ "smtp_tls_session_cache_database", TLS_TICKETS },
	{ "smtp_tls_verify_cert_match", BY_ROUTE "match=" },
	{ "smtp_tls_wrappermode", "use relay-smtps:HOST in transport_maps or relayhost" },
	{ "smtp_use_tls", "use smtp_tls_security_level" },
	{ "smtpd_banner", NOT_NEEDED },
	{ "smtpd_client_restrictions", FIXED_POLICY },
	{ "smtpd_enforce_tls", "use smtpd_tls_security_level" },
	{ "smtpd_helo_required", NOT_NEEDED },
	{ "smtpd_helo_restrictions", FIXED_POLICY },
	{ "smtpd_recipient_restrictions",
	  FIXED_POLICY "; for reject_unverified_recipient see relay_recipient_verify" },
	{ "smtpd_reject_unlisted_recipient",
	  "not needed here: who is not in relay_recipient_maps is refused" },
	{ "smtpd_relay_restrictions", FIXED_POLICY },
	{ "smtpd_sasl_authenticated_header",
	  "not available: who has logged in stays in the log and in trace" },
	{ "smtpd_sasl_exceptions_networks", "not available: AUTH is offered to all clients" },
	{ "smtpd_sasl_path", USE_PASSDB },
	{ "smtpd_sasl_response_limit", NOT_NEEDED },
	{ "smtpd_sasl_service", NOT_NEEDED },
	{ "smtpd_sasl_type", USE_PASSDB },
	{ "smtpd_sender_restrictions", FIXED_POLICY },
	{ "smtpd_tls_CApath", "use smtpd_tls_CAfile" },
	{ "smtpd_tls_ciphers", TLS_PRESET },
	{ "smtpd_tls_dh1024_param_file", TLS_PRESET },
	{ "smtpd_tls_loglevel", TLS_LOGGED },
	{ "smtpd_tls_mandatory_ciphers", TLS_PRESET },
	{ "smtpd_tls_mandatory_protocols", "use smtpd_tls_protocols" },
	{ "smtpd_tls_received_header",
	  "not needed here: Received headers always tell the TLS used" },
	{ "smtpd_tls_session_cache_database", TLS_TICKETS },
	{ "smtpd_tls_wrappermode", "use smtps:// in listen" },
	{ "smtpd_use_tls", "use smtpd_tls_security_level" },
	{ "swap_bangpath", "not available: a!b is a local part as any other" },
	{ "unknown_relay_recipient_reject_code", "not settable: 550" },
	{ "unverified_recipient_reject_reason",
	  "not available: clients are told what the next hop has said" },
	{ "virtual_transport", USE_LMTP },
};

const char *config_hint(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(hints); i++)
		if (slice_equal(name, slice_from(hints[i].name)))
			return hints[i].hint;
	return NULL;
}
