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

int cli_fail(const struct error *err)
{
	cli_error("%s", err->text);
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

static bool take_flag(const char *argument, const struct cli_flag *flags, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(argument, flags[i].name) == 0) {
			*flags[i].is_set = true;
			return true;
		}
	}
	return false;
}

int cli_arguments(int argc, char **argv, const struct cli_flag *flags, size_t flag_count,
		  int minimum, int maximum)
{
	const char *command = argv[0];
	int count = 0;
	bool only_arguments = false;

	for (int i = 1; i < argc; i++) {
		if (!only_arguments && strcmp(argv[i], "--") == 0) {
			only_arguments = true;
		} else if (only_arguments || argv[i][0] != '-' || argv[i][1] == '\0') {
			argv[1 + count++] = argv[i];
		} else if (!take_flag(argv[i], flags, flag_count)) {
			cli_error("%s: unknown option %s; see posthouse %s --help", command,
				  argv[i], command);
			return -1;
		}
	}
	if (count < minimum) {
		cli_error("%s: too few arguments; see posthouse %s --help", command, command);
		return -1;
	}
	if (count > maximum) {
		cli_error("%s: too many arguments; see posthouse %s --help", command, command);
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
