/* explain_aliases - whom an address stands for, as an edge expands it before it queues a message */
#include "cli/explain.h"

#include <string.h>

#define LABEL_WIDTH 11

static void note_alias(void *arg, const struct edge_alias *alias)
{
	struct explain_family *f = arg;
	struct explain_alias *copy = arena_alloc(&f->arena, sizeof(*copy));

	*copy = (struct explain_alias){
		.address = arena_strdup(&f->arena, alias->address),
		.parameter = arena_strdup(&f->arena, alias->parameter),
		.value = arena_strdup(&f->arena, alias->value),
		.source = arena_strdup(&f->arena, alias->source),
	};
	if (f->last)
		f->last->next = copy;
	else
		f->first = copy;
	f->last = copy;
}

void explain_expand(const struct generation *g, const char *recipient, struct explain_family *f)
{
	struct mta_expansion expansion = { 0 };
	struct smtp_status status;
	struct error why = { 0 };

	*f = (struct explain_family){ .recipient = recipient };
	if (!g->edge)
		return;
	smtp_status_set(&status, 250, ESC(2, 1, 5), "Ok");
	edge_expand_traced(g->edge, recipient, note_alias, f, &f->arena, &expansion, &status, &why);
	f->addresses = expansion.addresses;
	f->count = expansion.count;
	if (smtp_status_class(&status) != SMTP_DELIVERED)
		f->error = arena_strdup(&f->arena, why.text);
}

void explain_family_done(struct explain_family *f)
{
	arena_done(&f->arena);
}

void explain_aliases_text(const struct explain_family *f, struct buf *out)
{
	cli_format_address(out, f->recipient);
	buf_append_string(out, "\n");
	for (const struct explain_alias *a = f->first; a; a = a->next) {
		buf_printf(out, "  %-*s  ", LABEL_WIDTH, a == f->first ? "aliases" : "");
		cli_format_text(out, a->address);
		buf_append_string(out, "  ");
		cli_format_text(out, a->source);
		buf_append_string(out, ": ");
		cli_format_text(out, a->value);
		buf_append_string(out, "\n");
	}
	for (size_t i = 0; i < f->count; i++) {
		buf_printf(out, "  %-*s  ", LABEL_WIDTH, i == 0 ? "stands for" : "");
		cli_format_address(out, f->addresses[i]);
		buf_append_string(out, "\n");
	}
	buf_append_string(out, "\n");
}
