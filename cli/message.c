/* Messages to the caller, and the two things that every command begins with. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/escape.h"

static void print_error(const char *format, va_list args)
{
	char text[2048], escaped[2048];

	vsnprintf(text, sizeof(text), format, args);
	fprintf(stderr, "posthouse: %s\n", escape_cstr(slice_from(text), escaped, sizeof(escaped)));
}

void cli_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_error(format, args);
	va_end(args);
}

int cli_usage_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_error(format, args);
	va_end(args);
	return CLI_USAGE;
}

int cli_exit_of(const struct error *err)
{
	switch (err->code) {
	case -EACCES:
	case -EPERM:
		return CLI_NOT_PERMITTED;
	case -EINVAL:
		return CLI_CONFIG;
	case -EBUSY:
	case -EAGAIN:
		return CLI_TRY_LATER;
	default:
		return CLI_IO;
	}
}

int cli_fail(const struct error *err)
{
	cli_error("%s", err->text);
	return cli_exit_of(err);
}

enum taken {
	TAKEN = 1,
	TAKEN_WITH_NEXT, /* the next argument was its value */
};

/* How the flag was taken, or -1 when that is not possible, which has been told. */
static int set_flag(const char *command, const struct cli_flag *flag, const char *value,
		    const char *next)
{
	if (flag->is_set && value) {
		cli_error("%s: %s takes no value", command, flag->name);
		return -1;
	}
	if (flag->is_set) {
		*flag->is_set = true;
		return TAKEN;
	}
	if (*flag->value) {
		cli_error("%s: %s is given twice", command, flag->name);
		return -1;
	}
	*flag->value = value ? value : next;
	if (!*flag->value || **flag->value == '\0') {
		cli_error("%s: %s needs a value", command, flag->name);
		return -1;
	}
	return value ? TAKEN : TAKEN_WITH_NEXT;
}

static int take_flag(const char *command, const char *argument, const char *next,
		     const struct cli_flag *flags, size_t count)
{
	size_t len = strcspn(argument, "=");

	for (size_t i = 0; i < count; i++)
		if (strlen(flags[i].name) == len && strncmp(argument, flags[i].name, len) == 0)
			return set_flag(command, &flags[i],
					argument[len] ? argument + len + 1 : NULL, next);
	cli_error("%s: unknown option %s; see posthouse %s --help", command, argument, command);
	return -1;
}

int cli_arguments(int argc, char **argv, const struct cli_flag *flags, size_t flag_count,
		  int minimum, int maximum)
{
	const char *command = argv[0];
	int count = 0;
	bool only_arguments = false;

	for (int i = 1; i < argc; i++) {
		int taken;

		if (!only_arguments && strcmp(argv[i], "--") == 0) {
			only_arguments = true;
			continue;
		}
		if (only_arguments || argv[i][0] != '-' || argv[i][1] == '\0') {
			argv[1 + count++] = argv[i];
			continue;
		}
		taken = take_flag(command, argv[i], i + 1 < argc ? argv[i + 1] : NULL, flags,
				  flag_count);
		if (taken < 0)
			return -1;
		i += taken == TAKEN_WITH_NEXT;
	}
	if (count < minimum || count > maximum) {
		cli_error("%s: too %s arguments; see posthouse %s --help", command,
			  count < minimum ? "few" : "many", command);
		return -1;
	}
	return count;
}

void cli_print_errors(const struct config *config)
{
	for (size_t i = 0; i < config_problem_count(config); i++) {
		const struct config_problem *p = config_problem_at(config, i);

		if (p->severity == CONFIG_ERROR)
			cli_error("%s:%u: error: %s", p->file, p->line, p->text);
	}
}
