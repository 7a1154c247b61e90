/* test_maillog - the forms of lines that other programs read, and what must never be in one */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <unistd.h>

#include "base/macros.h"
#include "mta/maillog.h"

struct fixture {
	char file[40];
	struct log *log;
	char line[4096]; /* the last one, without what syslog puts in front of the program */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char destination[60];
	struct error err;

	strcpy(f->file, "/tmp/maillog.XXXXXX");
	close(mkstemp(f->file));
	snprintf(destination, sizeof(destination), "file:%s", f->file);
	assert_return_code(log_open(destination, "host", &f->log, &err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	log_close(f->log);
	unlink(f->file);
	free(f);
	return 0;
}

/* The only line of the file, which is emptied: "smtpd: TEXT". */
static const char *line(struct fixture *f)
{
	FILE *stream = fopen(f->file, "re");
	char raw[4096], *program, *text;
	size_t n;

	assert_non_null(stream);
	n = fread(raw, 1, sizeof(raw) - 1, stream);
	fclose(stream);
	raw[n] = '\0';
	assert_true(n > 0);
	assert_ptr_equal(strchr(raw, '\n'), raw + n - 1); /* one line, whatever was in it */
	raw[n - 1] = '\0';
	program = strstr(raw, "posthouse/");
	assert_non_null(program);
	text = strstr(program, "]: ");
	assert_non_null(text);
	*strchr(program, '[') = '\0';
	snprintf(f->line, sizeof(f->line), "%s: %s", program + strlen("posthouse/"), text + 3);
	assert_return_code(truncate(f->file, 0), 0);
	return f->line;
}

static struct net_address client_address(const char *ip)
{
	struct net_address address;

	assert_true(net_address_parse_ip(slice_from(ip), 4711, &address));
	return address;
}

static void test_sessions(void **state)
{
	struct fixture *f = *state;
	struct net_address client = client_address("192.0.2.1"),
			   six = client_address("2001:db8::1");
	struct tls_facts tls = { .protocol = "TLSv1.3", .cipher = "X", .bits = 256 };

	maillog_connect(f->log, &client);
	assert_string_equal(line(f), "smtpd: connect from unknown[192.0.2.1]");
	maillog_connect(f->log, &six);
	assert_string_equal(line(f), "smtpd: connect from unknown[2001:db8::1]");
	maillog_disconnect(f->log, &client, "ehlo=1 quit=1 commands=2");
	assert_string_equal(line(f),
			    "smtpd: disconnect from unknown[192.0.2.1] ehlo=1 quit=1 commands=2");
	maillog_lost(f->log, &client, "lost connection", "DATA");
	assert_string_equal(line(f), "smtpd: lost connection after DATA from unknown[192.0.2.1]");
	maillog_tls_in(f->log, &client, &tls, "");
	assert_string_equal(line(f), "smtpd: Anonymous TLS connection established from "
				     "unknown[192.0.2.1]: TLSv1.3 with cipher X (256/256 bits)");
	maillog_client(f->log, "6F00D", &client, NULL, NULL);
	assert_string_equal(line(f), "smtpd: 6F00D: client=unknown[192.0.2.1]");
	maillog_client(f->log, "6F00D", &client, "PLAIN", "alice@vm1.vm");
	assert_string_equal(line(f), "smtpd: 6F00D: client=unknown[192.0.2.1], "
				     "sasl_method=PLAIN, sasl_username=alice@vm1.vm");
}

/* Whatever a client sends, it cannot write a line of its own, or half of one. */
static void test_forged_text(void **state)
{
	struct fixture *f = *state;
	struct net_address address = client_address("192.0.2.1");
	struct mta_client client = { .address = &address, .hello = "a\r\nposthouse/x[1]: \033[2J" };
	struct smtp_status status;

	smtp_status_set(&status, 554, ESC(5, 7, 1), "<b\nc>: Relay access denied");
	maillog_reject(f->log, NULL, "RCPT", &client, &status, "a\nb", "c\rd\x7f", "ESMTP");
	assert_string_equal(line(f), "smtpd: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: "
				     "554 5.7.1 <b c>: Relay access denied; from=<a b> to=<c d?> "
				     "proto=ESMTP helo=<a posthouse/x[1]: ?[2J>");
	smtp_status_set(&status, 535, ESC(5, 7, 8), "Error: authentication failed");
	maillog_auth_failed(f->log, &address, "LOGIN", "eve\nroot", &status);
	assert_string_equal(line(f),
			    "smtpd: warning: unknown[192.0.2.1]: SASL LOGIN authentication "
			    "failed: Error: authentication failed, sasl_username=eve root");
	/* fail2ban bans nobody for what was not judged. */
	smtp_status_set(&status, 454, ESC(4, 7, 0), "Temporary authentication failure");
	maillog_auth_failed(f->log, &address, "PLAIN", "", &status);
	assert_string_equal(line(f), "smtpd: warning: unknown[192.0.2.1]: SASL PLAIN "
				     "authentication failed: Connection lost to authentication "
				     "server: Temporary authentication failure, "
				     "sasl_username=(unavailable)");
}

static void test_waiting(void **state)
{
	struct fixture *f = *state;
	struct net_address address = client_address("192.0.2.1");

	maillog_auth_waits(f->log, &address, "PLAIN", "a\nb", 7001);
	assert_string_equal(line(f), "smtpd: unknown[192.0.2.1]: SASL PLAIN login waits 8s after "
				     "failures, sasl_username=a b");
}

static const struct {
	const char *label;
	int64_t active_ms, connect_ms, send_ms, done_ms; /* after arrival */
	bool encrypted, verified, connected, bounced, local;
	int code;
	const char *text, *want;
} deliveries[] = {
	{ "sent", 10, 20, 120, 350, true, true, true, false, false, 250, "Ok: queued as X",
	  "delay=0.35, delays=0.01/0.01/0.1/0.23, tls=encrypt:TLSv1.3:verified, dsn=2.0.0, "
	  "status=sent (250 2.0.0 Ok: queued as X)" },
	{ "in the clear", 0, 0, 0, 9, false, false, true, false, false, 250, "Ok",
	  "delay=0, delays=0/0/0/0, tls=encrypt:clear, dsn=2.0.0, status=sent (250 2.0.0 Ok)" },
	{ "no connection", 0, 5, 0, 1500, false, false, false, false, false, 450,
	  "connect to x: refused",
	  "delay=1.5, delays=0/0/1.5/0, tls=encrypt, dsn=4.0.0, status=deferred (connect to x: "
	  "refused)" },
	{ "not verified", 0, 0, 0, 107000, true, false, true, true, false, 550, "no such user",
	  "delay=107, delays=0/0/0/107, tls=encrypt:TLSv1.3:untrusted, dsn=5.0.0, status=bounced "
	  "(550 5.0.0 no such user)" },
	{ "local", 0, 0, 0, 60, false, false, false, false, true, 250, "delivered to maildir",
	  "delay=0.06, delays=0/0/0/0.06, dsn=2.0.0, status=sent (delivered to maildir)" },
};

static void test_deliveries(void **state)
{
	struct fixture *f = *state;
	const int64_t arrived_ms = 1763708400000;
	const struct queue_recipient recipient = { .address = "b@vm2.vm", .original = "B@vm2.vm" };
	const struct tls_policy policy = { .level = TLS_LEVEL_ENCRYPT };

	for (size_t i = 0; i < ARRAY_SIZE(deliveries); i++) {
		struct tls_facts tls = { .protocol = "TLSv1.3",
					 .has_peer_cert = true,
					 .trusted = deliveries[i].verified,
					 .verified = deliveries[i].verified };
		struct maillog_delivery d = {
			.program = "smtp",
			.id = "6F00D",
			.recipient = &recipient,
			.relay = "hub[192.0.2.1]:25",
			.arrived_ms = arrived_ms,
			.active_ms = arrived_ms + deliveries[i].active_ms,
			.done_ms = arrived_ms + deliveries[i].done_ms,
			.policy = deliveries[i].local ? NULL : &policy,
			.tls = deliveries[i].encrypted ? &tls : NULL,
			.connected = deliveries[i].connected,
			.by_peer = deliveries[i].connected,
			.bounced = deliveries[i].bounced,
		};
		struct smtp_status status;
		char want[600];

		if (deliveries[i].connect_ms)
			d.connect_ms = arrived_ms + deliveries[i].connect_ms;
		if (deliveries[i].send_ms)
			d.send_ms = arrived_ms + deliveries[i].send_ms;
		if (deliveries[i].connected && !d.send_ms)
			d.connect_ms = d.send_ms = d.active_ms; /* a connection that was there */
		if (deliveries[i].local)
			d.connect_ms = d.send_ms = d.active_ms;
		smtp_status_set(&status, deliveries[i].code, ESC(0, 0, 0), "%s",
				deliveries[i].text);
		d.status = &status;
		maillog_delivery(f->log, &d);
		snprintf(want, sizeof(want),
			 "smtp: 6F00D: to=<b@vm2.vm>, orig_to=<B@vm2.vm>, relay=hub[192.0.2.1]:25, "
			 "%s",
			 deliveries[i].want);
		if (strcmp(line(f), want) != 0)
			fail_msg("%s:\n got %s\nwant %s", deliveries[i].label, f->line, want);
	}
}

static void test_queue(void **state)
{
	struct fixture *f = *state;
	const struct queue_message m = {
		.name = "6F00D", .sender = "a@b", .size = 1234, .recipient_count = 2
	};

	maillog_active(f->log, &m);
	assert_string_equal(line(f), "qmgr: 6F00D: from=<a@b>, size=1234, nrcpt=2 (queue active)");
	maillog_removed(f->log, "6F00D");
	assert_string_equal(line(f), "qmgr: 6F00D: removed");
	maillog_report(f->log, "6F00D", REPORT_FAILURE, "6F00E");
	assert_string_equal(line(f), "bounce: 6F00D: sender non-delivery notification: 6F00E");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sessions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deliveries, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
