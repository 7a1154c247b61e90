/* test_sendmail_options - arguments as cron, mail(1) and scripts of decades give them */

#include "cli/sendmail_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

#define ARGUMENTS_MAX 12

static const struct {
	const char *argv[ARGUMENTS_MAX];
	const char *want; /* what was understood; "!" and a word of the error */
} cases[] = {
	{ { "sendmail", "bob" }, "message to=bob" },
	{ { "/usr/sbin/sendmail", "-i", "-f", "a@b", "bob", "c@d" }, "message i f=a@b to=bob,c@d" },
	{ { "sendmail", "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root" },
	  "message F=CronDaemon i 8 to=root" },
	{ { "send-mail", "-i", "--", "-strange" }, "message i to=-strange" },
	{ { "sendmail", "-ti" }, "message t i" },
	{ { "sendmail", "-t", "-oi", "-oem", "-odb" }, "message t i" },
	{ { "sendmail", "-tifroot@x" }, "message t i f=root@x" },
	{ { "sendmail", "-f", "", "bob" }, "message f= to=bob" },
	{ { "sendmail", "-f<>", "bob" }, "message f=<> to=bob" },
	{ { "sendmail", "-r", "x", "-N", "never", "-R", "hdrs", "-V", "id1", "bob" },
	  "message f=x N=1 R=2 V=id1 to=bob" },
	{ { "sendmail", "-Nsuccess,delay", "bob" }, "message N=10 to=bob" },
	{ { "sendmail", "-bm", "-v", "-n", "-U", "-m", "-Am", "-L", "x", "bob" },
	  "message to=bob" },
	{ { "sendmail", "-O", "DeliveryMode=b", "-X", "log", "-h", "3", "bob" }, "message to=bob" },
	{ { "sendmail", "-oA/etc/aliases", "-bi" }, "aliases" },
	{ { "sendmail", "-G", "-o8", "bob" }, "message G 8 to=bob" },
	{ { "sendmail", "bob", "-t" }, "message to=bob,-t" },
	{ { "sendmail", "-q15m", "bob" }, "message to=bob" },
	{ { "sendmail", "-C", "f.conf", "-bs" }, "smtp C=f.conf" },
	{ { "sendmail", "-bp" }, "list" },
	{ { "/usr/bin/mailq", "-Ac" }, "list" },
	{ { "newaliases" }, "aliases" },
	{ { "sendmail", "-I" }, "aliases" },
	{ { "sendmail", "-q" }, "flush" },
	{ { "sendmail", "-qIABC" }, "flush id=ABC" },
	{ { "sendmail", "-qRvm1.vm" }, "flush domain=vm1.vm" },
	{ { "sendmail", "--help" }, "help" },
	{ { "sendmail", "-bd" }, "!posthouse run" },
	{ { "sendmail", "-bv", "bob" }, "!-bv" },
	{ { "sendmail", "-Z" }, "!unknown option -Z" },
	{ { "sendmail", "-f" }, "!-f needs a value" },
	{ { "sendmail", "-Nsometimes" }, "!never" },
	{ { "sendmail", "-Rall" }, "!full or hdrs" },
	{ { "sendmail", "-B9BIT" }, "!8BITMIME" },
	{ { "sendmail", "-V", "a\nb" }, "!printable" },
	{ { "sendmail", "-qx" }, "!-qx" },
	{ { "sendmail", "-bp", "bob" }, "!no recipients" },
};

static void describe(const struct sendmail_options *o, char *out, size_t size)
{
	static const char *const modes[] = {
		[SENDMAIL_MESSAGE] = "message", [SENDMAIL_SMTP] = "smtp",
		[SENDMAIL_LIST] = "list",	[SENDMAIL_ALIASES] = "aliases",
		[SENDMAIL_FLUSH] = "flush",	[SENDMAIL_HELP] = "help",
	};
	FILE *f = fmemopen(out, size, "w");

	fputs(modes[o->mode], f);
	fputs(o->is_relayed ? " G" : "", f);
	fputs(o->takes_recipients ? " t" : "", f);
	if (o->config_file)
		fprintf(f, " C=%s", o->config_file);
	if (o->full_name)
		fprintf(f, " F=%s", o->full_name);
	fputs(o->keeps_dots ? " i" : "", f);
	if (o->sender)
		fprintf(f, " f=%s", o->sender);
	fputs(o->body_8bit ? " 8" : "", f);
	if (o->notify)
		fprintf(f, " N=%u", o->notify);
	if (o->returning)
		fprintf(f, " R=%d", (int)o->returning);
	if (o->envelope_id[0])
		fprintf(f, " V=%s", o->envelope_id);
	if (o->flush_id)
		fprintf(f, " id=%s", o->flush_id);
	if (o->flush_domain)
		fprintf(f, " domain=%s", o->flush_domain);
	for (int i = 0; i < o->recipient_count; i++)
		fprintf(f, "%s%s", i ? "," : " to=", o->recipients[i]);
	fclose(f);
}

static void test_options(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *argv[ARGUMENTS_MAX + 1] = { NULL }, got[256] = "";
		struct sendmail_options options;
		struct error err = { 0 };
		int argc = 0;

		for (; argc < ARGUMENTS_MAX && cases[i].argv[argc]; argc++)
			argv[argc] = strdup(cases[i].argv[argc]);
		if (sendmail_options_parse(argc, argv, &options, &err) == 0)
			describe(&options, got, sizeof(got));
		if (cases[i].want[0] == '!' ? !strstr(err.text, cases[i].want + 1)
					    : strcmp(got, cases[i].want) != 0)
			fail_msg("case %zu: got '%s', error '%s'", i, got, err.text);
		while (argc > 0)
			free(argv[--argc]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
