/*
 * A server gives its privileges away, and then often may not read its keys any
 * more. So an identity remembers the files that it is from, and a reload takes
 * it over as long as they are the same, and of one whose certificate alone was
 * renewed the key.
 */
#include "config/state.h"

#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"

struct config_identity {
	unsigned int references;
	struct arena arena; /* for the strings */
	struct certs_identity *identity;
	const char *cert_file, *key_file;
	struct config_stamp cert, key;
};

/*
 * A key in a directory that we may not enter is believed to be the same as
 * long as its certificate is: a new one would not fit to it.
 */
static bool is_current(const struct config_identity *i, const char *cert_file, const char *key_file,
		       const struct config_stamp *cert, const struct config_stamp *key)
{
	return strcmp(i->cert_file, cert_file) == 0 && strcmp(i->key_file, key_file) == 0 &&
	       config_stamp_is_same(&i->cert, cert) &&
	       (config_stamp_is_same(&i->key, key) || key->trouble == EACCES);
}

static bool is_key_current(const struct config_identity *i, const char *key_file,
			   const struct config_stamp *key)
{
	return strcmp(i->key_file, key_file) == 0 && strcmp(i->cert_file, key_file) != 0 &&
	       (config_stamp_is_same(&i->key, key) || key->trouble == EACCES);
}

/* All that a configuration has; some may be NULL. */
static size_t count_of(const struct config_tls *tls)
{
	return 2 + buf_len(&tls->others) / sizeof(struct config_identity *);
}

static struct config_identity *identity_at(const struct config_tls *tls, size_t index)
{
	struct config_identity **others = (void *)(tls->others.mem + tls->others.start);

	if (index < 2)
		return index == 0 ? tls->server_identity : tls->client_identity;
	return others[index - 2];
}

/* One of those in use that is it, or whose key at least is the same: *ret_is_key_only. */
static struct config_identity *find(const struct config *c, const char *cert_file,
				    const char *key_file, const struct config_stamp *cert,
				    const struct config_stamp *key, bool *ret_is_key_only)
{
	const struct config_tls *running = c->running ? c->running->tls : NULL;
	size_t count = running ? count_of(running) : 0;

	for (int is_key_only = 0; is_key_only < 2; is_key_only++) {
		*ret_is_key_only = is_key_only;
		for (size_t i = 0; i < count; i++) {
			struct config_identity *known = identity_at(running, i);

			if (known &&
			    (is_key_only ? is_key_current(known, key_file, key)
					 : is_current(known, cert_file, key_file, cert, key)))
				return known;
		}
	}
	return NULL;
}

int config_identity_load(struct config *c, const char *cert_file, const char *key_file,
			 struct config_identity **ret, struct error *err)
{
	struct config_identity *i, *known;
	struct config_stamp cert, key;
	bool is_key_only;
	int r;

	if (!key_file)
		key_file = cert_file;
	config_stamp_take(cert_file, &cert); /* before reading: what changes meanwhile is new */
	config_stamp_take(key_file, &key);
	known = find(c, cert_file, key_file, &cert, &key, &is_key_only);
	if (known && !is_key_only) {
		*ret = config_identity_ref(known);
		return 0;
	}

	i = memory_zeroed(sizeof(*i));
	r = certs_identity_renew(cert_file, key_file, known ? known->identity : NULL, &i->identity,
				 err);
	if (r < 0) {
		free(i);
		return r;
	}
	i->references = 1;
	i->cert_file = arena_strdup(&i->arena, cert_file);
	i->key_file = arena_strdup(&i->arena, key_file);
	i->cert = cert;
	i->key = key;
	*ret = i;
	return 0;
}

struct config_identity *config_identity_ref(struct config_identity *i)
{
	i->references++;
	return i;
}

void config_identity_unref(struct config_identity *i)
{
	if (!i || --i->references > 0)
		return;
	certs_identity_free(i->identity);
	arena_done(&i->arena);
	free(i);
}

bool config_identity_is_of(const struct config_identity *i, const char *chain_file)
{
	return strcmp(i->cert_file, chain_file) == 0 && strcmp(i->key_file, chain_file) == 0;
}

const struct certs_identity *config_identity_get(const struct config_identity *i)
{
	return i ? i->identity : NULL;
}
