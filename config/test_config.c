/* test_config - what is said about a file, where, and which values come out of it */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/macros.h"
#include "config/config.h"

/* Nothing is wrong with these six lines. */
#define HUB                                                                                        \
	"mode = hub\n"                                                                             \
	"myhostname = mta.vm.vm\n"                                                                 \
	"user = nobody\n"                                                                          \
	"relay_domains = vm1.vm\n"                                                                 \
	"listen = smtp://127.0.0.1:25\n"                                                           \
	"smtpd_tls_security_level = none\n"

#define EDGE                                                                                       \
	"mode = edge\n"                                                                            \
	"myhostname = mta1.vm1.vm\n"                                                               \
	"user = nobody\n"                                                                          \
	"listen = smtp://127.0.0.1:25\n"                                                           \
	"\n"                                                                                       \
	"smtpd_tls_security_level = none\n"

static const struct {
	const char *label, *text, *want;
} problem_cases[] = {
	{ "a hub", HUB, "" },
	{ "an edge", EDGE, "" },

	/* grammar and names */
	{ "no mode", "user = nobody\nsmtpd_tls_security_level = none\n",
	  "p.conf:1: error: mode is not set; expected hub or edge\n" },
	{ "wrong mode", "# first\nmode = hob\nuser = nobody\nsmtpd_tls_cert_file = x\n",
	  "p.conf:2: error: mode: hob: expected hub or edge; did you mean hub?\n" },
	{ "no equals sign", HUB "workers 4\n", "p.conf:7: error: expected NAME = VALUE\n" },
	{ "unknown name", HUB "relay_domain = a\n",
	  "p.conf:7: error: unknown parameter relay_domain; did you mean relay_domains?\n" },
	{ "unknown name, nothing near", HUB "x = a\n", "p.conf:7: error: unknown parameter x\n" },
	{ "Postfix has it elsewhere", HUB "inet_interfaces = all\nsmtp_use_tls = yes\n",
	  "p.conf:7: error: unknown parameter inet_interfaces; use listen\n"
	  "p.conf:8: error: unknown parameter smtp_use_tls; use smtp_tls_security_level\n" },
	{ "given twice", HUB "\nworkers = 1\nworkers = 2\n",
	  "p.conf:9: error: workers is given twice; it was given on line 8 before\n" },
	{ "of the other mode", HUB "virtual_mailbox_domains = a\n",
	  "p.conf:7: error: virtual_mailbox_domains has no meaning in mode hub\n" },
	{ "of the other mode", EDGE "relay_recipient_verify = a\n",
	  "p.conf:7: error: relay_recipient_verify has no meaning in mode edge\n" },
	{ "control bytes are not passed on", HUB "log_format = \x1b[31m\n",
	  "p.conf:7: error: log_format: ?[31m: expected text\n" },

	/* values */
	{ "numbers", HUB "workers = many\nhopcount_limit = 0\nsmtpd_recipient_limit = 1000001\n",
	  "p.conf:7: error: workers: many: expected a number from 1 to 1024\n"
	  "p.conf:8: error: hopcount_limit: 0: expected a number from 1 to 1000\n"
	  "p.conf:9: error: smtpd_recipient_limit: 1000001: expected a number from 1 to "
	  "1000000\n" },
	{ "sizes", HUB "message_size_limit = 50MB\n",
	  "p.conf:7: error: message_size_limit: 50MB: expected a size as 52428800, 50M or 1G\n" },
	{ "durations", HUB "smtpd_timeout = 5x\n",
	  "p.conf:7: error: smtpd_timeout: 5x: expected a duration as 30s, 5m, 4h or 5d\n" },
	{ "durations out of range", HUB "smtpd_timeout = 0\n",
	  "p.conf:7: error: smtpd_timeout: 0: expected a duration from 1s to 1d\n" },
	{ "an empty value", HUB "smtpd_timeout =\n",
	  "p.conf:7: error: smtpd_timeout: is empty; expected a duration as 30s, 5m, 4h or "
	  "5d\n" },
	{ "booleans", HUB "smtpd_tls_auth_only = 1\n",
	  "p.conf:7: error: smtpd_tls_auth_only: 1: expected yes or no\n" },
	{ "names of hosts", HUB "mydomain = a..b\nmyorigin = -a\nsmtp_helo_name = a b\n",
	  "p.conf:7: error: mydomain: a..b: expected a domain name, as mta1.vm1.vm\n"
	  "p.conf:8: error: myorigin: -a: expected a domain name, as mta1.vm1.vm\n"
	  "p.conf:9: error: smtp_helo_name: a b: expected a domain name, as mta1.vm1.vm\n" },
	{ "keywords of EHLO", HUB "smtpd_discard_ehlo_keywords = CHUNKING, dsn, silent-discard\n",
	  "" },
	{ "keywords that are none", HUB "smtpd_discard_ehlo_keywords = dsn chunkin\n",
	  "p.conf:7: error: smtpd_discard_ehlo_keywords: chunkin: expected pipelining, size, vrfy, "
	  "etrn, enhancedstatuscodes, 8bitmime, dsn, smtputf8, chunking, binarymime, limits, "
	  "requiretls or silent-discard; did you mean chunking?\n" },
	{ "keywords of next hops",
	  HUB "smtp_discard_ehlo_keywords = CHUNKING, dsn silent-discard\n", "" },
	{ "TLS is no such keyword", HUB "smtp_discard_ehlo_keywords = starttls\n",
	  "p.conf:7: error: smtp_discard_ehlo_keywords: starttls: expected pipelining, size, "
	  "enhancedstatuscodes, 8bitmime, dsn, smtputf8, chunking, binarymime, limits, requiretls "
	  "or silent-discard\n" },
	{ "DNS servers", HUB "resolver = 192.0.2.1 dns\n",
	  "p.conf:7: error: resolver: dns: expected ADDRESS:PORT, as 192.0.2.1:53 or "
	  "[2001:db8::1]:53\n" },
	{ "words of later versions", HUB "log_format = json\n",
	  "p.conf:7: error: log_format: json: not available in this version\n" },
	{ "password files", EDGE "smtpd_sasl_passdb = users\n",
	  "p.conf:7: error: smtpd_sasl_passdb: users: expected "
	  "passwd-file:FILE, sqlite:FILE.cf or dovecot:SOCKET\n" },
	{ "a socket of Dovecot", EDGE "smtpd_sasl_passdb = dovecot:private/auth\n", "" },
	{ "no socket of Dovecot", EDGE "smtpd_sasl_passdb = dovecot:\n",
	  "p.conf:7: error: smtpd_sasl_passdb: dovecot:: expected passwd-file:FILE, "
	  "sqlite:FILE.cf or dovecot:SOCKET\n" },
	{ "logs", HUB "log_destination = /var/log/maillog\n",
	  "p.conf:7: error: log_destination: /var/log/maillog: expected stderr, syslog or "
	  "file:PATH\n" },
	{ "several at once, by line", HUB "workers = 0\nnonsense\nmyorigin = $nothing_like_it\n",
	  "p.conf:7: error: workers: 0: expected a number from 1 to 1024\n"
	  "p.conf:8: error: expected NAME = VALUE\n"
	  "p.conf:9: error: myorigin: $nothing_like_it: unknown parameter\n" },

	/* expansion */
	{ "unknown name", HUB "myorigin = $mydomian\n",
	  "p.conf:7: error: myorigin: $mydomian: unknown parameter; did you mean $mydomain?\n" },
	{ "a lone dollar sign", HUB "relayhost = a$\n",
	  "p.conf:7: error: relayhost: expected $NAME or ${NAME}; a dollar sign is written as "
	  "$$\n" },
	{ "never closed", HUB "relayhost = ${mydomain\n",
	  "p.conf:7: error: relayhost: expected $NAME or ${NAME}; a dollar sign is written as "
	  "$$\n" },
	{ "itself", HUB "relayhost = $relayhost\n",
	  "p.conf:7: error: relayhost: expands to itself: $relayhost -> $relayhost\n" },
	{ "each other", HUB "mydomain = $myorigin\nmyorigin = ${mydomain}\n",
	  "p.conf:8: error: myorigin: expands to itself: $mydomain -> $myorigin -> $mydomain\n" },
	{ "by way of a default",
	  "mode = hub\nmyhostname = mta.$mydomain\nuser = nobody\nrelay_domains = a\n"
	  "listen = smtp://127.0.0.1:25\nsmtpd_tls_security_level = none\n",
	  "p.conf:2: error: myhostname: expands to itself: $myhostname -> $mydomain -> "
	  "$myhostname\n" },
	{ "a fault is told once, where it is",
	  HUB "mydomain = a..b\nmyorigin = $mydomain\nsmtp_helo_name = x.$mydomain\n",
	  "p.conf:7: error: mydomain: a..b: expected a domain name, as mta1.vm1.vm\n" },
	{ "what has no value", HUB "relayhost = $virtual_mailbox_base\n",
	  "p.conf:7: error: relayhost: $virtual_mailbox_base has no value in this mode and "
	  "version\n" },

	/* contradictions */
	{ "no certificate for the default listeners",
	  "mode = edge\nuser = nobody\nmyhostname = mta1.vm1.vm\n",
	  "p.conf:1: error: listen: submission://*:587 needs a certificate: set "
	  "smtpd_tls_cert_file and smtpd_tls_key_file\n"
	  "p.conf:1: error: listen: smtps://*:465 needs a certificate: set smtpd_tls_cert_file "
	  "and smtpd_tls_key_file\n"
	  "p.conf:1: error: smtpd_tls_security_level: may needs a certificate: set "
	  "smtpd_tls_cert_file and smtpd_tls_key_file; or set smtpd_tls_security_level = none\n" },
	{ "no certificate for a level",
	  "mode = hub\nuser = nobody\nmyhostname = mta.vm.vm\nrelay_domains = a\n"
	  "listen = smtp://*:25\nsmtpd_tls_security_level = encrypt\n",
	  "p.conf:6: error: smtpd_tls_security_level: encrypt needs a certificate: set "
	  "smtpd_tls_cert_file and smtpd_tls_key_file; or set smtpd_tls_security_level = none\n" },
	{ "a key alone", HUB "smtpd_tls_key_file = mta.key\n",
	  "p.conf:7: error: smtpd_tls_key_file: a key without a certificate: set "
	  "smtpd_tls_cert_file\n" },
	{ "submission to a hub",
	  "mode = hub\nuser = nobody\nmyhostname = mta.vm.vm\nrelay_domains = a\n"
	  "listen = submission://*:587\nsmtpd_tls_cert_file = x\n",
	  "p.conf:5: error: listen: submission://*:587: a hub has no accounts; expected smtp or "
	  "smtps\n" },
	{ "verify with the server's CA",
	  HUB "smtp_tls_security_level = verify\nsmtpd_tls_CAfile = ca.crt\n", "" },
	{ "back-off", HUB "minimal_backoff_time = 5h\n",
	  "p.conf:7: error: minimal_backoff_time: minimal_backoff_time is longer than "
	  "maximal_backoff_time (5h, 4h)\n" },
	{ "asked again too late", HUB "address_verify_negative_expire_time = 2h\n",
	  "p.conf:7: warning: address_verify_negative_expire_time: "
	  "address_verify_negative_refresh_time is not shorter than "
	  "address_verify_negative_expire_time (3h, 2h)\n" },
	{ "who asks", HUB "address_verify_sender = a b\n",
	  "p.conf:7: error: address_verify_sender: a b: expected one address, or <>\n" },
	{ "nobody asks", HUB "address_verify_sender = <>\n", "" },
	{ "passwords in the clear", EDGE "smtpd_tls_auth_only = no\n",
	  "p.conf:7: warning: smtpd_tls_auth_only: no: passwords may cross the network in the "
	  "clear\n" },
	{ "AUTH on a hub", HUB "smtpd_sasl_auth_enable = yes\n",
	  "p.conf:7: error: smtpd_sasl_auth_enable: yes: a hub has no accounts; its edges' users "
	  "log in there\n" },
	{ "no AUTH on a hub", HUB "smtpd_sasl_auth_enable = no\n", "" },
	{ "no AUTH on an edge", EDGE "smtpd_sasl_auth_enable = no\n", "" },
	{ "submission without AUTH",
	  "mode = edge\nuser = nobody\nmyhostname = mta1.vm1.vm\nlisten = submission://*:587\n"
	  "smtpd_tls_cert_file = x\nsmtpd_sasl_auth_enable = no\n",
	  "p.conf:6: error: smtpd_sasl_auth_enable: no: nobody could send by the submission "
	  "services of listen\n" },
	{ "mechanisms of none", EDGE "smtpd_sasl_mechanism_filter = gssapi\n",
	  "p.conf:7: error: smtpd_sasl_mechanism_filter: gssapi: leaves no mechanism; put "
	  "static:rest behind exclusions\n" },
	{ "too many demands", EDGE "smtpd_sasl_tls_security_options = noanonymous, nodictionary\n",
	  "p.conf:7: error: smtpd_sasl_tls_security_options: noanonymous, nodictionary: leaves no "
	  "mechanism\n" },
	{ "certificates that nobody asks for",
	  EDGE "smtpd_sasl_mechanism_filter = plain external\n",
	  "p.conf:7: warning: smtpd_sasl_mechanism_filter: external: no client is asked for its "
	  "certificate; set smtpd_tls_ask_ccert = yes\n" },
	{ "as in Postfix's how-tos",
	  EDGE "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_security_options = noanonymous\n"
	       "smtpd_sasl_local_domain = $mydomain\nbroken_sasl_auth_clients = yes\n",
	  "" },
	{ "a realm that is none", EDGE "smtpd_sasl_local_domain = a b\n",
	  "p.conf:7: error: smtpd_sasl_local_domain: a b: expected a domain name, as "
	  "mta1.vm1.vm\n" },
	{ "a hub for nobody",
	  "mode = hub\nuser = nobody\nmyhostname = mta.vm.vm\nrelay_domains =\n"
	  "listen = smtp://127.0.0.1:25\nsmtpd_tls_security_level = none\n",
	  "p.conf:4: warning: relay_domains: is empty: this hub forwards for nobody but "
	  "mynetworks\n" },
};

