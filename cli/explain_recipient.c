/*
 * explain_recipient - what a hub knows of a recipient, as RCPT would find it:
 * from relay_recipient_maps, or from what next hops have said (mta/verify.h)
 */
#include <errno.h>

#include "cli/explain.h"
#include "mta/verify_file.h"

/* As RCPT would say it; the text of the next hop alone, as the rest is known. */
static void refuse(const struct generation *g, struct explanation *e,
		   const struct verify_fact *fact)
{
	int code = g->options.verify.reject_code;

	e->action = code >= 500 ? EXPLAIN_ERROR : EXPLAIN_RETRY;
	e->source = VERIFY_FILE_NAME;
	e->error = arena_printf(&e->arena, "%d undeliverable address: %s", code, fact->status.text);
}

static const char *describe(struct explanation *e, const struct verify_fact *fact, int64_t now_ms)
{
	const char *status = explain_status_text(&e->arena, &fact->status);
	struct buf age = { 0 };
	const char *text;

	cli_format_duration(&age, (now_ms - fact->checked_ms) / 1000);
	text = arena_printf(&e->arena, "%s, as its next hop said %.*s ago: %s",
			    verify_verdict_name(fact->verdict), (int)buf_len(&age),
			    buf_slice(&age).ptr, status);
	buf_done(&age);
	return text;
}

static void look_into_cache(const struct generation *g, struct explanation *e)
{
	const char *directory = config_value(g->config, CONFIG_QUEUE_DIRECTORY);
	struct verify_cache *cache = verify_cache_new();
	int64_t now_ms = clock_wall_ms(&clock_system);
	struct verify_fact fact;
	struct error err;
	size_t lines;

	if (verify_file_load(directory, cache, &lines, &err) < 0) {
		e->known_by = arena_printf(&e->arena, "what its next hop has said is not known: %s",
					   err.text);
	} else if (verify_cache_get(cache, verify_cache_key(&e->arena, e->address), &fact) &&
		   verify_fact_age(&fact, &g->options.verify, now_ms) != VERIFY_EXPIRED) {
		e->known_by = describe(e, &fact, now_ms);
		if (fact.verdict == VERIFY_UNDELIVERABLE && explain_is_relayed(e))
			refuse(g, e, &fact);
	} else {
		e->known_by = "not known: its next hop would be asked";
	}
	verify_cache_free(cache);
}

void explain_recipient(const struct generation *g, struct explanation *e)
{
	struct map_result found;
	struct error err;

	if (!g->hub || hub_find_recipient(g->hub, e->address, &e->arena, &found, &err) != MAP_FOUND)
		return; /* the policy has said so, or will */
	if (hub_policy.must_verify(g->hub, e->address, &err) == MAP_FOUND)
		look_into_cache(g, e);
	else if (found.source[0])
		e->known_by = arena_printf(&e->arena, "known, as of %s", found.source);
}
