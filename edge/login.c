/*
 * An exchange of AUTH lives on the loop. Each mechanism takes what the client
 * says (login_mechanism.take) and ends the step: by a challenge or a refusal,
 * which go by way of a deferred task, since nothing is answered inside of a
 * step; or by a job for the thread pool, where accounts are looked up and
 * passwords hashed. Before a job that judges a password, the exchange may have
 * to wait on a timer, because others have failed (mta/slowdown.h).
 *
 * While a job runs the struct is the pool's, and nothing on the loop touches it.
 */
#include "edge/login.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "mta/maillog.h"

/* ---- answers ---- */

static void give_answer(struct loop_task *task)
{
	struct edge_login *l = CONTAINER_OF(task, struct edge_login, task);

	if (l->next.outcome != LOGIN_CHALLENGE && !l->next.user)
		l->next.user = l->user ? l->user : "";
	l->answer(l->arg, &l->next);
}

void login_challenge(struct edge_login *l)
{
	l->next = (struct login_answer){ .outcome = LOGIN_CHALLENGE,
					 .challenge = buf_slice(&l->output) };
	loop_defer(l->loop, &l->task);
}

void login_refuse(struct edge_login *l, int code, struct smtp_enhanced enhanced, const char *text)
{
	l->next = (struct login_answer){ .outcome = LOGIN_FAILURE };
	smtp_status_set(&l->next.status, code, enhanced, "%s", text);
	loop_defer(l->loop, &l->task);
}

void login_refuse_malformed(struct edge_login *l)
{
	login_refuse(l, 501, ESC(5, 5, 2), "Error: malformed response");
}

/* ---- slowing ---- */

static struct slowdown_attempt attempt_of(const struct edge_login *l)
{
	struct error err;
	bool is_trusted = networks_have(&l->edge->options.networks, l->who->client->address,
					&err) == MAP_FOUND;

	return (struct slowdown_attempt){
		.address = is_trusted ? NULL : l->who->client->address,
		.account = slice_from(l->key),
		.limit_ms = l->slowdown ? l->edge->options.failure_delay_ms : 0,
	};
}

/* Only what was judged counts: neither our own troubles nor a response that was no attempt. */
static void count(struct edge_login *l)
{
	struct slowdown_attempt attempt = attempt_of(l);
	int64_t now_ms = loop_now_ms(l->loop);

	if (attempt.limit_ms == 0)
		return;
	if (l->next.outcome == LOGIN_SUCCESS)
		slowdown_succeeded(l->slowdown, &attempt, now_ms);
	else if (l->next.outcome == LOGIN_FAILURE && l->next.status.code == 535)
		slowdown_failed(l->slowdown, &attempt, now_ms);
}

/* ---- work ---- */

static void work(struct loop_work *work)
{
	struct edge_login *l = CONTAINER_OF(work, struct edge_login, work);

	l->job(l);
}

static void done(struct loop_work *work)
{
	struct edge_login *l = CONTAINER_OF(work, struct edge_login, work);

	if (l->error.code != 0)
		log_write(l->edge->options.log, "smtpd", LOG_LEVEL_ERROR, "smtpd_sasl_passdb: %s",
			  l->error.text);
	count(l);
	give_answer(&l->task);
}

static void start_work(void *arg)
{
	struct edge_login *l = arg;

	l->is_waiting = false;
	l->next = (struct login_answer){ 0 };
	loop_work(l->loop, &l->work);
}

void login_work(struct edge_login *l, void (*job)(struct edge_login *l))
{
	l->job = job;
	start_work(l);
}

void login_judge(struct edge_login *l, void (*job)(struct edge_login *l))
{
	struct slowdown_attempt attempt = attempt_of(l);
	int64_t wait_ms = 0;

	l->job = job;
	if (attempt.limit_ms > 0)
		wait_ms = slowdown_wait(l->slowdown, &attempt, loop_now_ms(l->loop));
	if (wait_ms == SLOWDOWN_REFUSED) {
		login_refuse(l, 454, ESC(4, 7, 0),
			     "Error: too many failed logins from your address, try again later");
	} else if (wait_ms > 0) {
		if (!l->timer)
			l->timer = loop_timer_new(l->loop, start_work, l);
		l->is_waiting = true;
		maillog_auth_waits(l->edge->options.log, l->who->client->address,
				   l->mechanism->name, l->user ? l->user : "", wait_ms);
		loop_timer_start(l->timer, wait_ms);
	} else {
		start_work(l);
	}
}

