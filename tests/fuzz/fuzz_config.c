/*
 * fuzz_config - a configuration file of any bytes
 *
 * Whatever it holds, there is a config, and every problem has a line of the
 * file and a text that is safe to print.
 */
#include <string.h>

#include "config/config.h"
#include "tests/fuzz/fuzz.h"

static unsigned int count_lines(struct slice text)
{
	unsigned int lines = 1;

	for (size_t i = 0; i < text.len; i++)
		lines += text.ptr[i] == '\n';
	return lines;
}

static void check_problem(const struct config_problem *problem, unsigned int lines)
{
	MUST(problem->line >= 1 && problem->line <= lines);
	MUST(problem->text[0] != '\0');
	for (const char *p = problem->text; *p; p++)
		MUST((unsigned char)*p >= ' ' && *p != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of((const char *)data, size);
	struct config *config = config_load_text("/etc/fuzz.conf", text);
	unsigned int lines = count_lines(text), previous = 1;

	for (size_t i = 0; i < config_problem_count(config); i++) {
		const struct config_problem *problem = config_problem_at(config, i);

		check_problem(problem, lines);
		MUST(problem->line >= previous);
		previous = problem->line;
	}
	for (unsigned int id = 0; id < CONFIG_PARAMETER_COUNT; id++)
		MUST(config_value(config, id) || config_has_errors(config) ||
		     !(config_schema[id].modes & config_mode(config)));
	config_free(config);
	return 0;
}
