/*
 * posthouse explain - where mail for an address goes, what TLS it gets, and why
 *
 * Reads the configuration as a server would at its start, and asks.
 */
#include "cli/explain.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/macros.h"
#include "cli/forget.h"
#include "smtp/address.h"

struct request {
	const char *from;
	bool as_json, with_probe, forgets;
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
		return cli_usage_error("explain: \"%s\": not an address", text);
	return CLI_DONE;
}

static int explain_one(const struct request *q, const struct generation *g,
		       const struct explain_family *family, const char *address, bool is_first)
{
	struct explanation e;
	struct error err = { 0 };
	struct buf out = { 0 };
	int r = explain_address(g, family, address, q->sender, &e, &err);
	bool is_failing;

	if (r == 0 && q->with_probe)
		r = explain_probe(g, &e, &err);
	if (r == 0 && q->as_json) {
		explain_json(&e, &out);
	} else if (r == 0) {
		if (!is_first)
			buf_append_string(&out, "\n");
		explain_text(&e, clock_wall_ms(&clock_system) / 1000, &out);
	}
	is_failing = explain_is_failing(&e);
	explain_done(&e);
	cli_print(&out);
	buf_done(&out);
	fflush(stdout); /* the next probe may take its time */
	if (r < 0)
		return cli_fail(&err);
	return is_failing ? CLI_NO : CLI_DONE;
}

static void print_aliases(const struct explain_family *family, bool is_first)
{
	struct buf out = { 0 };

	if (!is_first)
		buf_append_string(&out, "\n");
	explain_aliases_text(family, &out);
	cli_print(&out);
	buf_done(&out);
}

/* Each address that this one stands for, or itself. */
static int explain(const struct request *q, const struct generation *g, const char *recipient,
		   bool is_first)
{
	struct explain_family family;
	int code = CLI_DONE;

	explain_expand(g, recipient, &family);
	if (family.first && !q->as_json)
		print_aliases(&family, is_first);
	if (family.count == 0)
		code = explain_one(q, g, &family, recipient, is_first || family.first);
	for (size_t i = 0; (code == CLI_DONE || code == CLI_NO) && i < family.count; i++) {
		int one = explain_one(q, g, &family, family.addresses[i], i == 0);

		code = one == CLI_DONE ? code : one;
	}
	explain_family_done(&family);
	return code;
}

static int explain_all(struct request *q, const struct generation *g, char **addresses, int count)
{
	int code = q->from ? take_path(q, g, q->from, &q->sender) : CLI_DONE;

	for (int i = 0; (code == CLI_DONE || code == CLI_NO) && i < count; i++) {
		const char *address = NULL;
		int one = take_path(q, g, addresses[i], &address);

		if (one == CLI_DONE && q->forgets)
			one = forget_address(g->config, address);
		if (one == CLI_DONE)
			one = explain(q, g, address, i == 0);
		code = one == CLI_DONE ? code : one;
	}
	return code;
}

/* The server would show it; what peers make of us without may differ. */
static void warn_of_key(const struct config *config)
{
	const char *key = config_value(config, CONFIG_SMTP_TLS_KEY_FILE);

	if (key && key[0] && access(key, R_OK) < 0)
		cli_error("%s: %s; probing without our certificate", key, strerror(errno));
}

/* Whoever may not read the passwords is not told who logs in with them. */
static void warn_of_logins(const struct config *config, const struct generation *g)
{
	if (strcmp(config_value(config, CONFIG_SMTP_SASL_AUTH_ENABLE), "yes") == 0 &&
	    !g->options.credentials.password_maps)
		cli_error("smtp_sasl_password_maps: may not be read; logins are not shown");
}

int cli_explain(const struct cli *cli, int argc, char **argv)
{
	const struct mta_options shared = { .clock = &clock_system };
	struct request q = { .as_json = false };
	const struct cli_flag flags[] = {
		{ "--from", .value = &q.from },
		{ "--probe", &q.with_probe },
		{ "--forget", &q.forgets },
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
	} else if (generation_prepare(g, &shared, NULL, &err) < 0) {
		code = cli_fail(&err);
	} else {
		if (q.with_probe)
			warn_of_key(g->config);
		warn_of_logins(g->config, g);
		code = explain_all(&q, g, argv + 1, count);
	}
	generation_unref(g);
	arena_done(&q.arena);
	return code;
}
