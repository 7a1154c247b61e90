/* explain_json - an explanation as an object of the contract (section 6), one a line */
#include <jansson.h>

#include "cli/explain.h"
#include "cli/json.h"

static json_t *login_value(const struct explain_hop *hop)
{
	json_t *object = json_object();

	json_object_set_new(object, "user", cli_json_text(hop->login));
	json_object_set_new(object, "source", cli_json_text(hop->login_source));
	return object;
}

static json_t *hops_value(const struct explanation *e)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < e->hop_count; i++) {
		const struct transport_hop *hop = e->hops[i].hop;
		json_t *object = json_object();

		json_object_set_new(object, "host", cli_json_text(hop->host));
		json_object_set_new(object, "port",
				    hop->path ? json_null() : json_integer(hop->port));
		json_object_set_new(object, "mx", json_boolean(hop->mx));
		if (e->hops[i].login)
			json_object_set_new(object, "login", login_value(&e->hops[i]));
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

	for (unsigned int i = 0;
	     policy->level == TLS_LEVEL_FINGERPRINT && i < policy->fingerprint_count; i++)
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

static void append_name(void *arg, const char *name)
{
	json_array_append_new(arg, cli_json_text(name));
}

static json_t *names_value(const struct probe_result *result)
{
	json_t *names = json_array();
	struct certs_certificate leaf;

	if (result->chain.count > 0 &&
	    certs_certificate_parse(result->chain.certificates[0], &leaf, NULL) == 0)
		explain_each_name(&leaf, append_name, names);
	return names;
}

static json_t *text_or_null(const char *text)
{
	return text && text[0] ? cli_json_text(text) : json_null();
}

static json_t *hop_probe_value(const struct probe_result *result)
{
	const struct tls_facts *tls = &result->tls;
	json_t *object = json_object();

	json_object_set_new(object, "ok", json_boolean(result->ok));
	json_object_set_new(object, "peer", text_or_null(result->peer));
	json_object_set_new(object, "protocol", text_or_null(tls->protocol));
	json_object_set_new(object, "cipher", text_or_null(tls->cipher));
	json_object_set_new(object, "verified", json_boolean(tls->verified));
	json_object_set_new(object, "peer_names", names_value(result));
	json_object_set_new(object, "not_after", cli_json_time(tls->not_after_s * 1000));
	json_object_set_new(object, "fingerprint", text_or_null(tls->fingerprint));
	json_object_set_new(object, "error", text_or_null(result->error));
	return object;
}

/*
 * That of the first next hop which has failed, else of the first; what there is
 * besides stands in "others".
 */
static json_t *probe_value(const struct explanation *e)
{
	unsigned int chosen = 0;
	json_t *object, *others;

	if (e->hop_count == 0)
		return json_null();
	while (chosen + 1 < e->hop_count && e->hops[chosen].probe->ok)
		chosen++;
	if (e->hops[chosen].probe->ok)
		chosen = 0;
	object = hop_probe_value(e->hops[chosen].probe);
	if (e->hop_count == 1)
		return object;
	others = json_array();
	for (unsigned int i = 0; i < e->hop_count; i++)
		if (i != chosen)
			json_array_append_new(others, hop_probe_value(e->hops[i].probe));
	json_object_set_new(object, "others", others);
	return object;
}

/* As the ledger will have it; what is refused at once has none. */
static const char *transport_name(const struct explanation *e)
{
	if (e->route && e->action != EXPLAIN_ERROR && e->action != EXPLAIN_RETRY)
		return e->route->name;
	return explain_action_name(e->action);
}

/* The lines that decided for whom the address stands, in their order. */
static json_t *aliases_value(const struct explain_family *family)
{
	json_t *array = json_array();

	for (const struct explain_alias *a = family->first; a; a = a->next) {
		json_t *object = json_object();

		json_object_set_new(object, "address", cli_json_text(a->address));
		json_object_set_new(object, "parameter", cli_json_text(a->parameter));
		json_object_set_new(object, "value", cli_json_text(a->value));
		json_object_set_new(object, "source", cli_json_text(a->source));
		json_array_append_new(array, object);
	}
	return array;
}

void explain_json(const struct explanation *e, struct buf *out)
{
	json_t *object = json_object();

	json_object_set_new(object, "address", cli_json_text(e->address));
	json_object_set_new(object, "action", json_string(explain_action_name(e->action)));
	json_object_set_new(object, "transport", cli_json_text(transport_name(e)));
	json_object_set_new(object, "next_hops", hops_value(e));
	json_object_set_new(object, "source", cli_json_text(e->source));
	json_object_set_new(object, "tls", explain_has_tls(e) ? tls_value(e) : json_null());
	json_object_set_new(object, "error", e->error ? cli_json_text(e->error) : json_null());
	if (e->family->count > 0) {
		json_object_set_new(object, "expanded_from", cli_json_text(e->family->recipient));
		json_object_set_new(object, "aliases", aliases_value(e->family));
	}
	if (e->known_by)
		json_object_set_new(object, "recipient", cli_json_text(e->known_by));
	if (e->is_probed)
		json_object_set_new(object, "probe", probe_value(e));
	cli_json_print(out, object);
	json_decref(object);
}
