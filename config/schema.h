/*
 * schema - every parameter there is: name, type, range, default, one line of help
 *
 * Parsing, `posthouse check`, `posthouse config` and the manual page come from
 * this one table. Parameters of the contract that this version does not know
 * how to obey are in it as well, so that setting one is an error that says so.
 */
#pragma once

#include <stdint.h>

#include "base/slice.h"

enum config_mode {
	CONFIG_HUB = 1,
	CONFIG_EDGE = 2,
};

enum config_type {
	CONFIG_TYPE_LATER,     /* known, but not available in this version */
	CONFIG_TYPE_WORD,      /* one of words */
	CONFIG_TYPE_WORDS,     /* a list of words, in any case; may be empty */
	CONFIG_TYPE_BOOL,      /* yes or no */
	CONFIG_TYPE_NUMBER,    /* min to max */
	CONFIG_TYPE_SIZE,      /* bytes, min to max */
	CONFIG_TYPE_DURATION,  /* seconds, min to max */
	CONFIG_TYPE_HOSTNAME,  /* a domain name */
	CONFIG_TYPE_USER,      /* a system account; may be empty */
	CONFIG_TYPE_DIRECTORY, /* a path */
	CONFIG_TYPE_FILE,      /* a path; may be empty */
	CONFIG_TYPE_FILES,     /* a list of paths */
	CONFIG_TYPE_MAPS,      /* a list of TYPE:NAME (maps/map.h) */
	CONFIG_TYPE_DOMAINS,   /* a list of domains and maps (maps/map.h) */
	CONFIG_TYPE_CLIENTS,   /* a list of fingerprints, names and maps (mta/clientcerts.h) */
	CONFIG_TYPE_NETWORKS,  /* a list of ADDRESS[/BITS] */
	CONFIG_TYPE_ADDRESSES, /* a list of ADDRESS[:PORT] */
	CONFIG_TYPE_LISTEN,    /* a list of SERVICE://ADDRESS:PORT (config/listen.h) */
	CONFIG_TYPE_TRANSPORT, /* TRANSPORT:NEXTHOP (transport/transport.h); may be empty */
	CONFIG_TYPE_LEVEL,     /* a TLS level (tls/policy.h) */
	CONFIG_TYPE_PROTOCOLS, /* TLS versions (tls/policy.h) */
	CONFIG_TYPE_SASL,      /* a list of mechanisms (sasl/sasl.h) */
	CONFIG_TYPE_PASSDB,    /* passwd-file:FILE or sqlite:FILE.cf (edge/accounts.h) */
	CONFIG_TYPE_LOG,       /* stderr, syslog or file:PATH */
	CONFIG_TYPE_MAILBOX,   /* an address, completed with myorigin; may be empty */
	CONFIG_TYPE_HOME,      /* a Maildir below a home directory; may be empty */
	CONFIG_TYPE_DELIMITER, /* characters of which any is one; may be empty */
};

