/*
 * posthouse config - the parameters as they take effect, like postconf
 *
 * Where the file has errors, what is known is printed all the same.
 */
#include "cli/cli.h"

#include <stdio.h>

#include "base/macros.h"

static const char *value_of(struct config *config, enum config_parameter_id id, bool of_defaults)
{
	return of_defaults ? config_default(config, id) : config_shown_value(config, id);
}

static void print_parameter(const char *name, const char *value)
{
	printf("%s =%s%s\n", name, value[0] ? " " : "", value);
}

static int compare_names(const void *a, const void *b)
{
	const enum config_parameter_id *a_id = a, *b_id = b;

	return strcmp(config_schema[*a_id].name, config_schema[*b_id].name);
}

/* By name, as postconf does; those that mean nothing here are left out. */
static void print_all(struct config *config, bool of_defaults)
{
	enum config_parameter_id ids[CONFIG_PARAMETER_COUNT];

	for (unsigned int i = 0; i < CONFIG_PARAMETER_COUNT; i++)
		ids[i] = i;
	qsort(ids, CONFIG_PARAMETER_COUNT, sizeof(ids[0]), compare_names);
	for (size_t i = 0; i < CONFIG_PARAMETER_COUNT; i++) {
		const char *value = value_of(config, ids[i], of_defaults);

		if (value)
			print_parameter(config_schema[ids[i]].name, value);
	}
}

static bool print_named(struct config *config, bool of_defaults, const char *name)
{
	const struct config_parameter *p = config_schema_find(slice_from(name));
	const char *near = p ? NULL : config_schema_nearest(slice_from(name)), *value;

	if (!p) {
		cli_error("%s: unknown parameter%s%s%s", name, near ? "; did you mean " : "",
			  near ? near : "", near ? "?" : "");
		return false;
	}
	value = value_of(config, (enum config_parameter_id)(p - config_schema), of_defaults);
	if (value)
		print_parameter(name, value);
	else if (of_defaults)
		cli_error("%s: has no default", name);
	else
		cli_error("%s: has no meaning in mode %s", name, config_value(config, CONFIG_MODE));
	return value != NULL;
}

int cli_config(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = config_load(cli->config_file);
	bool of_defaults = false;
	const struct cli_flag flags[] = { { "-d", &of_defaults } };
	int count = cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, argc);
	int r = CLI_DONE;

	if (count < 0)
		return CLI_USAGE;
	if (count == 0)
		print_all(config, of_defaults);
	for (int i = 1; i <= count; i++)
		if (!print_named(config, of_defaults, argv[i]))
			r = CLI_NO;
	if (!config_has_errors(config))
		return r;
	cli_print_errors(config);
	return CLI_CONFIG;
}
