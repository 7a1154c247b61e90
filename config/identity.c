/*
 * A server gives its privileges away, and then often may not read its keys any
 * more. So an identity remembers the files that it is from, and a reload takes
 * it over as long as they are the same.
 */
#include "config/state.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/memory.h"

struct stamp {
	int trouble; /* the errno of stat(), or 0 */
	struct stat st;
};

struct config_identity {
	unsigned int references;
	struct arena arena; /* for the strings */
	struct certs_identity *identity;
	const char *cert_file, *key_file;
	struct stamp cert, key;
};

static void take_stamp(const char *path, struct stamp *ret)
{
	*ret = (struct stamp){ 0 };
	if (stat(path, &ret->st) < 0)
		ret->trouble = errno;
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
	return a->trouble == 0 && b->trouble == 0 && a->st.st_dev == b->st.st_dev &&
	       a->st.st_ino == b->st.st_ino && a->st.st_size == b->st.st_size &&
	       a->st.st_mtim.tv_sec == b->st.st_mtim.tv_sec &&
	       a->st.st_mtim.tv_nsec == b->st.st_mtim.tv_nsec;
}

/*
 * A key in a directory that we may not enter is believed to be the same as
 * long as its certificate is: a new one would not fit to it.
 */
static bool is_current(const struct config_identity *i, const char *cert_file, const char *key_file,
		       const struct stamp *cert, const struct stamp *key)
{
	return strcmp(i->cert_file, cert_file) == 0 && strcmp(i->key_file, key_file) == 0 &&
	       is_same(&i->cert, cert) && (is_same(&i->key, key) || key->trouble == EACCES);
}

static struct config_identity *take_over(struct config *c, const char *cert_file,
					 const char *key_file, const struct stamp *cert,
					 const struct stamp *key)
{
	const struct config *running = c->running;

	if (!running)
		return NULL;
	if (running->server_identity &&
	    is_current(running->server_identity, cert_file, key_file, cert, key))
		return config_identity_ref(running->server_identity);
	if (running->client_identity &&
	    is_current(running->client_identity, cert_file, key_file, cert, key))
		return config_identity_ref(running->client_identity);
	return NULL;
}

int config_identity_load(struct config *c, const char *cert_file, const char *key_file,
			 struct config_identity **ret, struct error *err)
{
	struct config_identity *i;
	struct stamp cert, key;
	int r;

	if (!key_file)
		key_file = cert_file;
	take_stamp(cert_file, &cert); /* before reading: a file that changes meanwhile is new */
	take_stamp(key_file, &key);
	*ret = take_over(c, cert_file, key_file, &cert, &key);
	if (*ret)
		return 0;

	i = memory_zeroed(sizeof(*i));
	r = certs_identity_load(cert_file, key_file, &i->identity, err);
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

const struct certs_identity *config_identity_get(const struct config_identity *i)
{
	return i ? i->identity : NULL;
}
