/*
 * Connections and exchanges, all on the loops of workers.
 *
 * A connection has a list of exchanges, and Dovecot's answers find theirs by a
 * number. While one of them awaits an answer a timer runs for it; so there is
 * none for the connection, not even for its beginning. A connection that has
 * failed gets no new exchanges, and goes with its last one: those that hold a
 * challenge learn of it when their client has responded.
 *
 * Passwords go through two buffers, ours for the line and the stream's, and
 * both are wiped when they have gone.
 */
#include "edge/dovecot_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/escape.h"
#include "base/macros.h"
#include "base/memory.h"
#include "mta/policy.h"
#include "net/loop.h"
#include "net/stream.h"

#define USER_SIZE     256
#define CHALLENGE_MAX 9000 /* what a reply of SMTP has room for (smtp/server.h) */

struct connection {
	struct list link; /* of auth->connections, while new exchanges may have it */
	struct dovecot_auth *auth;
	struct loop *loop;
	struct stream *stream; /* NULL: it has failed */
	struct dovecot_offer offer;
	struct list exchanges;
	uint32_t last_id;
	int64_t heard_ms; /* on the loop's clock: when it said something */
	struct loop_task reap;
};

enum exchange_state {
	EXCHANGE_NEW,	     /* not sent yet: the connection is not ready */
	EXCHANGE_ASKED,	     /* Dovecot's turn */
	EXCHANGE_CHALLENGED, /* the client's turn */
	EXCHANGE_DONE,	     /* Dovecot knows nothing of it, or nothing more */
};

struct exchange {
	struct login login;
	struct list link;
	struct connection *c;
	enum exchange_state state;
	uint32_t id;
	const struct login_client *who;
	char mechanism[LOGIN_MECHANISMS_SIZE];
	void (*answer)(void *arg, const struct login_answer *answer);
	void *arg;
	struct buf response; /* base64, to be sent; a secret */
	bool has_response;
	struct loop_timer *timer; /* for Dovecot's answer */
	int64_t asked_ms;
	struct loop_task fail; /* answers later what is clear now */
	char user[USER_SIZE];
};

/* ---- answers to the session ---- */

/* The session may free the exchange in here, and begin others. */
static void answer(struct exchange *x, enum login_outcome outcome, int code,
		   struct smtp_enhanced enhanced, const char *text)
{
	struct login_answer a = { .outcome = outcome, .user = x->user };

	loop_timer_stop(x->timer);
	x->state = EXCHANGE_DONE;
	smtp_status_set(&a.status, code, enhanced, "%s", text);
	x->answer(x->arg, &a);
}

static void answer_temporary(struct exchange *x)
{
	answer(x, LOGIN_FAILURE, 454, ESC(4, 7, 0), "Temporary authentication failure");
}

static void answer_refused(struct exchange *x)
{
	answer(x, LOGIN_FAILURE, 535, ESC(5, 7, 8), "Error: authentication failed");
}

static void on_fail(struct loop_task *task)
{
	answer_temporary(CONTAINER_OF(task, struct exchange, fail));
}

/* What is wrong is for the operator. */
static void complain(const struct connection *c, const char *text)
{
	char shown[256];

	log_write(c->auth->options.log, "smtpd", LOG_LEVEL_ERROR,
		  "smtpd_sasl_passdb: clients cannot log in: Dovecot at %s: %s",
		  c->auth->options.path, escape_cstr(slice_from(text), shown, sizeof(shown)));
}

/* ---- to Dovecot ---- */

static void send_line(struct connection *c, const struct buf *line)
{
	struct buf *out = stream_output(c->stream), larger = { 0 };

	/* If it grew by itself, what it held would be left behind in memory. */
	if (out->size - out->end < buf_len(line)) {
		buf_reserve(&larger, 2 * (buf_len(out) + buf_len(line)));
		buf_append_slice(&larger, buf_slice(out));
		buf_wipe(out);
		*out = larger;
	}
	buf_append_slice(out, buf_slice(line));
	stream_flush(c->stream);
}

/* "\tlip=192.0.2.1\tlport=587"; nothing where there is no address. */
static void append_address(struct buf *line, const char *side, const struct net_address *address)
{
	char host[NET_ADDRESS_TEXT_SIZE];

	if (!address || address->len == 0)
		return;
	net_address_ip(address, host);
	buf_printf(line, "\t%sip=%s\t%sport=%u", side, host, side, net_address_port(address));
}

