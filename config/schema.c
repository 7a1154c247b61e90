/* Each row: name, type with its range, default by mode, help. */
#include "config/schema.h"

#include "base/nearest.h"

#define ANY_MODE (CONFIG_HUB | CONFIG_EDGE)

/* clang-format off */
#define LATER			CONFIG_TYPE_LATER, 0, 0, NULL, NULL, ANY_MODE, NULL, NULL
#define WORD(words, later)	CONFIG_TYPE_WORD, 0, 0, words, later
#define WORDS(words, later)	CONFIG_TYPE_WORDS, 0, 0, words, later
#define NUMBER(min, max)	CONFIG_TYPE_NUMBER, min, max, NULL, NULL
#define SIZE(min, max)		CONFIG_TYPE_SIZE, min, max, NULL, NULL
#define DURATION(min, max)	CONFIG_TYPE_DURATION, min, max, NULL, NULL
#define TYPE(name)		CONFIG_TYPE_##name, 0, 0, NULL, NULL

#define DAYS(n)			((n) * INT64_C(86400))

#define BOTH(value)		ANY_MODE, value, value
#define EACH(hub, edge)		ANY_MODE, hub, edge
#define EDGE_ONLY(value)	CONFIG_EDGE, NULL, value
#define HUB_ONLY(value)		CONFIG_HUB, value, NULL
#define WORKED_OUT		ANY_MODE, NULL, NULL

