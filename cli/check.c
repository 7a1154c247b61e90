/* posthouse check - everything that is wrong with the configuration and what it names */
#include "cli/cli.h"

#include <stdio.h>

int cli_check(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;

	if (cli_arguments(argc, argv, NULL, 0, 0, 0) < 0)
		return CLI_USAGE;
	config = config_load(cli->config_file);
	config_open(config);
	for (size_t i = 0; i < config_problem_count(config); i++) {
		const struct config_problem *p = config_problem_at(config, i);

		printf("%s:%u: %s: %s\n", p->file, p->line, config_severity_name(p->severity),
		       p->text);
	}
	return config_has_errors(config) ? CLI_NO : CLI_DONE;
}
