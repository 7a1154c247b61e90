/* explain_json - an explanation as an object of the contract (section 6), one a line */
#include <jansson.h>

#include "cli/explain.h"
#include "cli/json.h"

static json_t *hops_value(const struct explanation *e)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < e->hop_count; i++) {
		const struct transport_hop *hop = e->hops[i].hop;
		json_t *object = json_object();

		json_object_set_new(object, "host", cli_json_text(hop->host));
		json_object_set_new(object, "port", json_integer(hop->port));
		json_object_set_new(object, "mx", json_boolean(hop->mx));
		json_array_append_new(array, object);
	}
	return array;
}

static bool has_text(const json_t *array, const char *text)
{
	for (size_t i = 0; i < json_array_size(array); i++)
		if (strcmp(json_string_value(json_array_get(array, i)), text) == 0)
			return true;
	return false;
}

/* What the level checks; for several next hops whatever any of them may show. */
static json_t *match_value(const struct explanation *e)
{
	const struct tls_policy *policy = &e->route->tls;
	json_t *array = json_array();

	for (unsigned int i = 0; i < policy->fingerprint_count; i++)
		json_array_append_new(array, cli_json_text(policy->fingerprints[i]));
	for (unsigned int i = 0; i < e->hop_count && explain_checks_names(policy); i++)
		for (unsigned int n = 0; n < e->hops[i].name_count; n++)
			if (!has_text(array, e->hops[i].names[n]))
				json_array_append_new(array, cli_json_text(e->hops[i].names[n]));
	return array;
}

static json_t *tls_value(const struct explanation *e)
{
	const struct tls_policy *policy = &e->route->tls;
	json_t *object = json_object();

	json_object_set_new(object, "mode", json_string(tls_mode_name(e->route->mode)));
	json_object_set_new(object, "level", json_string(tls_level_name(policy->level)));
	json_object_set_new(object, "source",
			    cli_json_text(policy->source ? policy->source : "default"));
	json_object_set_new(object, "match", match_value(e));
	return object;
}

/* As the ledger will have it; what is refused at once has none. */
static const char *transport_name(const struct explanation *e)
{
	if (e->route && e->action != EXPLAIN_ERROR && e->action != EXPLAIN_RETRY)
		return e->route->name;
	return explain_action_name(e->action);
}

void explain_json(const struct explanation *e, struct buf *out)
{
	json_t *object = json_object();

	json_object_set_new(object, "address", cli_json_text(e->address));
	json_object_set_new(object, "action", json_string(explain_action_name(e->action)));
	json_object_set_new(object, "transport", cli_json_text(transport_name(e)));
	json_object_set_new(object, "next_hops", hops_value(e));
	json_object_set_new(object, "source", cli_json_text(e->source));
	json_object_set_new(object, "tls", explain_is_relayed(e) ? tls_value(e) : json_null());
	json_object_set_new(object, "error", e->error ? cli_json_text(e->error) : json_null());
	cli_json_print(out, object);
	json_decref(object);
}
