/*
 * Whose credentials they are. A user who does not exist costs what one does:
 * the same lookups, and a hash of the same kind against a decoy, whose result
 * is thrown away.
 */
#include "edge/login.h"

#include <stdlib.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>

#include "base/macros.h"

static int find(struct edge_login *l, const char *name, struct arena *arena, struct account *ret)
{
	struct error err;
	int r = accounts_find(l->edge->accounts, name, arena, ret, &err);

	if (r < 0)
		l->error = err;
	return r;
}

int login_find_exactly(struct edge_login *l, struct arena *arena, struct account *ret)
{
	*ret = (struct account){ 0 };
	return l->name ? find(l, l->name, arena, ret) : MAP_NOT_FOUND;
}

int login_find(struct edge_login *l, struct arena *arena, struct account *ret)
{
	int r = MAP_NOT_FOUND;

	*ret = (struct account){ 0 };
	if (!l->name)
		return r;
	if (!strchr(l->name, '@') && strchr(l->key, '@'))
		r = find(l, l->key, arena, ret);
	return r == MAP_NOT_FOUND ? login_find_exactly(l, arena, ret) : r;
}

bool login_is_as_self(const struct edge_login *l, const char *id, const char *account)
{
	return !id || !id[0] || slice_equal_nocase(slice_from(id), slice_from(l->user)) ||
	       slice_equal_nocase(slice_from(id), slice_from(account));
}

void login_give_verdict(struct edge_login *l, int r, bool is_right, const char *account)
{
	struct smtp_status *status = &l->next.status;
	char name[LOGIN_USER_MAX + 1]; /* account may be l->login_name */

	l->next.outcome = LOGIN_FAILURE;
	if (r < 0) {
		smtp_status_set(status, 454, ESC(4, 7, 0), "Temporary authentication failure");
	} else if (r == MAP_FOUND && is_right && login_is_as_self(l, l->id, account) &&
		   slice_copy(slice_from(account), name, sizeof(name))) {
		memcpy(l->login_name, name, sizeof(name));
		l->next.outcome = LOGIN_SUCCESS;
		l->next.user = l->login_name;
		smtp_status_set(status, 235, ESC(2, 7, 0), "Authentication successful");
	} else {
		smtp_status_set(status, 535, ESC(5, 7, 8), "Error: authentication failed");
	}
}

/*
 * Clients of SCRAM prepare a password (RFC 4013), those of PLAIN should (RFC 4616), and what
 * is stored was made of either.
 */
static bool matches(struct edge_login *l, struct slice stored)
{
	struct accounts *accounts = l->edge->accounts;
	bool is_match = accounts_match(accounts, stored, l->password);
	char *prepared;

	if (is_match)
		return true;
	prepared = sasl_prepare(l->password);
	if (prepared && strcmp(prepared, l->password) != 0)
		is_match = accounts_match(accounts, stored, prepared);
	if (prepared)
		explicit_bzero(prepared, strlen(prepared));
	free(prepared);
	return is_match;
}

static void check(struct edge_login *l, bool (*is_right)(struct edge_login *l, struct slice stored))
{
	struct account account = { 0 };
	struct arena arena = { 0 };
	int r = login_find(l, &arena, &account);
	bool has_password = r == MAP_FOUND && account.stored.len > 0;
	struct slice decoy = { 0 };
	bool is_proved;

	if (!has_password)
		decoy = accounts_decoy(l->edge->accounts, &arena);
	is_proved = is_right(l, has_password ? account.stored : decoy);
	login_give_verdict(l, r, has_password && is_proved, account.name);
	if (decoy.len > 0)
		explicit_bzero((void *)(uintptr_t)decoy.ptr, decoy.len);
	account_wipe(&account);
	arena_done(&arena);
}

void login_check_password(struct edge_login *l)
{
	check(l, matches);
}

static bool cram_matches(struct edge_login *l, struct slice stored)
{
	return scheme_cram_md5_matches(stored, slice_from(l->message), slice_from(l->password));
}

void login_check_cram(struct edge_login *l)
{
	check(l, cram_matches);
}

void login_make_salt(const struct edge_login *l, const char *purpose, unsigned char *out,
		     size_t len)
{
	unsigned char digest[WC_SHA512_DIGEST_SIZE] = { 0 };
	Hmac hmac;

	if (wc_HmacInit(&hmac, NULL, INVALID_DEVID) == 0) {
		wc_HmacSetKey(&hmac, WC_SHA512, l->edge->salt_key, sizeof(l->edge->salt_key));
		wc_HmacUpdate(&hmac, (const byte *)purpose, (word32)strlen(purpose) + 1);
		wc_HmacUpdate(&hmac, (const byte *)l->key, (word32)strlen(l->key));
		wc_HmacFinal(&hmac, digest);
		wc_HmacFree(&hmac);
	}
	memcpy(out, digest, MIN(len, sizeof(digest)));
	explicit_bzero(digest, sizeof(digest));
}