static void begin_line(struct buf *line, const struct exchange *x)
{
	buf_reserve(line, 1024 + buf_len(&x->response)); /* it does not grow behind this */
}

/* The response must come last. "nologin": there is no mailbox that it will ask for. */
static void send_auth(struct exchange *x)
{
	struct buf line = { 0 };

	begin_line(&line, x);
	buf_printf(&line, "AUTH\t%" PRIu32 "\t%s\tservice=smtp\tnologin", x->id, x->mechanism);
	append_address(&line, "l", x->who->local);
	append_address(&line, "r", x->who->client->address);
	if (x->who->client->encrypted)
		buf_append_string(&line, "\tsecured");
	if (x->has_response) {
		buf_append_string(&line, "\tresp=");
		buf_append_slice(&line, buf_slice(&x->response));
	}
	buf_append_string(&line, "\n");
	send_line(x->c, &line);
	buf_wipe(&line);
}

static void send_cont(struct exchange *x)
{
	struct buf line = { 0 };

	begin_line(&line, x);
	buf_printf(&line, "CONT\t%" PRIu32 "\t", x->id);
	buf_append_slice(&line, buf_slice(&x->response));
	buf_append_string(&line, "\n");
	send_line(x->c, &line);
	buf_wipe(&line);
}

static void send_cancel(struct exchange *x)
{
	struct buf line = { 0 };

	buf_printf(&line, "CANCEL\t%" PRIu32 "\n", x->id);
	send_line(x->c, &line);
	buf_done(&line);
}

static void set_response(struct exchange *x, struct slice response)
{
	char *out = buf_reserve(&x->response, BASE64_ENCODED_SIZE(response.len));

	base64_encode(response, out);
	buf_commit(&x->response, strlen(out));
	x->has_response = true;
}

/* What Dovecot has not offered on this connection would have it hang up on all of us. */
static void ask(struct exchange *x)
{
	if (!dovecot_offer_has(&x->c->offer, x->mechanism)) {
		complain(x->c, "it has no such mechanism any more as was offered to a client");
		x->state = EXCHANGE_DONE;
		loop_defer(x->c->loop, &x->fail);
		return;
	}
	x->state = EXCHANGE_ASKED;
	x->id = ++x->c->last_id;
	send_auth(x);
	buf_wipe(&x->response);
}

/* ---- the connection ---- */

/* New exchanges make another. */
static void retire(struct connection *c)
{
	pthread_mutex_lock(&c->auth->lock);
	list_remove(&c->link);
	pthread_mutex_unlock(&c->auth->lock);
}

static void reap(struct loop_task *task)
{
	struct connection *c = CONTAINER_OF(task, struct connection, reap);

	if (!list_is_empty(&c->exchanges))
		return;
	retire(c);
	if (c->stream)
		stream_free(c->stream, 0);
	dovecot_auth_unref(c->auth);
	free(c);
}

static struct exchange *first_awaiting(struct connection *c, enum exchange_state state)
{
	LIST_FOREACH (item, &c->exchanges) {
		struct exchange *x = CONTAINER_OF(item, struct exchange, link);

		if (x->state == state)
			return x;
	}
	return NULL;
}

static void fail_all(struct connection *c, enum exchange_state state)
{
	struct exchange *x;

	while ((x = first_awaiting(c, state)))
		answer_temporary(x);
}

/* Nothing more comes of it. Who awaits an answer has it now. */
static void give_up(struct connection *c, const char *why)
{
	if (!c->stream)
		return;
	complain(c, why);
	buf_wipe(stream_output(c->stream));
	stream_free(c->stream, 0);
	c->stream = NULL;
	retire(c);
	loop_defer(c->loop, &c->reap);
	fail_all(c, EXCHANGE_NEW);
	fail_all(c, EXCHANGE_ASKED);
}

/* ---- from Dovecot ---- */

static struct exchange *find_exchange(struct connection *c, uint32_t id)
{
	LIST_FOREACH (item, &c->exchanges) {
		struct exchange *x = CONTAINER_OF(item, struct exchange, link);

		if (x->state == EXCHANGE_ASKED && x->id == id)
			return x;
	}
	return NULL;
}