const struct config_parameter config_schema[CONFIG_PARAMETER_COUNT] = {
	[CONFIG_MODE] = { "mode", WORD("hub edge", ""), WORKED_OUT,
		"what this server is: hub or edge; required" },
	[CONFIG_MYHOSTNAME] = { "myhostname", TYPE(HOSTNAME), WORKED_OUT,
		"name of this host, in greetings and Received headers; the system's name" },
	[CONFIG_MYDOMAIN] = { "mydomain", TYPE(HOSTNAME), WORKED_OUT,
		"mail domain of this host; the part of myhostname after its first dot" },
	[CONFIG_MYORIGIN] = { "myorigin", TYPE(HOSTNAME), BOTH("$mydomain"),
		"domain that completes addresses without one" },
	[CONFIG_LISTEN] = { "listen", TYPE(LISTEN),
		EACH("smtp://*:25 smtp://*:587 smtps://*:465",
		     "smtp://*:25 submission://*:587 smtps://*:465"),
		"where to accept connections: SERVICE://ADDRESS:PORT, …" },
	[CONFIG_USER] = { "user", TYPE(USER), WORKED_OUT,
		"account to run as once the ports are open; posthouse when started as root" },
	[CONFIG_QUEUE_DIRECTORY] = { "queue_directory", TYPE(DIRECTORY),
		BOTH("/var/spool/posthouse"),
		"the queue's database and large bodies" },
	[CONFIG_QUEUE_MINFREE] = { "queue_minfree", SIZE(0, INT64_MAX), WORKED_OUT,
		"mail is refused while less is free for the queue; 1.5 times message_size_limit" },
	[CONFIG_RUN_DIRECTORY] = { "run_directory", TYPE(DIRECTORY), BOTH("/run/posthouse"),
		"pid file" },
	[CONFIG_MESSAGE_SIZE_LIMIT] = { "message_size_limit", SIZE(0, INT64_MAX),
		BOTH("52428800"),
		"bytes of the largest message that is taken; 0: no limit" },
	[CONFIG_HOPCOUNT_LIMIT] = { "hopcount_limit", NUMBER(1, 1000), BOTH("50"),
		"Received headers of a message before it counts as a loop" },
	[CONFIG_MYNETWORKS] = { "mynetworks", TYPE(NETWORKS), BOTH(""),
		"clients that may relay by their address alone: ADDRESS/BITS, …" },
	[CONFIG_RELAY_DOMAINS] = { "relay_domains", TYPE(DOMAINS), HUB_ONLY(""),
		"domains that a hub forwards for: a list and/or maps" },
	[CONFIG_TRANSPORT_MAPS] = { "transport_maps", TYPE(MAPS), BOTH(""),
		"routes: KEY TRANSPORT:NEXTHOP" },
	[CONFIG_RELAYHOST] = { "relayhost", TYPE(TRANSPORT), BOTH(""),
		"where everything goes that is neither local nor in transport_maps" },
	[CONFIG_DEFAULT_TRANSPORT] = { "default_transport", TYPE(TRANSPORT), BOTH("smtp"),
		"where everything goes without a relayhost" },
	[CONFIG_RECIPIENT_DELIMITER] = { "recipient_delimiter", TYPE(DELIMITER), BOTH(""),
		"characters that an extension begins with: of bob+lists, bob is asked for next" },
	[CONFIG_SMTPD_TLS_SECURITY_LEVEL] = { "smtpd_tls_security_level",
		WORD("none may encrypt", ""), BOTH("may"),
		"STARTTLS on smtp listeners: not offered, offered, or required" },
	[CONFIG_SMTPD_TLS_CERT_FILE] = { "smtpd_tls_cert_file", TYPE(FILE), BOTH(""),
		"certificate and chain of this server, PEM" },
	[CONFIG_SMTPD_TLS_KEY_FILE] = { "smtpd_tls_key_file", TYPE(FILE),
		BOTH("$smtpd_tls_cert_file"),
		"its private key, PEM" },
	[CONFIG_SMTPD_TLS_CHAIN_FILES] = { "smtpd_tls_chain_files", TYPE(FILES), BOTH(""),
		"instead of these two: files with a key and its chain, for several kinds of keys" },
	[CONFIG_TLS_SERVER_SNI_MAPS] = { "tls_server_sni_maps", TYPE(MAPS), BOTH(""),
		"certificates by the name that a client asks for: HOST FILE, …" },
	[CONFIG_SMTPD_TLS_CAFILE] = { "smtpd_tls_CAfile", TYPE(FILE), BOTH(""),
		"certificate authorities that are trusted, PEM" },
	[CONFIG_SMTPD_TLS_ASK_CCERT] = { "smtpd_tls_ask_ccert", TYPE(BOOL), BOTH("no"),
		"ask clients for a certificate" },
	[CONFIG_SMTPD_TLS_REQ_CCERT] = { "smtpd_tls_req_ccert", TYPE(BOOL), BOTH("no"),
		"where TLS is mandatory, refuse clients without a certificate of smtpd_tls_CAfile" },
	[CONFIG_RELAY_CLIENTCERTS] = { "relay_clientcerts", TYPE(CLIENTS), BOTH(""),
		"client certificates that may relay: fingerprints, names, all, and/or maps" },
	[CONFIG_SMTPD_TLS_AUTH_ONLY] = { "smtpd_tls_auth_only", TYPE(BOOL), BOTH("yes"),
		"no AUTH before TLS" },
	[CONFIG_SMTPD_TLS_PROTOCOLS] = { "smtpd_tls_protocols", TYPE(PROTOCOLS),
		BOTH(">=TLSv1.2"),
		"TLS versions accepted from clients" },
	[CONFIG_SMTP_TLS_SECURITY_LEVEL] = { "smtp_tls_security_level", TYPE(LEVEL),
		BOTH("encrypt"),
		"TLS level of deliveries, unless the route says otherwise" },
	[CONFIG_SMTP_TLS_POLICY_MAPS] = { "smtp_tls_policy_maps", TYPE(MAPS),
		BOTH(""),
		"TLS by next hop or domain: KEY LEVEL [match=…] [fingerprint=…] [protocols=…]" },
	[CONFIG_SMTP_TLS_CAFILE] = { "smtp_tls_CAfile", TYPE(FILE), BOTH("$smtpd_tls_CAfile"),
		"certificate authorities trusted when delivering, PEM" },
	[CONFIG_SMTP_TLS_CERT_FILE] = { "smtp_tls_cert_file", TYPE(FILE),
		BOTH("$smtpd_tls_cert_file"),
		"certificate shown to servers that ask for one, PEM" },
	[CONFIG_SMTP_TLS_KEY_FILE] = { "smtp_tls_key_file", TYPE(FILE), WORKED_OUT,
		"its private key, PEM" },
	[CONFIG_SMTP_TLS_PROTOCOLS] = { "smtp_tls_protocols", TYPE(PROTOCOLS),
		BOTH(">=TLSv1.2"),
		"TLS versions used for deliveries" },
	[CONFIG_SMTP_HELO_NAME] = { "smtp_helo_name", TYPE(HOSTNAME), BOTH("$myhostname"),
		"name given in EHLO to other servers" },
	[CONFIG_INET_PROTOCOLS] = { "inet_protocols", WORD("all ipv4 ipv6", ""), BOTH("all"),
		"address families of next hops, and of * in listen: all, ipv4 or ipv6" },
	[CONFIG_SMTP_MX_ADDRESS_LIMIT] = { "smtp_mx_address_limit", NUMBER(0, 1000), BOTH("5"),
		"addresses of a next hop that one attempt tries; 0: no limit" },
	[CONFIG_SMTP_MX_SESSION_LIMIT] = { "smtp_mx_session_limit", NUMBER(0, 1000), BOTH("2"),
		"sessions with hosts of a next hop that one attempt begins; 0: no limit" },
	[CONFIG_SMTP_CONNECT_TIMEOUT] = { "smtp_connect_timeout", DURATION(1, DAYS(1)), BOTH("30s"),
		"time limit: a TCP connection to one address of a next hop" },
	[CONFIG_SMTP_HELO_TIMEOUT] = { "smtp_helo_timeout", DURATION(1, DAYS(1)), BOTH("5m"),
		"time limit: a next hop's greeting, and its reply to EHLO" },
	[CONFIG_SMTP_STARTTLS_TIMEOUT] = { "smtp_starttls_timeout", DURATION(1, DAYS(1)), BOTH("5m"),
		"time limit: its reply to STARTTLS, and the handshake" },
	[CONFIG_SMTP_MAIL_TIMEOUT] = { "smtp_mail_timeout", DURATION(1, DAYS(1)), BOTH("5m"),
		"time limit: its reply to MAIL FROM" },
	[CONFIG_SMTP_RCPT_TIMEOUT] = { "smtp_rcpt_timeout", DURATION(1, DAYS(1)), BOTH("5m"),
		"time limit: its reply to each RCPT TO" },
	[CONFIG_SMTP_DATA_INIT_TIMEOUT] = { "smtp_data_init_timeout", DURATION(1, DAYS(1)), BOTH("2m"),
		"time limit: its reply to DATA" },
	[CONFIG_SMTP_DATA_XFER_TIMEOUT] = { "smtp_data_xfer_timeout", DURATION(1, DAYS(1)), BOTH("3m"),
		"time limit: its taking of each piece of a message" },
	[CONFIG_SMTP_DATA_DONE_TIMEOUT] = { "smtp_data_done_timeout", DURATION(1, DAYS(1)), BOTH("10m"),
		"time limit: its reply to the end of a message" },
	[CONFIG_SMTP_RSET_TIMEOUT] = { "smtp_rset_timeout", DURATION(1, DAYS(1)), BOTH("20s"),
		"time limit: its reply to RSET" },
	[CONFIG_SMTP_QUIT_TIMEOUT] = { "smtp_quit_timeout", DURATION(1, DAYS(1)), BOTH("2s"),
		"time limit: the end of a connection after QUIT; no mail waits for it" },
	[CONFIG_SMTP_SASL_AUTH_ENABLE] = { "smtp_sasl_auth_enable", TYPE(BOOL), BOTH("no"),
		"log in to next hops that have an entry in smtp_sasl_password_maps" },
	[CONFIG_SMTP_SASL_PASSWORD_MAPS] = { "smtp_sasl_password_maps", TYPE(MAPS), BOTH(""),
		"logins: [HOST]:PORT USER:PASSWORD; never sent without TLS" },
	[CONFIG_SMTP_SENDER_DEPENDENT_AUTHENTICATION] = { "smtp_sender_dependent_authentication",
		TYPE(BOOL), BOTH("no"),
		"look logins up by sender first: ADDRESS or @DOMAIN USER:PASSWORD" },
	[CONFIG_SMTP_SASL_MECHANISM_FILTER] = { "smtp_sasl_mechanism_filter", TYPE(SASL),
		BOTH(""),
		"mechanisms that may be used to log in: NAME, !NAME, static:all; empty: all" },
	[CONFIG_VIRTUAL_MAILBOX_DOMAINS] = { "virtual_mailbox_domains", TYPE(DOMAINS),
		EDGE_ONLY("$mydomain"),
		"domains whose mail is delivered into mailboxes of this host" },
	[CONFIG_VIRTUAL_MAILBOX_BASE] = { "virtual_mailbox_base", TYPE(DIRECTORY),
		EDGE_ONLY("/var/mail/vhosts"),
		"directory of the mailboxes" },
	[CONFIG_VIRTUAL_MAILBOX_MAPS] = { "virtual_mailbox_maps", TYPE(MAPS), EDGE_ONLY(""),
		"mailboxes: ADDRESS PATH/; empty: each user has domain/local-part/" },
	[CONFIG_VIRTUAL_ALIAS_MAPS] = { "virtual_alias_maps", LATER,
		"addresses that stand for others" },
	[CONFIG_VIRTUAL_MAILBOX_LIMIT] = { "virtual_mailbox_limit", LATER,
		"bytes of the largest mailbox" },
	[CONFIG_ALIAS_MAPS] = { "alias_maps", LATER,
		"aliases of local users" },
	[CONFIG_MYDESTINATION] = { "mydestination", LATER,
		"domains of local users" },
	[CONFIG_HOME_MAILBOX] = { "home_mailbox", LATER,
		"mailbox in the home directory of local users" },
	[CONFIG_SMTPD_SASL_PASSDB] = { "smtpd_sasl_passdb", TYPE(PASSDB),
		EDGE_ONLY("passwd-file:users"),
		"accounts and passwords" },
	[CONFIG_SMTPD_SENDER_LOGIN_MAPS] = { "smtpd_sender_login_maps", TYPE(MAPS), EDGE_ONLY(""),
		"logins that own a sender address; empty: the login is the address" },
	[CONFIG_SMTPD_RECIPIENT_LIMIT] = { "smtpd_recipient_limit", NUMBER(1, 1000000),
		BOTH("1000"),
		"recipients of one message" },
	[CONFIG_SMTPD_CLIENT_CONNECTION_COUNT_LIMIT] = { "smtpd_client_connection_count_limit",
		NUMBER(0, 1000000), BOTH("50"),
		"connections at once from one client address; 0: no limit" },
	[CONFIG_SMTPD_CLIENT_CONNECTION_RATE_LIMIT] = { "smtpd_client_connection_rate_limit", LATER,
		"connections per minute from one client address" },
	[CONFIG_SMTPD_TIMEOUT] = { "smtpd_timeout", DURATION(1, DAYS(1)), BOTH("5m"),
		"silence of a client that ends its session" },
	[CONFIG_SMTPD_DISCARD_EHLO_KEYWORDS] = { "smtpd_discard_ehlo_keywords",
		WORDS("pipelining size vrfy etrn enhancedstatuscodes 8bitmime dsn smtputf8 "
		      "chunking binarymime limits requiretls silent-discard", ""), BOTH(""),
		"extensions that are neither announced nor taken" },
	[CONFIG_DEFAULT_DESTINATION_CONCURRENCY_LIMIT] = { "default_destination_concurrency_limit",
		NUMBER(1, 10000), BOTH("20"),
		"connections at once to one next hop" },
	[CONFIG_DEFAULT_DESTINATION_RECIPIENT_LIMIT] = { "default_destination_recipient_limit",
		NUMBER(1, 10000), BOTH("50"),
		"recipients of one transaction" },
	[CONFIG_MINIMAL_BACKOFF_TIME] = { "minimal_backoff_time", DURATION(1, DAYS(100)),
		BOTH("5m"),
		"shortest time between two attempts" },
	[CONFIG_MAXIMAL_BACKOFF_TIME] = { "maximal_backoff_time", DURATION(1, DAYS(100)),
		BOTH("4h"),
		"longest time between two attempts" },
	[CONFIG_MAXIMAL_QUEUE_LIFETIME] = { "maximal_queue_lifetime", DURATION(0, DAYS(100)),
		BOTH("5d"),
		"how long a message is tried before it is returned to its sender; 0: once" },
	[CONFIG_BOUNCE_QUEUE_LIFETIME] = { "bounce_queue_lifetime", DURATION(0, DAYS(100)),
		BOTH("5d"),
		"how long a bounce is tried; 0: once" },
	[CONFIG_DELAY_WARNING_TIME] = { "delay_warning_time", DURATION(0, DAYS(100)), BOTH("0"),
		"how long a message waits before its sender is told; 0: he is not" },
	[CONFIG_DESTINATION_ALARM_TIME] = { "destination_alarm_time", DURATION(0, DAYS(100)),
		BOTH("1h"),
		"how long a next hop may deliver nothing while mail waits, before it is told; 0: never" },
	[CONFIG_2BOUNCE_NOTICE_RECIPIENT] = { "2bounce_notice_recipient", TYPE(MAILBOX),
		BOTH("postmaster"),
		"who is told of bounces that cannot be delivered; empty: nobody" },
	[CONFIG_RESOLVER] = { "resolver", TYPE(ADDRESSES), BOTH(""),
		"DNS servers: ADDRESS:PORT, …; empty: the system's" },
	[CONFIG_LOG_DESTINATION] = { "log_destination", TYPE(LOG), BOTH("stderr"),
		"stderr, syslog or file:PATH" },
	[CONFIG_LOG_FORMAT] = { "log_format", WORD("text", "json"), BOTH("text"),
		"text: as Postfix's maillog" },
	[CONFIG_LEDGER_LIFETIME] = { "ledger_lifetime", DURATION(1, DAYS(36500)), BOTH("30d"),
		"how long rows of the TLS ledger are kept" },
	[CONFIG_WORKERS] = { "workers", NUMBER(1, 1024), WORKED_OUT,
		"threads that serve connections; the number of cores" },
};
/* clang-format on */

const struct config_parameter *config_schema_find(struct slice name)
{
	for (size_t i = 0; i < CONFIG_PARAMETER_COUNT; i++)
		if (slice_equal(name, slice_from(config_schema[i].name)))
			return &config_schema[i];
	return NULL;
}

const char *config_schema_nearest(struct slice name)
{
	const char *names[CONFIG_PARAMETER_COUNT];
	char text[64];

	for (size_t i = 0; i < CONFIG_PARAMETER_COUNT; i++)
		names[i] = config_schema[i].name;
	if (!slice_copy(name, text, sizeof(text)))
		return NULL;
	return nearest_name(text, names, CONFIG_PARAMETER_COUNT);
}
