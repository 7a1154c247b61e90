/*
 * AUTH PLAIN (RFC 4616) and LOGIN, which no RFC describes. What is answered at
 * once goes by way of the loop; a password by way of the thread pool, where it
 * is compared before the identity, so that a wrong one tells no more.
 */
#include "edge/internal.h"

#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"
#include "net/loop.h"

struct edge_login {
	struct login login;
	struct edge *edge;
	void (*answer)(void *arg, const struct login_answer *answer);
	void *arg;
	struct loop *loop;
	struct loop_task task; /* answers at once */
	struct loop_work work;
	bool is_plain;
	char *id, *user, *password;
	char name[256];
	struct login_answer next;
};

void edge_login_mechanisms(void *arg, const struct login_client *who,
			   char ret[LOGIN_MECHANISMS_SIZE])
{
	struct edge *edge = arg;

	(void)who;
	if (edge->dovecot)
		dovecot_auth_mechanisms(edge->dovecot, ret);
	else
		slice_copy(edge->accounts ? SLICE("PLAIN LOGIN") : SLICE(""), ret,
			   LOGIN_MECHANISMS_SIZE);
}

static void answer_now(struct loop_task *task)
{
	struct edge_login *l = CONTAINER_OF(task, struct edge_login, task);

	l->next.user = l->user ? l->user : "";
	l->answer(l->arg, &l->next);
}

static void challenge(struct edge_login *l, struct slice text)
{
	l->next = (struct login_answer){ .outcome = LOGIN_CHALLENGE, .challenge = text };
	loop_defer(l->loop, &l->task);
}

static void fail(struct edge_login *l, int code, struct smtp_enhanced enhanced, const char *text)
{
	l->next = (struct login_answer){ .outcome = LOGIN_FAILURE };
	smtp_status_set(&l->next.status, code, enhanced, "%s", text);
	loop_defer(l->loop, &l->task);
}

static void check(struct loop_work *work)
{
	struct edge_login *l = CONTAINER_OF(work, struct edge_login, work);
	bool as_self =
		!l->id || !l->id[0] || slice_equal_nocase(slice_from(l->id), slice_from(l->user));
	struct accounts *accounts = l->edge->accounts;
	struct account account = { 0 };
	struct arena arena = { 0 };
	struct error err;
	int r = accounts_find(accounts, l->user, &arena, &account, &err);
	bool matches = r == MAP_FOUND && accounts_match(accounts, account.stored, l->password);

	l->next.outcome = matches && as_self ? LOGIN_SUCCESS : LOGIN_FAILURE;
	if (r < 0)
		smtp_status_set(&l->next.status, 454, ESC(4, 7, 0),
				"Temporary authentication failure");
	else if (l->next.outcome == LOGIN_SUCCESS)
		smtp_status_set(&l->next.status, 235, ESC(2, 7, 0), "Authentication successful");
	else
		smtp_status_set(&l->next.status, 535, ESC(5, 7, 8), "Error: authentication failed");
	if (matches)
		snprintf(l->name, sizeof(l->name), "%s", account.name);
	account_wipe(&account);
	arena_done(&arena);
}

static void checked(struct loop_work *work)
{
	struct edge_login *l = CONTAINER_OF(work, struct edge_login, work);

	l->next.user = l->next.outcome == LOGIN_SUCCESS ? l->name : l->user;
	l->answer(l->arg, &l->next);
}

static bool is_clean(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			return false;
	return true;
}

/* No user name holds control bytes, and an empty password would mean "anybody" to some checkers. */
static void judge(struct edge_login *l)
{
	l->next = (struct login_answer){ 0 };
	if (!l->user[0] || !l->password[0] || !is_clean(l->user) || (l->id && !is_clean(l->id)))
		fail(l, 535, ESC(5, 7, 8), "Error: authentication failed");
	else
		loop_work(l->loop, &l->work);
}

static bool has_nul(struct slice s)
{
	return slice_find(s, '\0') < s.len;
}

/* "AUTHORIZATION-ID NUL USER NUL PASSWORD" */
static void take_plain(struct edge_login *l, struct slice response)
{
	struct slice id = slice_first(response, slice_find(response, '\0'));
	struct slice rest = slice_skip(response, id.len + 1);
	struct slice user = slice_first(rest, slice_find(rest, '\0'));
	struct slice password = slice_skip(rest, user.len + 1);

	if (id.len == response.len || user.len == rest.len || has_nul(password)) {
		fail(l, 501, ESC(5, 5, 2), "Error: malformed response");
		return;
	}
	l->id = slice_strdup(id);
	l->user = slice_strdup(user);
	l->password = slice_strdup(password);
	judge(l);
}

static void take_login(struct edge_login *l, struct slice response)
{
	if (has_nul(response)) {
		fail(l, 501, ESC(5, 5, 2), "Error: malformed response");
	} else if (!l->user) {
		l->user = slice_strdup(response);
		challenge(l, SLICE("Password:"));
	} else {
		l->password = slice_strdup(response);
		judge(l);
	}
}

static void step(struct login *login, struct slice response)
{
	struct edge_login *l = CONTAINER_OF(login, struct edge_login, login);

	if (l->is_plain)
		take_plain(l, response);
	else
		take_login(l, response);
}

/* Hashing cannot be broken off, and does not last. */
static void cancel(struct login *login)
{
	(void)login;
}

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void free_login(struct login *login)
{
	struct edge_login *l = CONTAINER_OF(login, struct edge_login, login);

	loop_defer_cancel(&l->task);
	free(l->id);
	free(l->user);
	wipe(l->password);
	free(l);
}

static const struct login_methods methods = { step, cancel, free_login };

static struct login *begin(struct edge *edge, const struct login_request *request)
{
	struct edge_login *l = memory_zeroed(sizeof(*l));

	l->login.methods = &methods;
	l->edge = edge;
	l->answer = request->answer;
	l->arg = request->arg;
	l->loop = request->loop;
	l->task.run = answer_now;
	l->work = (struct loop_work){ .work = check, .done = checked };
	l->is_plain = strcmp(request->mechanism, "PLAIN") == 0;
	if (request->initial)
		step(&l->login, *request->initial);
	else
		challenge(l, l->is_plain ? SLICE("") : SLICE("Username:"));
	return &l->login;
}

struct login *edge_login_begin(void *arg, const struct login_request *request)
{
	struct edge *edge = arg;

	return edge->dovecot ? dovecot_auth_begin(edge->dovecot, request) : begin(edge, request);
}
