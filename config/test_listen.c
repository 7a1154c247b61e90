/* test_listen - lists of listeners */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/macros.h"
#include "config/listen.h"

static const char *const kinds[] = {
	[MTA_SERVICE_SMTP] = "smtp",
	[MTA_SERVICE_SMTPS] = "smtps",
	[MTA_SERVICE_SUBMISSION] = "submission",
	[MTA_SERVICE_SUBMISSIONS] = "submissions",
};

/* want: "SERVICE ADDRESS" of each, or the error's text */
static const struct {
	const char *label, *text, *want;
} cases[] = {
	{ "every address of both families", "smtp://*:25", "smtp 0.0.0.0:25, smtp [::]:25 +" },
	{ "IPv4", "smtps://192.0.2.1:10465", "smtps 192.0.2.1:10465" },
	{ "IPv6", "submissions://[::1]:465", "submissions [::1]:465" },
	{ "two, with a comma", "smtp://127.0.0.1:25, submission://127.0.0.1:587",
	  "smtp 127.0.0.1:25, submission 127.0.0.1:587" },
	{ "any case", "SMTP://127.0.0.1:25", "smtp 127.0.0.1:25" },
	{ "usual ports",
	  "smtp://127.0.0.1 smtps://127.0.0.1 submission://127.0.0.1 submissions://[::1]",
	  "smtp 127.0.0.1:25, smtps 127.0.0.1:465, submission 127.0.0.1:587, "
	  "submissions [::1]:465" },
	{ "free ports are never the same", "smtp://127.0.0.1:0 smtps://127.0.0.1:0",
	  "smtp 127.0.0.1:0, smtps 127.0.0.1:0" },
	{ "families do not meet", "smtp://0.0.0.0:25 smtp://[::]:25",
	  "smtp 0.0.0.0:25, smtp [::]:25" },
	{ "none", " ", "expected at least one listener, as smtp://*:25" },
	{ "service is misspelled", "smpt://*:25",
	  "smpt://*:25: unknown service smpt; expected smtp, smtps, submission or submissions; "
	  "did you mean smtp?" },
	{ "no service", "127.0.0.1:25",
	  "127.0.0.1:25: expected SERVICE://ADDRESS:PORT, as smtp://*:25" },
	{ "a name", "smtp://localhost:25",
	  "smtp://localhost:25: expected *, an IPv4 address, or an IPv6 address in brackets" },
	{ "no address", "smtp://:25",
	  "smtp://:25: expected *, an IPv4 address, or an IPv6 address in brackets" },
	{ "IPv4 in brackets", "smtp://[127.0.0.1]:25",
	  "smtp://[127.0.0.1]:25: brackets belong around IPv6 addresses only" },
	{ "brackets are not closed", "smtp://[::1:25",
	  "smtp://[::1:25: expected *, an IPv4 address, or an IPv6 address in brackets" },
	{ "port too large", "smtp://*:65536",
	  "smtp://*:65536: expected a port from 0 to 65535 behind the address" },
	{ "port is a word", "smtp://*:smtp",
	  "smtp://*:smtp: expected a port from 0 to 65535 behind the address" },
	{ "the same twice", "smtp://127.0.0.1:25 smtps://127.0.0.1:25",
	  "smtps://127.0.0.1:25: 127.0.0.1:25 is already taken by an entry before" },
	{ "one of all", "smtp://*:25 smtp://127.0.0.1:25",
	  "smtp://127.0.0.1:25: 127.0.0.1:25 is already taken by an entry before" },
};

static void print_listeners(struct buf *out, const struct config_listener *listeners,
			    unsigned int count)
{
	char address[NET_ADDRESS_TEXT_SIZE];

	for (unsigned int i = 0; i < count; i++)
		buf_printf(out, "%s%s %s%s", i ? ", " : "", kinds[listeners[i].kind],
			   net_address_text(&listeners[i].address, address),
			   listeners[i].is_second_half ? " +" : "");
}

static void test_config_listen_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct config_listener *listeners;
		struct arena arena = { 0 };
		struct error err = { 0 };
		struct buf got = { 0 };
		unsigned int count;
		char *text;

		if (config_listen_parse(slice_from(cases[i].text), &arena, &listeners, &count,
					&err) < 0)
			buf_append_string(&got, err.text);
		else
			print_listeners(&got, listeners, count);
		text = buf_steal_string(&got);
		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s: got \"%s\", wanted \"%s\"", cases[i].label, text,
				 cases[i].want);
		free(text);
		arena_done(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_listen_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
