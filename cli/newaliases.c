/*
 * newaliases, sendmail -bi - other servers compile their alias files by it.
 * Ours reads them as they are, and takes changes up by itself; so this looks
 * whether it can. Packages call it when they are installed, perhaps before
 * anybody has configured a server: that is no failure of theirs.
 */
#include "cli/sendmail.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Whether the problem is one of alias_maps, or in one of the files that these name. */
static bool is_about_aliases(const struct config_problem *p, const char *maps)
{
	static const char name[] = "alias_maps";
	const char *slash = strrchr(p->file, '/');

	return strncmp(p->text, name, sizeof(name) - 1) == 0 ||
	       strstr(maps, slash ? slash + 1 : p->file) != NULL;
}

static int tell_problems(const struct config *config, const char *maps)
{
	int code = CLI_DONE;

	for (size_t i = 0; i < config_problem_count(config); i++) {
		const struct config_problem *p = config_problem_at(config, i);

		if (!is_about_aliases(p, maps))
			continue;
		cli_error("%s:%u: %s: %s", p->file, p->line, config_severity_name(p->severity),
			  p->text);
		if (p->severity == CONFIG_ERROR)
			code = CLI_CONFIG;
	}
	return code;
}

int sendmail_aliases(const char *config_file, struct config *config)
{
	const char *maps;
	int code;

	if (access(config_file, F_OK) < 0 && errno == ENOENT) {
		cli_error("newaliases: %s: there is no configuration yet, and nothing to look at",
			  config_file);
		return CLI_DONE;
	}
	maps = config_value(config, CONFIG_ALIAS_MAPS);
	if (maps && maps[0])
		config_open_to_ask(config);
	code = tell_problems(config, maps ? maps : "");
	if (code == CLI_DONE && maps && maps[0])
		printf("alias_maps = %s: no errors; changes are taken up without this command\n",
		       maps);
	return code;
}
