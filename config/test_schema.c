/* test_schema - the table of parameters is whole, and says what the contract says */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "config/schema.h"

/* Every parameter that operators are promised; absent ones of a later version too. */
static const char *const promised[] = {
	"mode",
	"myhostname",
	"mydomain",
	"myorigin",
	"listen",
	"user",
	"queue_directory",
	"run_directory",
	"message_size_limit",
	"mynetworks",
	"relay_domains",
	"transport_maps",
	"relayhost",
	"default_transport",
	"smtpd_tls_security_level",
	"smtpd_tls_cert_file",
	"smtpd_tls_key_file",
	"smtpd_tls_CAfile",
	"smtpd_tls_ask_ccert",
	"smtpd_tls_req_ccert",
	"relay_clientcerts",
	"smtpd_tls_auth_only",
	"smtp_tls_security_level",
	"smtp_tls_policy_maps",
	"smtp_tls_CAfile",
	"smtp_tls_cert_file",
	"smtp_tls_key_file",
	"smtp_tls_protocols",
	"smtpd_tls_protocols",
	"smtp_sasl_auth_enable",
	"smtp_sasl_password_maps",
	"smtp_sender_dependent_authentication",
	"smtp_sasl_mechanism_filter",
	"virtual_mailbox_domains",
	"virtual_mailbox_base",
	"virtual_mailbox_maps",
	"virtual_alias_maps",
	"virtual_alias_domains",
	"virtual_alias_expansion_limit",
	"virtual_alias_recursion_limit",
	"propagate_unmatched_extensions",
	"virtual_mailbox_limit",
	"mailbox_size_limit",
	"virtual_uid_maps",
	"virtual_gid_maps",
	"virtual_minimum_uid",
	"alias_maps",
	"mydestination",
	"home_mailbox",
	"local_recipient_maps",
	"unknown_local_recipient_reject_code",
	"unknown_virtual_alias_reject_code",
	"unknown_virtual_mailbox_reject_code",
	"smtpd_sasl_passdb",
	"smtpd_sender_login_maps",
	"smtpd_recipient_limit",
	"smtpd_client_connection_count_limit",
	"smtpd_client_connection_rate_limit",
	"smtpd_client_message_rate_limit",
	"smtpd_client_recipient_rate_limit",
	"smtpd_client_auth_rate_limit",
	"smtpd_client_new_tls_session_rate_limit",
	"anvil_rate_time_unit",
	"smtpd_client_event_limit_exceptions",
	"smtpd_timeout",
	"default_destination_concurrency_limit",
	"default_destination_recipient_limit",
	"minimal_backoff_time",
	"maximal_backoff_time",
	"maximal_queue_lifetime",
	"bounce_queue_lifetime",
	"delay_warning_time",
	"resolver",
	"log_destination",
	"log_format",
	"ledger_lifetime",
	"workers",
};

static void test_every_promised_parameter_is_known(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(promised); i++)
		if (!config_schema_find(slice_from(promised[i])))
			fail_msg("%s is not in the schema", promised[i]);
}

static void test_rows_are_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < CONFIG_PARAMETER_COUNT; i++) {
		const struct config_parameter *p = &config_schema[i];

		if (!p->name || !p->help || p->help[0] == '\0' || p->modes == 0)
			fail_msg("row %zu is incomplete", i);
		if (config_schema_find(slice_from(p->name)) != p)
			fail_msg("%s is there twice", p->name);
		if (config_hint(slice_from(p->name)))
			fail_msg("%s is ours, and yet the hints send elsewhere", p->name);
		if (p->type == CONFIG_TYPE_WORD && (!p->words || !p->later_words))
			fail_msg("%s has no words", p->name);
	}
}

static const struct {
	const char *name, *near;
} slips[] = {
	{ "relay_domain", "relay_domains" },	    { "myhostnmae", "myhostname" },
	{ "smtpd_tls_cafile", "smtpd_tls_CAfile" }, { "transport_map", "transport_maps" },
	{ "entirely_else_altogether", NULL },
};

static void test_config_schema_nearest(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(slips); i++) {
		const char *near = config_schema_nearest(slice_from(slips[i].name));

		if (slips[i].near)
			assert_string_equal(near, slips[i].near);
		else
			assert_null(near);
	}
}

static void test_config_hint(void **state)
{
	(void)state;
	assert_string_equal(config_hint(SLICE("inet_interfaces")), "use listen");
	assert_null(config_hint(SLICE("listen")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_promised_parameter_is_known),
		cmocka_unit_test(test_rows_are_whole),
		cmocka_unit_test(test_config_schema_nearest),
		cmocka_unit_test(test_config_hint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
