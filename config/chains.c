/*
 * Certificates that come with their keys in one file: smtpd_tls_chain_files for
 * several kinds of keys, tls_server_sni_maps for names. The maps are read when
 * certificates are, as privileges may be gone when somebody asks for a name;
 * a map that has changed is taken up like a certificate that has.
 */
#include "config/state.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"

#define SEPARATORS ", \t\r\n"

/* The same file may be named for several hosts, and is read once. */
static const struct certs_identity *load(struct config *c, enum config_parameter_id id,
					 const char *path)
{
	struct buf *others = &c->tls->others;
	struct config_identity **known = (void *)(others->mem + others->start), *identity;

	for (size_t i = 0; i < buf_len(others) / sizeof(identity); i++)
		if (config_identity_is_of(known[i], path))
			return config_identity_get(known[i]);
	identity = config_load_files(c, id, id, path, NULL);
	if (!identity)
		return NULL;
	buf_append(others, &identity, sizeof(identity));
	return config_identity_get(identity);
}

/* Those that can be used; what is wrong with the others is reported. */
static const struct certs_identity **load_all(struct config *c, enum config_parameter_id id,
					      struct slice paths, unsigned int *ret_count)
{
	struct slice rest = paths, word;
	const struct certs_identity **list;

	*ret_count = 0;
	list = arena_alloc(&c->tls->arena, (paths.len / 2 + 1) * sizeof(*list));
	while (slice_next_word(&rest, SEPARATORS, &word)) {
		const struct certs_identity *identity = load(c, id, config_path(c, word));

		if (identity)
			list[(*ret_count)++] = identity;
	}
	return list;
}

/* ---- by name ---- */

struct hosts {
	struct config *config;
	struct buf list; /* of struct tls_host */
};

static void on_finding(void *arg, bool is_error, const char *source, const char *text)
{
	config_report_source(arg, CONFIG_TLS_SERVER_SNI_MAPS,
			     is_error ? CONFIG_ERROR : CONFIG_WARNING, source, text);
}

/* A host, or ".domain" for what is below it. */
static bool is_host(const char *key)
{
	size_t len = strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-_.");

	return len > 0 && key[len] == '\0' && strcmp(key, ".") != 0;
}

/* The first line of a key counts, as in lookups. */
static bool is_there(const struct hosts *hosts, const char *name)
{
	const struct tls_host *list = (const void *)(hosts->list.mem + hosts->list.start);

	for (size_t i = 0; i < buf_len(&hosts->list) / sizeof(*list); i++)
		if (strcmp(list[i].name, name) == 0)
			return true;
	return false;
}

static int add_host(void *arg, const char *key, const char *value, const char *source)
{
	struct hosts *hosts = arg;
	struct config *c = hosts->config;
	struct tls_host host = { .name = arena_strdup(&c->tls->arena, key) };

	if (!is_host(key)) {
		on_finding(c, true, source, "expected a host name, or .domain, as the key");
		return 0;
	}
	if (slice_trim(slice_from(value)).len == 0) {
		on_finding(c, true, source, "no file is given");
		return 0;
	}
	if (is_there(hosts, host.name))
		return 0;
	host.identities =
		load_all(c, CONFIG_TLS_SERVER_SNI_MAPS, slice_from(value), &host.identity_count);
	if (host.identity_count > 0)
		buf_append(&hosts->list, &host, sizeof(host));
	return 0;
}

static void add_map(struct hosts *hosts, struct map *map)
{
	struct config *c = hosts->config;

	if (map_file(map)) {
		config_note_file(c, CONFIG_TLS_SERVER_SNI_MAPS, map_file(map));
		config_check_readable(c, CONFIG_TLS_SERVER_SNI_MAPS, map_file(map));
	}
	map_check(map, on_finding, c);
	if (map_has_every_key(map))
		on_finding(c, true, map_spec(map),
			   "names every host; use smtpd_tls_chain_files instead");
	else if (!map_lists_keys(map))
		on_finding(
			c, true, map_spec(map),
			"can't tell which hosts it names, so that their keys can be read now; use "
			"hash: or inline:");
	else
		map_visit(map, add_host, hosts);
}

static void open_hosts(struct config *c, struct config_chains *ret)
{
	const char *specs = config_given_value(c, CONFIG_TLS_SERVER_SNI_MAPS);
	CLEANUP(maps_freep) struct maps *maps = NULL;
	struct hosts hosts = { .config = c };
	void *copy;

	if (!specs)
		return;
	if (maps_open(slice_from(specs), c->directory, &maps, NULL) < 0) {
		maps_diagnose(slice_from(specs), c->directory, on_finding, c);
		return;
	}
	for (size_t i = 0; i < maps_count(maps); i++)
		add_map(&hosts, maps_at(maps, i));
	ret->host_count = (unsigned int)(buf_len(&hosts.list) / sizeof(struct tls_host));
	copy = arena_alloc(&c->tls->arena, buf_len(&hosts.list) + 1);
	memcpy(copy, buf_slice(&hosts.list).ptr ? buf_slice(&hosts.list).ptr : "",
	       buf_len(&hosts.list));
	ret->hosts = copy;
	buf_done(&hosts.list);
}

/* Of each kind the first is shown, to whoever knows it. */
static void check_kinds(struct config *c, const struct config_chains *chains)
{
	for (unsigned int i = 1; i < chains->count; i++)
		for (unsigned int j = 0; j < i; j++)
			if (certs_identity_key_kind(chains->list[i]) ==
			    certs_identity_key_kind(chains->list[j])) {
				config_report_setting(
					c, CONFIG_SMTPD_TLS_CHAIN_FILES, CONFIG_WARNING,
					"the certificate of file %u of the list is never shown: "
					"file %u has a key of the same kind",
					i + 1, j + 1);
				break;
			}
}

void config_open_chains(struct config *c, struct config_chains *ret)
{
	const char *files = config_given_value(c, CONFIG_SMTPD_TLS_CHAIN_FILES);

	*ret = (struct config_chains){ 0 };
	if (files)
		ret->list =
			load_all(c, CONFIG_SMTPD_TLS_CHAIN_FILES, slice_from(files), &ret->count);
	check_kinds(c, ret);
	open_hosts(c, ret);
}
