/* posthouse map query - what a map has for a key, like postmap -q */
#include "cli/cli.h"

#include <errno.h>
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

/* As map_lookup(). with_key: as postmap -q - has it, with the key and a tab in front. */
static int query(struct map *map, struct slice key, bool with_key, struct error *err)
{
	struct map_result result = { 0 };
	struct arena arena = { 0 };
	int r = map_lookup(map, key, &arena, &result, err);

	if (r == MAP_FOUND && with_key)
		printf("%.*s\t", (int)key.len, key.ptr);
	if (r == MAP_FOUND)
		printf("%s\n", result.value);
	arena_done(&arena);
	return r;
}

/* Each line of standard input; MAP_FOUND when one was found. */
static int query_lines(struct map *map, struct error *err)
{
	CLEANUP(free_strp) char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int r = MAP_NOT_FOUND;

	while (r >= 0 && (len = getline(&line, &size, stdin)) > 0) {
		struct slice key = slice_of(line, (size_t)len - (line[len - 1] == '\n'));
		int found = key.len ? query(map, key, true, err) : MAP_NOT_FOUND;

		if (found != MAP_NOT_FOUND)
			r = found;
	}
	return r;
}

/* "name : value" is read as a key and a value, too. */
static int visit_entry(void *arg, const char *key, const char *value, const char *source)
{
	bool *has_entries = arg;

	(void)key;
	(void)source;
	*has_entries = true;
	return value[0] != ':' || (value[1] != ' ' && value[1] != '\t');
}

/*
 * The same "hash:FILE" is a file of aliases(5) in alias_maps, and another one
 * elsewhere: a file tells what it is by the colons behind its keys.
 */
static int open_map(const char *spec, const char *directory, struct map **ret_map,
		    struct error *err)
{
	int r = map_open(slice_from(spec), directory, ret_map, err);
	struct map *aliases = NULL;
	bool has_entries = false;

	if (r == -EINVAL && map_open_aliases(slice_from(spec), directory, ret_map, NULL) == 0)
		return 0;
	if (r == 0 && map_visit(*ret_map, visit_entry, &has_entries) == 0 && has_entries &&
	    map_open_aliases(slice_from(spec), directory, &aliases, NULL) == 0) {
		map_free(*ret_map);
		*ret_map = aliases;
	}
	return r;
}

int cli_map_query(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(free_strp) char *directory = NULL;
	CLEANUP(map_freep) struct map *map = NULL;
	struct error err = { 0 };
	int r;

	if (cli_arguments(argc, argv, NULL, 0, 2, 2) < 0)
		return CLI_USAGE;
	directory = directory_of(cli, argv[1]);
	r = open_map(argv[1], directory ? directory : ".", &map, &err);
	if (r < 0)
		return cli_fail(&err);
	r = strcmp(argv[2], "-") == 0 ? query_lines(map, &err)
				      : query(map, slice_from(argv[2]), false, &err);
	return r < 0 ? cli_fail(&err) : r == MAP_FOUND ? CLI_DONE : CLI_NO;
}
