/* test_accounts - what is common to all sources: their kinds, and the memory that hashing takes */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/macros.h"
#include "edge/accounts.h"

static const struct {
	const char *passdb;
	enum accounts_kind kind;
	const char *path;
} kinds[] = {
	{ "passwd-file:/etc/users", ACCOUNTS_PASSWD_FILE, "/etc/users" },
	{ "Passwd-File:/etc/users", ACCOUNTS_PASSWD_FILE, "/etc/users" },
	{ "sqlite:/etc/a.cf", ACCOUNTS_SQLITE, "/etc/a.cf" },
	{ "dovecot:/run/auth", ACCOUNTS_DOVECOT, "/run/auth" },
	{ "users", ACCOUNTS_UNKNOWN, NULL },
	{ "", ACCOUNTS_UNKNOWN, NULL },
};

static void test_kinds(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *path = NULL;

		assert_int_equal(accounts_kind(kinds[i].passdb, &path), kinds[i].kind);
		assert_true(path ? strcmp(path, kinds[i].path) == 0 : !kinds[i].path);
	}
}

/* 96 MiB each: two of them at once, and what is as large as all that there is, alone. */
#define ARGON2(kib) "{ARGON2ID}$argon2id$v=19$m=" kib ",t=3,p=1$obeWIQWH9ad+kx0APox6Tw$URIO0x30/8dk"

struct hashing {
	struct accounts *accounts;
	struct slice stored;
};

static atomic_int running, most;

/* The linker puts it in the way of the real one. */
bool __wrap_scheme_matches(struct slice stored, const char *password);
bool __wrap_scheme_matches(struct slice stored, const char *password)
{
	int now = atomic_fetch_add(&running, 1) + 1, before = atomic_load(&most);

	(void)stored;
	(void)password;
	while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
		;
	for (int i = 0; i < 100; i++)
		sched_yield();
	atomic_fetch_sub(&running, 1);
	return true;
}

static void *hash(void *arg)
{
	const struct hashing *h = arg;

	for (int i = 0; i < 20; i++)
		if (!accounts_match(h->accounts, h->stored, "x"))
			abort();
	return NULL;
}

static int hash_on_threads(struct accounts *accounts, struct slice stored)
{
	struct hashing h = { accounts, stored };
	pthread_t threads[8];

	atomic_store(&most, 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hash, &h), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	return atomic_load(&most);
}

static void test_memory_is_bounded(void **state)
{
	char file[] = "/tmp/accounts.XXXXXX", passdb[40];
	struct accounts *accounts = NULL;
	struct error err;
	int fd = mkstemp(file);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	snprintf(passdb, sizeof(passdb), "passwd-file:%s", file);
	assert_return_code(accounts_open(passdb, &accounts, &err), 0);
	assert_in_range(hash_on_threads(accounts, SLICE(ARGON2("98304"))), 1, 2);
	assert_int_equal(hash_on_threads(accounts, SLICE(ARGON2("262144"))), 1);
	assert_in_range(hash_on_threads(accounts, SLICE("{PLAIN}x")), 1, 8);
	accounts_free(accounts);
	unlink(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