static char *problems_of(const struct config *config)
{
	struct buf out = { 0 };

	for (size_t i = 0; i < config_problem_count(config); i++) {
		const struct config_problem *p = config_problem_at(config, i);

		buf_printf(&out, "%s:%u: %s: %s\n", p->file, p->line,
			   config_severity_name(p->severity), p->text);
	}
	return buf_steal_string(&out);
}

static void test_problems(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(problem_cases); i++) {
		CLEANUP(config_freep)
		struct config *config =
			config_load_text("p.conf", slice_from(problem_cases[i].text));
		CLEANUP(free_strp) char *got = problems_of(config);

		if (strcmp(got, problem_cases[i].want) != 0)
			fail_msg("%s: got\n%swanted\n%s", problem_cases[i].label, got,
				 problem_cases[i].want);
	}
}

/* Each value is eight times the one before it; the last would have many MiB. */
static void test_values_that_double_each_other(void **state)
{
	static const char *const names[] = {
		"smtpd_tls_cert_file", "smtpd_tls_key_file", "smtpd_tls_CAfile",
		"smtp_tls_cert_file",  "smtp_tls_key_file",  "smtp_tls_CAfile",
		"queue_directory",     "run_directory",
	};
	CLEANUP(config_freep) struct config *config = NULL;
	CLEANUP(free_strp) char *got = NULL;
	struct buf text = { 0 };

	(void)state;
	buf_append_string(&text, HUB "smtpd_tls_cert_file = /x\n");
	for (size_t i = 1; i < ARRAY_SIZE(names); i++) {
		buf_printf(&text, "%s = ", names[i]);
		for (int n = 0; n < 8; n++)
			buf_printf(&text, "$%s", names[i - 1]);
		buf_append_string(&text, "\n");
	}
	config = config_load_text("p.conf", buf_slice(&text));
	got = problems_of(config);
	assert_string_equal(got, "p.conf:14: error: run_directory: is too long when expanded\n");
	buf_done(&text);
}

