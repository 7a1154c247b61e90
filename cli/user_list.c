/* posthouse user list - names, and how their passwords are stored, but never the passwords */
#include "cli/user.h"

#include <jansson.h>

#include "base/macros.h"
#include "cli/json.h"
#include "edge/passwd_edit.h"

struct listing {
	bool as_json;
	size_t longest;
	struct buf out;
};

static void measure(void *arg, struct slice user, const char *scheme)
{
	struct listing *l = arg;

	(void)scheme;
	l->longest = MAX(l->longest, user.len);
}

static void list_for_programs(struct listing *l, const char *user, const char *scheme)
{
	json_t *object = json_pack("{s:o, s:s?, s:b}", "user", cli_json_text(user), "scheme",
				   scheme[0] ? scheme : NULL, "can_log_in", scheme[0] != '\0');

	cli_json_print(&l->out, object);
	json_decref(object);
}

static void list_account(void *arg, struct slice user, const char *scheme)
{
	CLEANUP(free_strp) char *name = slice_strdup(user);
	struct listing *l = arg;

	if (name && l->as_json) {
		list_for_programs(l, name, scheme);
	} else if (name) {
		cli_format_text(&l->out, name);
		buf_printf(&l->out, "%*s  %s\n", (int)(l->longest - user.len), "",
			   scheme[0] ? scheme : "-");
	}
	cli_print(&l->out);
}

int cli_user_list(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct listing listing = { .as_json = false };
	const struct cli_flag flags[] = { { "--json", &listing.as_json } };
	struct error err = { 0 };
	const char *file = NULL;
	int code, r;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, 0) < 0)
		return CLI_USAGE;
	config = config_load(cli->config_file);
	code = user_find_file(config, &file);
	if (code != CLI_DONE)
		return code;
	r = passwd_list(file, measure, &listing, &err);
	if (r == 0)
		r = passwd_list(file, list_account, &listing, &err);
	buf_done(&listing.out);
	return r < 0 ? user_fail(&err) : CLI_DONE;
}
