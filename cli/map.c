/* posthouse map query - what a map has for a key, like postmap -q */
#include "cli/cli.h"

#include <stdio.h>

/*
 * A file is meant as any argument is, from here; but a map copied from the
 * configuration is meant as there, beside it.
 */
static char *directory_of(const struct cli *cli, const char *spec)
{
	const char *colon = strchr(spec, ':');
	const char *slash = strrchr(cli->config_file, '/');

	if (!slash || !colon || access(colon + 1, F_OK) == 0)
		return strdup(".");
	return strndup(cli->config_file,
		       slash == cli->config_file ? 1 : (size_t)(slash - cli->config_file));
}

int cli_map_query(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(free_strp) char *directory = NULL;
	CLEANUP(map_freep) struct map *map = NULL;
	struct map_result result = { 0 };
	struct arena arena = { 0 };
	struct error err = { 0 };
	int r;

	if (cli_arguments(argc, argv, NULL, 0, 2, 2) < 0)
		return CLI_USAGE;
	directory = directory_of(cli, argv[1]);
	r = map_open(slice_from(argv[1]), directory ? directory : ".", &map, &err);
	if (r < 0)
		return cli_fail(&err);
	r = map_lookup(map, slice_from(argv[2]), &arena, &result, &err);
	if (r == MAP_FOUND)
		printf("%s\n", result.value);
	arena_done(&arena);
	return r < 0 ? cli_fail(&err) : r == MAP_FOUND ? CLI_DONE : CLI_NO;
}