static const struct {
	const char *label, *text;
	enum config_parameter_id id;
	const char *want; /* NULL: has none */
} value_cases[] = {
	{ "default", HUB, CONFIG_MESSAGE_SIZE_LIMIT, "52428800" },
	{ "default that is worked out", HUB "message_size_limit = 10k\n", CONFIG_QUEUE_MINFREE,
	  "15360" },
	{ "default that expands", HUB, CONFIG_MYORIGIN, "vm.vm" },
	{ "default by mode", EDGE, CONFIG_VIRTUAL_MAILBOX_DOMAINS, "vm1.vm" },
	{ "no value in the other mode", HUB, CONFIG_VIRTUAL_MAILBOX_DOMAINS, NULL },
	{ "faulty", HUB "workers = 0\n", CONFIG_WORKERS, NULL },
	{ "domain behind the first dot", HUB, CONFIG_MYDOMAIN, "vm.vm" },
	{ "no dot", "mode = hub\nmyhostname = mta\n", CONFIG_MYDOMAIN, "localdomain" },
	{ "later lines count too", HUB "mydomain = a.b\nmyorigin = x.$mydomain\n", CONFIG_MYORIGIN,
	  "x.a.b" },
	{ "earlier lines too", HUB "myorigin = x.${mydomain}\nmydomain = a.b\n", CONFIG_MYORIGIN,
	  "x.a.b" },
	{ "in parentheses", HUB "myorigin = $(mydomain).x\n", CONFIG_MYORIGIN, "vm.vm.x" },
	{ "a dollar sign", HUB "relayhost = a$$b$$\n", CONFIG_RELAYHOST, "a$b$" },
	{ "continued", HUB "mynetworks = 127.0.0.0/8,\n  [::1]/128\n", CONFIG_MYNETWORKS,
	  "127.0.0.0/8, [::1]/128" },
	{ "relative path", HUB "smtpd_tls_cert_file = tls/mta.crt\n", CONFIG_SMTPD_TLS_CERT_FILE,
	  "/etc/x/tls/mta.crt" },
	{ "absolute path", HUB "smtpd_tls_cert_file = /a/mta.crt\n", CONFIG_SMTPD_TLS_CERT_FILE,
	  "/a/mta.crt" },
	{ "path made of another", HUB "queue_directory = /q\nrun_directory = $queue_directory/r\n",
	  CONFIG_RUN_DIRECTORY, "/q/r" },
	{ "no path", HUB, CONFIG_SMTPD_TLS_CERT_FILE, "" },
	{ "key in the certificate's file", HUB "smtpd_tls_cert_file = a\n",
	  CONFIG_SMTPD_TLS_KEY_FILE, "/etc/x/a" },
	{ "client shows the server's certificate", HUB "smtpd_tls_cert_file = a\n",
	  CONFIG_SMTP_TLS_CERT_FILE, "/etc/x/a" },
	{ "with the server's key", HUB "smtpd_tls_cert_file = a\nsmtpd_tls_key_file = b\n",
	  CONFIG_SMTP_TLS_KEY_FILE, "/etc/x/b" },
	{ "but its own certificate has its own key",
	  HUB "smtpd_tls_cert_file = a\nsmtpd_tls_key_file = b\nsmtp_tls_cert_file = c\n",
	  CONFIG_SMTP_TLS_KEY_FILE, "/etc/x/c" },
	{ "password file", EDGE, CONFIG_SMTPD_SASL_PASSDB, "passwd-file:/etc/x/users" },
	{ "log file", HUB "log_destination = file:mail.log\n", CONFIG_LOG_DESTINATION,
	  "file:/etc/x/mail.log" },
	{ "DNS servers", HUB "resolver = 192.0.2.1 [::1]:5300\n", CONFIG_RESOLVER,
	  "192.0.2.1:53, [::1]:5300" },
	{ "listeners of a hub", "mode = hub\n", CONFIG_LISTEN,
	  "smtp://*:25 smtp://*:587 smtps://*:465" },
	{ "listeners of an edge", "mode = edge\n", CONFIG_LISTEN,
	  "smtp://*:25 submission://*:587 smtps://*:465" },
	{ "without a mode, what both have", "user = nobody\n", CONFIG_SMTPD_TIMEOUT, "5m" },
	{ "without a mode, nothing else", "user = nobody\n", CONFIG_LISTEN, NULL },
};

