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

#include "base/macros.h"
#include "edge/accounts_sqlite.h"
#include "edge/passwd.h"

#define MEMORY_MAX ((size_t)256 * 1024 * 1024)

struct accounts {
	/* one of these */
	struct passwd *passwd;
	struct accounts_sqlite *sqlite;

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

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (slice_starts_nocase(slice_from(passdb), kinds[i].prefix)) {
			*ret_path = passdb + kinds[i].prefix.len;
			return kinds[i].kind;
		}
	return ACCOUNTS_UNKNOWN;
}

static int open_source(struct accounts *a, const char *passdb, struct error *err)
{
	const char *path = NULL;

	switch (accounts_kind(passdb, &path)) {
	case ACCOUNTS_PASSWD_FILE:
		return passwd_open(path, &a->passwd, err);
	case ACCOUNTS_SQLITE:
		return accounts_sqlite_open(path, &a->sqlite, err);
	default:
		return error_set(err, -EINVAL, "%s: expected passwd-file:FILE or sqlite:FILE.cf",
				 passdb);
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
	accounts_sqlite_free(a->sqlite);
	pthread_cond_destroy(&a->has_memory);
	pthread_mutex_destroy(&a->mutex);
	free(a);
}

void accounts_diagnose(const char *passdb, map_report *report, void *arg)
{
	const char *path = NULL;
	enum accounts_kind kind = accounts_kind(passdb, &path);

	if (kind == ACCOUNTS_PASSWD_FILE)
		passwd_diagnose(path, report, arg);
	if (kind == ACCOUNTS_SQLITE)
		accounts_sqlite_diagnose(path, report, arg);
}

const char *accounts_database(struct accounts *a, struct arena *arena)
{
	return a->sqlite ? accounts_sqlite_database(a->sqlite, arena) : NULL;
}

int accounts_refresh(struct accounts *a, struct error *err)
{
	return a->passwd ? passwd_refresh(a->passwd, err) : accounts_sqlite_refresh(a->sqlite, err);
}

int accounts_find(struct accounts *a, const char *user, struct arena *arena, struct account *ret,
		  struct error *err)
{
	return a->passwd ? passwd_find(a->passwd, user, arena, ret)
			 : accounts_sqlite_find(a->sqlite, user, arena, ret, err);
}

void account_wipe(struct account *account)
{
	if (account->stored.len > 0)
		explicit_bzero((char *)account->stored.ptr, account->stored.len);
	account->stored = SLICE("");
}

int accounts_has(struct accounts *a, const char *user, struct error *err)
{
	struct arena arena = { 0 };
	struct account account = { 0 };
	int r;

	if (a->passwd)
		return passwd_has_user(a->passwd, user) ? MAP_FOUND : MAP_NOT_FOUND;
	r = accounts_sqlite_find(a->sqlite, user, &arena, &account, err);
	account_wipe(&account);
	arena_done(&arena);
	return r;
}

unsigned int accounts_secrets(struct accounts *a)
{
	return a->passwd ? passwd_secrets(a->passwd) : accounts_sqlite_secrets(a->sqlite);
}

struct slice accounts_decoy(struct accounts *a, struct arena *arena)
{
	return a->passwd ? passwd_decoy(a->passwd, arena) : accounts_sqlite_decoy(a->sqlite, arena);
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