/* A name of control bytes would be of no account that we know to handle. */
static bool is_login(const char *user)
{
	for (const char *c = user; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			return false;
	return user[0] != '\0';
}

static void on_ok(struct exchange *x, const struct dovecot_line *line)
{
	if (dovecot_line_value(line, "user", x->user, sizeof(x->user)) && is_login(x->user)) {
		answer(x, LOGIN_SUCCESS, 235, ESC(2, 7, 0), "Authentication successful");
		return;
	}
	complain(x->c, "it accepts a password, and names no user that we can handle");
	x->user[0] = '\0';
	answer_temporary(x);
}

/* Dovecot's words, which may name its own trouble, are for the log. */
static void on_refusal(struct exchange *x, const struct dovecot_line *line)
{
	char code[64], reason[256], shown[256], user[USER_SIZE];
	bool is_temporary;

	dovecot_line_value(line, "user", x->user, sizeof(x->user));
	dovecot_line_value(line, "code", code, sizeof(code));
	dovecot_line_value(line, "reason", reason, sizeof(reason));
	is_temporary = dovecot_line_has(line, "temp") || strcmp(code, "temp_fail") == 0;
	if (is_temporary)
		complain(x->c, reason[0] ? reason : "it cannot tell now; its own log says why");
	else if (reason[0] || code[0])
		log_write(x->c->auth->options.log, "smtpd", LOG_LEVEL_WARNING,
			  "smtpd_sasl_passdb: Dovecot refuses sasl_username=%s: %s",
			  escape_cstr(slice_from(x->user), user, sizeof(user)),
			  escape_cstr(slice_from(reason[0] ? reason : code), shown, sizeof(shown)));
	if (is_temporary)
		answer_temporary(x);
	else
		answer_refused(x);
}

static void on_challenge(struct exchange *x, struct slice encoded)
{
	struct login_answer a = { .outcome = LOGIN_CHALLENGE };
	char challenge[CHALLENGE_MAX];
	ssize_t len = -1;

	if (BASE64_DECODED_SIZE(encoded.len) <= sizeof(challenge))
		len = base64_decode(encoded, challenge);
	if (len < 0) {
		complain(x->c, "a challenge is no base64, or too long");
		send_cancel(x);
		answer_temporary(x);
		return;
	}
	loop_timer_stop(x->timer);
	x->state = EXCHANGE_CHALLENGED;
	a.challenge = slice_of(challenge, (size_t)len);
	x->answer(x->arg, &a);
}

/* Answers to what was cancelled find nobody. */
static void on_answer(struct connection *c, const struct dovecot_line *line)
{
	struct exchange *x = find_exchange(c, line->number);

	if (!x)
		return;
	if (line->command == DOVECOT_OK)
		on_ok(x, line);
	else if (line->command == DOVECOT_FAIL)
		on_refusal(x, line);
	else
		on_challenge(x, line->word);
}

static int on_line(struct connection *c, struct slice text, struct error *err)
{
	struct dovecot_line line;
	struct exchange *x;
	int r = dovecot_line_parse(text, &line, err);

	if (r < 0)
		return r;
	if (c->offer.is_complete) {
		if (line.command == DOVECOT_OK || line.command == DOVECOT_FAIL ||
		    line.command == DOVECOT_CONT)
			on_answer(c, &line);
		return 0;
	}
	r = dovecot_offer_take(&c->offer, &line, err);
	if (r < 0 || !c->offer.is_complete)
		return r;
	dovecot_auth_learn(c->auth, &c->offer);
	while ((x = first_awaiting(c, EXCHANGE_NEW)))
		ask(x);
	return 0;
}

static void on_connected(void *arg)
{
	struct connection *c = arg;

	buf_printf(stream_output(c->stream), DOVECOT_HELLO, (long)getpid());
}

/* A line may have been the last for the connection, when what it led to failed. */
static void on_readable(void *arg)
{
	struct connection *c = arg;
	struct error err;
	int r = 1;

	c->heard_ms = loop_now_ms(c->loop);
	while (r > 0 && c->stream) {
		struct buf *input = stream_input(c->stream);
		struct slice rest = buf_slice(input), line;

		r = dovecot_take_line(&rest, &line, &err);
		if (r > 0 && on_line(c, line, &err) < 0)
			r = -EPROTO;
		if (r > 0 && c->stream)
			buf_consume(input, line.len + 1);
	}
	if (r < 0)
		give_up(c, err.text);
}

static void on_drained(void *arg)
{
	struct connection *c = arg;
	struct buf *out = stream_output(c->stream);

	if (out->mem && buf_len(out) == 0)
		explicit_bzero(out->mem, out->size);
}

static void on_closed(void *arg, const struct error *err)
{
	give_up(arg, err->code ? strerror(-err->code) : "it has closed the connection");
}

static const struct stream_events events = {
	.connected = on_connected,
	.readable = on_readable,
	.drained = on_drained,
	.closed = on_closed,
};

static struct connection *find_connection(struct dovecot_auth *auth, const struct loop *loop)
{
	struct connection *found = NULL;

	pthread_mutex_lock(&auth->lock);
	LIST_FOREACH (item, &auth->connections) {
		struct connection *c = CONTAINER_OF(item, struct connection, link);

		if (c->loop == loop)
			found = c;
	}
	pthread_mutex_unlock(&auth->lock);
	return found;
}

static struct connection *connect_anew(struct dovecot_auth *auth, struct loop *loop)
{
	struct connection *c = memory_zeroed(sizeof(*c));

	c->auth = auth;
	atomic_fetch_add(&auth->references, 1);
	c->loop = loop;
	c->heard_ms = loop_now_ms(loop);
	list_init(&c->exchanges);
	c->reap.run = reap;
	c->stream = stream_connect_unix(loop, auth->options.path, &events, c);
	pthread_mutex_lock(&auth->lock);
	list_push(&auth->connections, &c->link);
	pthread_mutex_unlock(&auth->lock);
	return c;
}

/* ---- the exchange ---- */

/* Where others were not answered since either, it is the connection that is dead. */
static void on_timeout(void *arg)
{
	struct exchange *x = arg;
	struct connection *c = x->c;
	char text[64];

	snprintf(text, sizeof(text), "no answer within %lld s",
		 (long long)(c->auth->options.answer_limit_ms / 1000));
	if (!c->offer.is_complete || c->heard_ms <= x->asked_ms) {
		give_up(c, text);
		return;
	}
	complain(c, text);
	if (x->state == EXCHANGE_ASKED && c->stream)
		send_cancel(x);
	answer_temporary(x);
}

static void await(struct exchange *x)
{
	x->asked_ms = loop_now_ms(x->c->loop);
	loop_timer_start(x->timer, x->c->auth->options.answer_limit_ms);
}

static void step(struct login *login, struct slice response)
{
	struct exchange *x = CONTAINER_OF(login, struct exchange, login);

	if (!x->c->stream) {
		loop_defer(x->c->loop, &x->fail);
		return;
	}
	set_response(x, response);
	x->state = EXCHANGE_ASKED;
	send_cont(x);
	buf_wipe(&x->response);
	await(x);
}

static void cancel(struct login *login)
{
	struct exchange *x = CONTAINER_OF(login, struct exchange, login);

	loop_timer_stop(x->timer);
	if (x->state == EXCHANGE_ASKED && x->c->stream)
		send_cancel(x);
	x->state = EXCHANGE_DONE;
	loop_defer(x->c->loop, &x->fail);
}

static void free_exchange(struct login *login)
{
	struct exchange *x = CONTAINER_OF(login, struct exchange, login);

	if (x->state == EXCHANGE_CHALLENGED && x->c->stream)
		send_cancel(x);
	list_remove(&x->link);
	if (list_is_empty(&x->c->exchanges))
		loop_defer(x->c->loop, &x->c->reap);
	loop_defer_cancel(&x->fail);
	loop_timer_free(x->timer);
	buf_wipe(&x->response);
	free(x);
}

static const struct login_methods methods = { step, cancel, NULL, free_exchange };

struct login *dovecot_auth_begin(struct dovecot_auth *auth, const struct login_request *request)
{
	struct exchange *x = memory_zeroed(sizeof(*x));
	struct connection *c = find_connection(auth, request->loop);

	x->login.methods = &methods;
	x->c = c ? c : connect_anew(auth, request->loop);
	list_push(&x->c->exchanges, &x->link);
	x->who = request->who;
	slice_copy(slice_from(request->mechanism), x->mechanism, sizeof(x->mechanism));
	x->answer = request->answer;
	x->arg = request->arg;
	x->fail.run = on_fail;
	x->timer = loop_timer_new(request->loop, on_timeout, x);
	if (request->initial)
		set_response(x, *request->initial);
	await(x);
	if (x->c->offer.is_complete)
		ask(x);
	return &x->login;
}
