/* test_expiry - which certificates are told of, in what words, and how often */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/macros.h"
#include "cli/expiry.h"
#include "tests/support/throwaway.h"

#define DAY_S	   86400
#define HUB_ENDS_S 2493072000 /* 2049-01-01, as tests/support/make-certs.sh has it */

struct fake_clock {
	struct clock clock;
	int64_t wall_ms, mono_ms;
};

static int64_t fake_wall(const struct clock *clock)
{
	return CONTAINER_OF(clock, struct fake_clock, clock)->wall_ms;
}

static int64_t fake_mono(const struct clock *clock)
{
	return CONTAINER_OF(clock, struct fake_clock, clock)->mono_ms;
}

static int setup(void **state)
{
	*state = throwaway_certs();
	return 0;
}

static int teardown(void **state)
{
	throwaway_remove(*state);
	return 0;
}

static struct config *open_config(const char *dir, const char *more)
{
	struct buf text = { 0 };
	char file[512];
	struct config *config;

	snprintf(file, sizeof(file), "%s/p.conf", dir);
	buf_printf(&text,
		   "mode = hub\nmyhostname = mta.vm.vm\nuser = nobody\nrelay_domains = vm1.vm\n"
		   "listen = smtp://127.0.0.1:25\nsmtpd_tls_cert_file = hub.pem\n"
		   "smtpd_tls_key_file = hub.key\n%s",
		   more);
	config = config_load_text(file, buf_slice(&text));
	config_open(config);
	buf_done(&text);
	return config;
}

/* "warning TEXT" a line, without the directory. */
static void collect(void *arg, const struct config_problem *problem)
{
	const char *start = strstr(problem->text, ": ") + 2;

	buf_printf(arg, "%s %.*s%s\n", config_severity_name(problem->severity),
		   (int)(start - problem->text), problem->text, strrchr(start, '/') + 1);
}

static void assert_told(const struct config *config, int64_t now_s, const char *want)
{
	CLEANUP(free_strp) char *got = NULL;
	struct buf out = { 0 };

	config_report_expiry(config, now_s, collect, &out);
	got = buf_steal_string(&out);
	assert_string_equal(got, want);
}

static void test_words(void **state)
{
	CLEANUP(config_freep) struct config *config = open_config(*state, "");

	assert_told(config, HUB_ENDS_S - 30 * DAY_S, "");
	assert_told(
		config, HUB_ENDS_S - 30 * DAY_S + 1,
		"warning smtpd_tls_cert_file: hub.pem: the certificate (hub.example) expires on "
		"2049-01-01, in 29 days\n");
	assert_told(config, HUB_ENDS_S - 7 * DAY_S + 1,
		    "error smtpd_tls_cert_file: hub.pem: the certificate (hub.example) expires on "
		    "2049-01-01, in 6 days: renew it now\n");
	assert_told(config, HUB_ENDS_S - DAY_S,
		    "error smtpd_tls_cert_file: hub.pem: the certificate (hub.example) expires on "
		    "2049-01-01, in 1 day: renew it now\n");
	assert_told(
		config, HUB_ENDS_S + 3 * DAY_S,
		"error smtpd_tls_cert_file: hub.pem: the certificate (hub.example) has expired on "
		"2049-01-01, 3 days ago\n");
}

/* CAs, the client's certificate, and what is sent along with ours. */
static void test_which(void **state)
{
	CLEANUP(config_freep)
	struct config *config = open_config(*state, "smtpd_tls_CAfile = old-ca.pem\n"
						    "smtp_tls_cert_file = old-sub-chain.pem\n"
						    "smtp_tls_key_file = old-sub.key\n");
	size_t count;
	const struct config_certificate *list = config_certificates(config, &count);

	assert_int_equal(count, 4);
	assert_string_equal(list[0].subject, "hub.example");
	assert_false(list[0].is_ca);
	assert_told(
		config, 1704067200 + DAY_S, /* 2024-01-02 */
		"error smtp_tls_cert_file: old-sub-chain.pem: the certificate (Old Sub CA) has "
		"expired on 2024-01-01, 1 day ago\n"
		"error smtpd_tls_CAfile: old-ca.pem: the CA (Old CA) has expired on 2024-01-01, "
		"1 day ago\n");
}

static void test_once_a_day(void **state)
{
	CLEANUP(config_freep) struct config *config = open_config(*state, "");
	struct fake_clock clock = {
		.clock = { fake_wall, fake_mono },
		.wall_ms = (HUB_ENDS_S - 3 * DAY_S) * 1000LL,
		.mono_ms = 5000,
	};
	struct buf out = { 0 };
	struct expiry expiry;

	expiry_init(&expiry, &clock.clock);
	clock.mono_ms += DAY_S * 1000 - 1;
	expiry_look(&expiry, config, collect, &out);
	assert_int_equal(buf_len(&out), 0);
	clock.mono_ms++;
	expiry_look(&expiry, config, collect, &out);
	assert_true(buf_len(&out) > 0);
	buf_clear(&out);
	expiry_look(&expiry, config, collect, &out);
	assert_int_equal(buf_len(&out), 0);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_which),
		cmocka_unit_test(test_once_a_day),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