static void test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(value_cases); i++) {
		CLEANUP(config_freep)
		struct config *config =
			config_load_text("/etc/x/p.conf", slice_from(value_cases[i].text));
		const char *got = config_value(config, value_cases[i].id);
		const char *want = value_cases[i].want;

		if (!got != !want || (want && strcmp(got, want) != 0))
			fail_msg("%s: got \"%s\", wanted \"%s\"", value_cases[i].label,
				 got ? got : "(none)", want ? want : "(none)");
	}
}

static void test_defaults_are_unexpanded(void **state)
{
	CLEANUP(config_freep)
	struct config *config = config_load_text("p.conf", slice_from(HUB "myorigin = a.b\n"));

	(void)state;
	assert_string_equal(config_default(config, CONFIG_MYORIGIN), "$mydomain");
	assert_null(config_default(config, CONFIG_VIRTUAL_MAILBOX_BASE));
	assert_null(config_default(config, CONFIG_HOME_MAILBOX));
}

static void test_relative_file_is_found_from_here(void **state)
{
	CLEANUP(config_freep)
	struct config *config =
		config_load_text("etc/p.conf", slice_from(HUB "smtpd_tls_CAfile = ca.crt\n"));
	CLEANUP(free_strp) char *here = getcwd(NULL, 0);
	const char *value = config_value(config, CONFIG_SMTPD_TLS_CAFILE);

	(void)state;
	assert_int_equal(strncmp(value, here, strlen(here)), 0);
	assert_string_equal(value + strlen(here), "/etc/ca.crt");
}

static void test_file_that_cannot_be_read(void **state)
{
	CLEANUP(config_freep) struct config *config = config_load("/nonexistent/p.conf");
	CLEANUP(free_strp) char *got = problems_of(config);

	(void)state;
	assert_string_equal(got, "/nonexistent/p.conf:1: error: cannot read the file: No such "
				 "file or directory\n");
	assert_true(config_has_errors(config));
	assert_null(config_value(config, CONFIG_QUEUE_DIRECTORY));
}

static void test_listeners(void **state)
{
	CLEANUP(config_freep) struct config *config = config_load_text("p.conf", slice_from(HUB));
	const struct config_listener *listeners;
	unsigned int count;

	(void)state;
	listeners = config_listeners(config, &count);
	assert_int_equal(count, 1);
	assert_int_equal(listeners[0].kind, MTA_SERVICE_SMTP);
	assert_int_equal(net_address_port(&listeners[0].address), 25);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_problems),
		cmocka_unit_test(test_values_that_double_each_other),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_defaults_are_unexpanded),
		cmocka_unit_test(test_relative_file_is_found_from_here),
		cmocka_unit_test(test_file_that_cannot_be_read),
		cmocka_unit_test(test_listeners),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