/* Indices of config_schema, in its order, which is that of the manual page. */
enum config_parameter_id {
	CONFIG_MODE,
	CONFIG_MYHOSTNAME,
	CONFIG_MYDOMAIN,
	CONFIG_MYORIGIN,
	CONFIG_LISTEN,
	CONFIG_USER,
	CONFIG_QUEUE_DIRECTORY,
	CONFIG_QUEUE_MINFREE,
	CONFIG_RUN_DIRECTORY,
	CONFIG_MESSAGE_SIZE_LIMIT,
	CONFIG_HOPCOUNT_LIMIT,
	CONFIG_MYNETWORKS,
	CONFIG_RELAY_DOMAINS,
	CONFIG_RELAY_RECIPIENT_MAPS,
	CONFIG_TRANSPORT_MAPS,
	CONFIG_RELAYHOST,
	CONFIG_DEFAULT_TRANSPORT,
	CONFIG_RECIPIENT_DELIMITER,
	CONFIG_SMTPD_TLS_SECURITY_LEVEL,
	CONFIG_SMTPD_TLS_CERT_FILE,
	CONFIG_SMTPD_TLS_KEY_FILE,
	CONFIG_SMTPD_TLS_CHAIN_FILES,
	CONFIG_TLS_SERVER_SNI_MAPS,
	CONFIG_SMTPD_TLS_CAFILE,
	CONFIG_SMTPD_TLS_ASK_CCERT,
	CONFIG_SMTPD_TLS_REQ_CCERT,
	CONFIG_RELAY_CLIENTCERTS,
	CONFIG_SMTPD_TLS_AUTH_ONLY,
	CONFIG_SMTPD_TLS_PROTOCOLS,
	CONFIG_SMTP_TLS_SECURITY_LEVEL,
	CONFIG_SMTP_TLS_POLICY_MAPS,
	CONFIG_SMTP_TLS_CAFILE,
	CONFIG_SMTP_TLS_CERT_FILE,
	CONFIG_SMTP_TLS_KEY_FILE,
	CONFIG_SMTP_TLS_PROTOCOLS,
	CONFIG_SMTP_HELO_NAME,
	CONFIG_INET_PROTOCOLS,
	CONFIG_SMTP_MX_ADDRESS_LIMIT,
	CONFIG_SMTP_MX_SESSION_LIMIT,
	CONFIG_SMTP_CONNECT_TIMEOUT,
	CONFIG_SMTP_HELO_TIMEOUT,
	CONFIG_SMTP_STARTTLS_TIMEOUT,
	CONFIG_SMTP_MAIL_TIMEOUT,
	CONFIG_SMTP_RCPT_TIMEOUT,
	CONFIG_SMTP_DATA_INIT_TIMEOUT,
	CONFIG_SMTP_DATA_XFER_TIMEOUT,
	CONFIG_SMTP_DATA_DONE_TIMEOUT,
	CONFIG_SMTP_RSET_TIMEOUT,
	CONFIG_SMTP_QUIT_TIMEOUT,
	CONFIG_SMTP_CONNECTION_CACHE_TIME_LIMIT,
	CONFIG_SMTP_CONNECTION_REUSE_TIME_LIMIT,
	CONFIG_SMTP_CONNECTION_REUSE_COUNT_LIMIT,
	CONFIG_SMTP_DISCARD_EHLO_KEYWORDS,
	CONFIG_SMTP_SASL_AUTH_ENABLE,
	CONFIG_SMTP_SASL_PASSWORD_MAPS,
	CONFIG_SMTP_SENDER_DEPENDENT_AUTHENTICATION,
	CONFIG_SMTP_SASL_MECHANISM_FILTER,
	CONFIG_VIRTUAL_MAILBOX_DOMAINS,
	CONFIG_VIRTUAL_MAILBOX_BASE,
	CONFIG_VIRTUAL_MAILBOX_MAPS,
	CONFIG_VIRTUAL_ALIAS_MAPS,
	CONFIG_VIRTUAL_ALIAS_DOMAINS,
	CONFIG_VIRTUAL_ALIAS_EXPANSION_LIMIT,
	CONFIG_VIRTUAL_ALIAS_RECURSION_LIMIT,
	CONFIG_PROPAGATE_UNMATCHED_EXTENSIONS,
	CONFIG_VIRTUAL_MAILBOX_LIMIT,
	CONFIG_ALIAS_MAPS,
	CONFIG_MYDESTINATION,
	CONFIG_HOME_MAILBOX,
	CONFIG_LOCAL_RECIPIENT_MAPS,
	CONFIG_UNKNOWN_LOCAL_RECIPIENT_REJECT_CODE,
	CONFIG_UNKNOWN_VIRTUAL_ALIAS_REJECT_CODE,
	CONFIG_UNKNOWN_VIRTUAL_MAILBOX_REJECT_CODE,
	CONFIG_SMTPD_SASL_PASSDB,
	CONFIG_SMTPD_SENDER_LOGIN_MAPS,
	CONFIG_SMTPD_RECIPIENT_LIMIT,
	CONFIG_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT,
	CONFIG_SMTPD_CLIENT_CONNECTION_RATE_LIMIT,
	CONFIG_SMTPD_CLIENT_NEW_TLS_SESSION_RATE_LIMIT,
	CONFIG_SMTPD_CLIENT_AUTH_RATE_LIMIT,
	CONFIG_SMTPD_CLIENT_MESSAGE_RATE_LIMIT,
	CONFIG_SMTPD_CLIENT_RECIPIENT_RATE_LIMIT,
	CONFIG_ANVIL_RATE_TIME_UNIT,
	CONFIG_SMTPD_CLIENT_EVENT_LIMIT_EXCEPTIONS,
	CONFIG_SMTPD_CLIENT_IPV4_PREFIX_LENGTH,
	CONFIG_SMTPD_CLIENT_IPV6_PREFIX_LENGTH,
	CONFIG_SMTPD_USER_MESSAGE_RATE_LIMIT,
	CONFIG_SMTPD_USER_RECIPIENT_RATE_LIMIT,
	CONFIG_SMTPD_USER_RATE_TIME_UNIT,
	CONFIG_SMTPD_TIMEOUT,
	CONFIG_SMTPD_DISCARD_EHLO_KEYWORDS,
	CONFIG_DEFAULT_DESTINATION_CONCURRENCY_LIMIT,
	CONFIG_DEFAULT_DESTINATION_RECIPIENT_LIMIT,
	CONFIG_MINIMAL_BACKOFF_TIME,
	CONFIG_MAXIMAL_BACKOFF_TIME,
	CONFIG_MAXIMAL_QUEUE_LIFETIME,
	CONFIG_BOUNCE_QUEUE_LIFETIME,
	CONFIG_DELAY_WARNING_TIME,
	CONFIG_DESTINATION_ALARM_TIME,
	CONFIG_2BOUNCE_NOTICE_RECIPIENT,
	CONFIG_RESOLVER,
	CONFIG_LOG_DESTINATION,
	CONFIG_LOG_FORMAT,
	CONFIG_LEDGER_LIFETIME,
	CONFIG_WORKERS,
	CONFIG_PARAMETER_COUNT,
};

struct config_parameter {
	const char *name;
	enum config_type type;
	int64_t min, max;	 /* of numbers, sizes and durations */
	const char *words;	 /* separated by a space */
	const char *later_words; /* valid by the contract, not available yet */
	unsigned int modes;	 /* enum config_mode, or-ed: where it has a meaning */
	const char *hub_default, *edge_default; /* NULL: worked out (config/evaluate.c) */
	const char *help;
};

extern const struct config_parameter config_schema[CONFIG_PARAMETER_COUNT];

/* The parameter of this name; NULL when there is none. Case matters, as in Postfix. */
const struct config_parameter *config_schema_find(struct slice name);

/* The known name that is nearest to one that is not; NULL when none is near. */
const char *config_schema_nearest(struct slice name);

/* Where the contents of a parameter of Postfix that we do not have belong; NULL: no idea. */
const char *config_hint(struct slice name);
