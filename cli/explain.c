/*
 * posthouse explain - where mail for an address goes, what TLS it gets, and why
 *
 * Reads the configuration as a server would at its start, and asks.
 */
#include "cli/explain.h"

#include <limits.h>

#include "base/macros.h"
#include "smtp/address.h"

struct request {
	const char *from;
	bool as_json;
	const char *sender; /* NULL: not given */
	struct arena arena;
};

/* As an envelope has it: without brackets, with a domain. "" for "<>". */
static int take_path(struct request *q, const struct generation *g, const char *text,
		     const char **ret)
{
	struct slice rest = slice_from(text);

	if (smtp_path_parse(&rest, g->options.origin, &q->arena, ret) != SMTP_PATH_OK ||
	    rest.len > 0)
		return cli_usage_error("explain: %s: not an address", text);
	return CLI_DONE;
}

static int explain(const struct request *q, const struct generation *g, const char *address,
		   bool is_first)
{
	struct explanation e;
	struct error err = { 0 };
	struct buf out = { 0 };
	int r = explain_address(g, address, q->sender, &e, &err);

	if (r == 0 && q->as_json) {
		explain_json(&e, &out);
	} else if (r == 0) {
		if (!is_first)
			buf_append_string(&out, "\n");
		explain_text(&e, &out);
	}
	explain_done(&e);
	cli_print(&out);
	buf_done(&out);
	return r < 0 ? cli_fail(&err) : CLI_DONE;
}

static int explain_all(struct request *q, const struct generation *g, char **addresses, int count)
{
	int code = q->from ? take_path(q, g, q->from, &q->sender) : CLI_DONE;

	for (int i = 0; code == CLI_DONE && i < count; i++) {
		const char *address = NULL;

		code = take_path(q, g, addresses[i], &address);
		if (code == CLI_DONE)
			code = explain(q, g, address, i == 0);
	}
	return code;
}

int cli_explain(const struct cli *cli, int argc, char **argv)
{
	const struct mta_options shared = { .clock = &clock_system };
	struct request q = { .as_json = false };
	const struct cli_flag flags[] = {
		{ "--from", .value = &q.from },
		{ "--json", &q.as_json },
	};
	struct error err = { 0 };
	struct generation *g;
	int count, code;

	count = cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 1, INT_MAX);
	if (count < 0)
		return CLI_USAGE;
	g = generation_new(config_load(cli->config_file));
	config_open_to_ask(g->config);
	if (config_has_errors(g->config)) {
		cli_print_errors(g->config);
		code = CLI_CONFIG;
	} else if (generation_prepare(g, &shared, &err) < 0) {
		code = cli_fail(&err);
	} else {
		code = explain_all(&q, g, argv + 1, count);
	}
	generation_unref(g);
	arena_done(&q.arena);
	return code;
}