/* ---- who it is ---- */

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void login_keep(char **place, struct slice secret)
{
	char *copy = memory_new(secret.len + 1);

	memcpy(copy, secret.len > 0 ? secret.ptr : "", secret.len);
	copy[secret.len] = '\0';
	wipe(*place);
	*place = copy;
}

static bool is_clean(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			return false;
	return true;
}

/* What cannot be a name is counted as what it is, so that it is slowed as others are. */
static void set_key(struct edge_login *l, const char *name)
{
	const char *domain = l->edge->options.local_domain;
	bool is_bare = !strchr(name, '@') && domain && domain[0];

	snprintf(l->key, sizeof(l->key), "%.*s%s%s", LOGIN_USER_MAX, name, is_bare ? "@" : "",
		 is_bare ? domain : "");
	for (char *at = l->key; *at; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at |= 32;
}

bool login_set_user(struct edge_login *l, struct slice user)
{
	login_keep(&l->user, user);
	set_key(l, l->user);
	if (user.len == 0 || user.len > LOGIN_USER_MAX || !is_clean(l->user))
		return false;
	wipe(l->name);
	l->name = sasl_prepare(l->user);
	if (l->name)
		set_key(l, l->name);
	return true;
}

bool login_take_user(struct edge_login *l, struct slice user)
{
	if (login_set_user(l, user))
		return true;
	login_refuse(l, 535, ESC(5, 7, 8), "Error: authentication failed");
	return false;
}

/* ---- life ---- */

static void step(struct login *login, struct slice response)
{
	struct edge_login *l = CONTAINER_OF(login, struct edge_login, login);

	buf_wipe(&l->output);
	if (slice_find(response, '\0') < response.len && !l->mechanism->has_nuls)
		login_refuse_malformed(l);
	else
		l->mechanism->take(l, response);
}

/* Hashing cannot be broken off, and does not last. Waiting can; so leave() is the same. */
static void cancel(struct login *login)
{
	struct edge_login *l = CONTAINER_OF(login, struct edge_login, login);

	if (!l->is_waiting)
		return;
	l->is_waiting = false;
	loop_timer_stop(l->timer);
	login_refuse(l, 454, ESC(4, 7, 0), "Error: ended before it was judged");
}

static void free_login(struct login *login)
{
	struct edge_login *l = CONTAINER_OF(login, struct edge_login, login);

	loop_defer_cancel(&l->task);
	loop_timer_free(l->timer);
	sasl_exchange_free(l->exchange);
	wipe(l->id);
	wipe(l->user);
	wipe(l->name);
	wipe(l->password);
	wipe(l->message);
	buf_wipe(&l->output);
	explicit_bzero(&l->scram, sizeof(l->scram));
	free(l);
}

static void begin(struct edge_login *l, const struct slice *initial)
{
	if (initial && l->mechanism->is_challenging)
		login_refuse(l, 501, ESC(5, 7, 0), "Error: this mechanism begins with a challenge");
	else if (initial)
		step(&l->login, *initial);
	else if (l->mechanism->challenge)
		l->mechanism->challenge(l);
	else
		login_challenge(l);
}

static struct login *login_new(struct edge *edge, const struct login_request *request)
{
	static const struct login_methods methods = { step, cancel, cancel, free_login };
	struct edge_login *l = memory_zeroed(sizeof(*l));

	l->login.methods = &methods;
	l->edge = edge;
	l->loop = request->loop;
	l->slowdown = request->slowdown;
	l->who = request->who;
	l->answer = request->answer;
	l->arg = request->arg;
	l->task.run = give_answer;
	l->work = (struct loop_work){ .work = work, .done = done };
	l->mechanism = login_mechanism_find(l->edge, request->who, request->mechanism);
	if (l->mechanism)
		begin(l, request->initial);
	else /* it was, and accounts or certificates have changed since */
		login_refuse(l, 504, ESC(5, 5, 4), "Unrecognized authentication type");
	return &l->login;
}

struct login *edge_login_begin(void *arg, const struct login_request *request)
{
	struct edge *edge = arg;

	return edge->dovecot ? dovecot_auth_begin(edge->dovecot, request)
			     : login_new(edge, request);
}
