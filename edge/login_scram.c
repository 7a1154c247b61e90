/*
 * SCRAM (RFC 5802, RFC 7677). libgsasl does the exchange, on the pool: in the midst of
 * the client's first message it asks for what the account has. A user who
 * does not exist, or has no password, has a salt and an iteration count as
 * others do, always the same ones, and keys that nobody can know.
 *
 * SMTP has no place for what a server says with success, so its proof goes
 * as a challenge, which the client answers with nothing (RFC 4954 section 4).
 */
#include "edge/login.h"

#include <errno.h>
#include <stdlib.h>

#define DERIVED_ITERATIONS 4096 /* where the password itself is kept (RFC 7677 section 4) */
#define MADE_UP_SALT_LEN   16

static enum scheme_secret hash_of(const struct edge_login *l)
{
	return (enum scheme_secret)l->mechanism->secret;
}

static bool derive(struct edge_login *l, const char *password)
{
	char *prepared = sasl_prepare(password); /* as clients do */
	bool is_derived;

	l->scram.iterations = DERIVED_ITERATIONS;
	l->scram.salt_len = MADE_UP_SALT_LEN;
	login_make_salt(l, "salt", l->scram.salt, l->scram.salt_len);
	is_derived = scheme_scram_derive(prepared ? prepared : password, hash_of(l), &l->scram);
	if (prepared)
		explicit_bzero(prepared, strlen(prepared));
	free(prepared);
	return is_derived;
}

static bool use_stored(struct edge_login *l, struct slice stored)
{
	char password[SCHEME_STORED_MAX + 1];
	bool is_there;

	if (scheme_scram(stored, hash_of(l), &l->scram))
		return true;
	is_there = scheme_cleartext(stored, password) && derive(l, password);
	explicit_bzero(password, sizeof(password));
	return is_there;
}

/* Keys that no password has, behind a salt that is always the same. */
static bool make_up(struct edge_login *l, struct arena *arena)
{
	struct slice decoy = accounts_decoy(l->edge->accounts, arena);
	bool is_made = use_stored(l, decoy) || derive(l, "decoy");

	l->is_nobody = true;
	login_make_salt(l, "salt", l->scram.salt, l->scram.salt_len);
	login_make_salt(l, "stored key", l->scram.stored_key, l->scram.len);
	login_make_salt(l, "server key", l->scram.server_key, l->scram.len);
	if (decoy.len > 0)
		explicit_bzero((void *)(uintptr_t)decoy.ptr, decoy.len);
	return is_made;
}

static bool find(void *arg, const char *user, const char *id, struct sasl_scram *ret)
{
	struct edge_login *l = arg;
	struct account account = { 0 };
	struct arena arena = { 0 };
	bool is_there;
	int r;

	login_keep(&l->id, slice_from(id));
	if (!login_set_user(l, slice_from(user)))
		return false;
	r = login_find(l, &arena, &account);
	is_there = (r == MAP_FOUND && use_stored(l, account.stored)) || make_up(l, &arena);
	if (r == MAP_FOUND)
		slice_copy(slice_from(account.name), l->login_name, sizeof(l->login_name));
	account_wipe(&account);
	arena_done(&arena);
	*ret = (struct sasl_scram){
		.iterations = l->scram.iterations,
		.salt = slice_of((char *)l->scram.salt, l->scram.salt_len),
		.stored_key = slice_of((char *)l->scram.stored_key, l->scram.len),
		.server_key = slice_of((char *)l->scram.server_key, l->scram.len),
	};
	return is_there && r >= 0;
}

/* ---- the jobs ---- */

static void refuse(struct edge_login *l, int r)
{
	if (r == -EBADMSG) {
		l->next.outcome = LOGIN_FAILURE;
		smtp_status_set(&l->next.status, 501, ESC(5, 5, 2), "Error: malformed response");
	} else {
		login_give_verdict(l, MAP_NOT_FOUND, false, "");
	}
}

static void say(struct edge_login *l)
{
	l->next.outcome = LOGIN_CHALLENGE;
	l->next.challenge = buf_slice(&l->output);
}

static void step(struct edge_login *l)
{
	struct error err;
	int r = sasl_exchange_step(l->exchange, slice_from(l->message), &l->output, &err);

	if (l->error.code != 0) {
		login_give_verdict(l, l->error.code, false, "");
	} else if (r < 0) {
		refuse(l, r);
	} else if (r == SASL_DONE && (l->is_nobody || !login_is_as_self(l, l->id, l->login_name))) {
		login_give_verdict(l, MAP_NOT_FOUND, false, "");
	} else {
		l->has_proved = r == SASL_DONE;
		say(l);
	}
}

static void acknowledge(struct edge_login *l)
{
	login_give_verdict(l, MAP_FOUND, true, l->login_name);
}

/* ---- on the loop ---- */

static bool begin(struct edge_login *l)
{
	const struct login_client *who = l->who;
	bool binds =
		l->mechanism->binds || login_offers_binding(l->edge, who, l->mechanism->secret);
	const struct sasl_server_options options = {
		.binding = binds ? who->binding : slice_of(NULL, 0),
		.find = find,
		.arg = l,
	};
	struct error err;

	return sasl_server_new(l->edge->sasl, l->mechanism->name, &options, &l->exchange, &err) ==
	       0;
}

void login_scram_take(struct edge_login *l, struct slice response)
{
	bool is_first = !l->exchange;

	if (is_first && !begin(l)) {
		login_refuse(l, 454, ESC(4, 7, 0), "Temporary authentication failure");
	} else if (l->has_proved) {
		if (response.len > 0)
			login_refuse_malformed(l);
		else
			login_work(l, acknowledge);
	} else {
		login_keep(&l->message, response);
		if (is_first)
			login_work(l, step);
		else
			login_judge(l, step);
	}
}
