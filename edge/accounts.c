/*
 * One source behind the interface, and the memory that hashing takes on all
 * threads together. Argon2 wants 64 MiB for each hash, and the pool has many
 * threads; whoever comes when the memory is taken waits for one that is done.
 */
#include "edge/accounts.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "edge/passwd.h"

#define MEMORY_MAX ((size_t)256 * 1024 * 1024)

struct accounts {
	struct passwd *passwd;

	pthread_mutex_t mutex; /* of what is below */
	pthread_cond_t has_memory;
	size_t memory; /* that hashing takes just now */
};

enum accounts_kind accounts_kind(const char *passdb, const char **ret_path)
{
	static const struct {
		struct slice prefix;
		enum accounts_kind kind;
	} kinds[] = {
		{ { "passwd-file:", 12 }, ACCOUNTS_PASSWD_FILE },
		{ { "sqlite:", 7 }, ACCOUNTS_SQLITE },
		{ { "dovecot:", 8 }, ACCOUNTS_DOVECOT },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (slice_starts_nocase(slice_from(passdb), kinds[i].prefix)) {
			*ret_path = passdb + kinds[i].prefix.len;
			return kinds[i].kind;
		}
	return ACCOUNTS_UNKNOWN;
}

static int open_source(struct accounts *a, const char *passdb, struct error *err)
{
	const char *path;

	switch (accounts_kind(passdb, &path)) {
	case ACCOUNTS_PASSWD_FILE:
		return passwd_open(path, &a->passwd, err);
	default:
		return error_set(err, -EINVAL, "%s: expected passwd-file:FILE", passdb);
	}
}

int accounts_open(const char *passdb, struct accounts **ret_accounts, struct error *err)
{
	struct accounts *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return error_set(err, -ENOMEM, "out of memory");
	r = open_source(a, passdb, err);
	if (r < 0) {
		free(a);
		return r;
	}
	pthread_mutex_init(&a->mutex, NULL);
	pthread_cond_init(&a->has_memory, NULL);
	*ret_accounts = a;
	return 0;
}

void accounts_free(struct accounts *a)
{
	if (!a)
		return;
	assert(a->memory == 0);
	passwd_free(a->passwd);
	pthread_cond_destroy(&a->has_memory);
	pthread_mutex_destroy(&a->mutex);
	free(a);
}

int accounts_refresh(struct accounts *a, struct error *err)
{
	return passwd_refresh(a->passwd, err);
}

int accounts_find(struct accounts *a, const char *user, struct arena *arena, struct account *ret,
		  struct error *err)
{
	(void)err;
	return passwd_find(a->passwd, user, arena, ret);
}

void account_wipe(struct account *account)
{
	if (account->stored.len > 0)
		explicit_bzero((char *)account->stored.ptr, account->stored.len);
	account->stored = SLICE("");
}

int accounts_has(struct accounts *a, const char *user, struct error *err)
{
	(void)err;
	return passwd_has_user(a->passwd, user) ? MAP_FOUND : MAP_NOT_FOUND;
}

unsigned int accounts_secrets(struct accounts *a)
{
	return passwd_secrets(a->passwd);
}

struct slice accounts_decoy(struct accounts *a, struct arena *arena)
{
	return passwd_decoy(a->passwd, arena);
}

/* What needs more than there is has it all for itself. */
static void take_memory(struct accounts *a, size_t memory)
{
	pthread_mutex_lock(&a->mutex);
	while (a->memory > 0 && a->memory + memory > MEMORY_MAX)
		pthread_cond_wait(&a->has_memory, &a->mutex);
	a->memory += memory;
	pthread_mutex_unlock(&a->mutex);
}

static void give_memory(struct accounts *a, size_t memory)
{
	pthread_mutex_lock(&a->mutex);
	a->memory -= memory;
	pthread_cond_broadcast(&a->has_memory);
	pthread_mutex_unlock(&a->mutex);
}

bool accounts_match(struct accounts *a, struct slice stored, const char *password)
{
	size_t memory = scheme_memory(stored);
	bool match;

	if (memory == 0)
		return scheme_matches(stored, password);
	take_memory(a, memory);
	match = scheme_matches(stored, password);
	give_memory(a, memory);
	return match;
}
