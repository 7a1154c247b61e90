/*
 * AUTH at a next hop, between TLS and mail
 *
 * Mail goes only to a server that has accepted the login and proved all that its
 * mechanism lets it prove. A refusal is no fault of the mail, which waits; it counts
 * as the next hop's failure, so that the lane backs off and asks again by a
 * single connection. Other addresses of the same next hop are not asked, lest
 * an account is locked for one wrong password.
 *
 * A step may hash for long (SCRAM), so it is made on the thread pool. A login
 * whose connection has gone meanwhile has no o any more, and frees itself.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "mta/maillog.h"
#include "mta/outbound_connection.h"

struct outbound_login {
	struct outbound *o; /* NULL: the connection has gone */
	const char *mechanism;
	struct sasl_exchange *exchange;
	struct loop_work work;
	bool is_working;
	struct buf challenge, response;
	int result;
	struct error error; /* code 0: all is well so far */
};

static const struct credentials_options *options_of(const struct outbound *o)
{
	return &o->lane->view->options->credentials;
}

static void login_free(struct outbound_login *l)
{
	sasl_exchange_free(l->exchange);
	buf_wipe(&l->challenge);
	buf_wipe(&l->response);
	free(l);
}

/* What was sent is still in the memory of the stream, although it holds no bytes. */
static void wipe_output(struct outbound *o)
{
	struct buf *output = o->stream ? stream_output(o->stream) : NULL;

	if (output && output->mem && buf_len(output) == 0)
		explicit_bzero(output->mem, output->size);
}

void outbound_login_end(struct outbound *o)
{
	struct outbound_login *l = o->login;

	if (!l)
		return;
	o->login = NULL;
	l->o = NULL;
	if (!l->is_working)
		login_free(l);
}

/* The words in front are Postfix's, which operators know to look for. */
static void __attribute__((format(printf, 4, 5)))
give_up(struct outbound *o, struct smtp_enhanced enhanced, bool is_hop_over, const char *format,
	...)
{
	char why[SMTP_STATUS_TEXT_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	smtp_status_set(&o->trouble, 450, enhanced, "SASL authentication failed; %s", why);
	maillog_login_failed(o->worker->options->log, o->attempt.relay, o->target->hop->login, why);
	smtp_client_quit(o->client);
	outbound_transmit(o);
	outbound_give_up(o, is_hop_over);
}

static void give_up_here(struct outbound *o, const char *why)
{
	give_up(o, ESC(4, 7, 0), true, "cannot authenticate to server %s: %s", o->attempt.relay,
		why);
}

/* ---- the exchange ---- */

/* One step, to l->response. How long a password is, is for a map to say. */
static int respond(struct outbound_login *l, struct slice challenge, struct error *err)
{
	int r = sasl_exchange_step(l->exchange, challenge, &l->response, err);

	if (r >= 0 && buf_len(&l->response) > SMTP_AUTH_RESPONSE_MAX)
		return error_set(err, -EMSGSIZE, "user or password is too long for AUTH");
	return r;
}

static void step(struct loop_work *work)
{
	struct outbound_login *l = CONTAINER_OF(work, struct outbound_login, work);

	l->result = respond(l, buf_slice(&l->challenge), &l->error);
}

static void stepped(struct loop_work *work)
{
	struct outbound_login *l = CONTAINER_OF(work, struct outbound_login, work);
	struct outbound *o = l->o;

	l->is_working = false;
	if (!o) {
		login_free(l);
		return;
	}
	if (l->result < 0)
		smtp_client_auth_cancel(o->client);
	else
		smtp_client_auth_answer(o->client, buf_slice(&l->response));
	buf_wipe(&l->response);
	outbound_after_engine(o);
}

void outbound_login_challenge(void *arg, struct slice challenge)
{
	struct outbound *o = arg;
	struct outbound_login *l = o->login;

	buf_clear(&l->challenge);
	buf_append_slice(&l->challenge, challenge);
	l->is_working = true;
	loop_work(o->worker->loop, &l->work);
}

/* The server's subject and detail, where it has said that this is a matter of security. */
static struct smtp_enhanced enhanced_of(const struct smtp_status *status)
{
	return status->enhanced.subject == 7 ? ESC(4, 7, status->enhanced.detail) : ESC(4, 7, 0);
}

const struct smtp_status *outbound_login_censored(struct outbound *o,
						  const struct smtp_status *status,
						  struct smtp_status *memory)
{
	if (!o->login || !sasl_exchange_is_betrayed(o->login->exchange, status->text))
		return status;
	smtp_status_set(memory, status->code, status->enhanced,
			"(its reply is not shown, as it repeats the password)");
	return memory;
}

void outbound_login_authenticated(void *arg, const struct smtp_status *status)
{
	struct outbound *o = arg;
	struct outbound_login *l = o->login;
	struct smtp_status memory;

	wipe_output(o);
	status = outbound_login_censored(o, status, &memory);
	if (l->error.code != 0) {
		give_up_here(o, l->error.text);
	} else if (smtp_status_class(status) != SMTP_DELIVERED) {
		give_up(o, enhanced_of(status), smtp_status_class(status) == SMTP_FAILED,
			"server %s said: %d %s", o->attempt.relay, status->code, status->text);
	} else if (!sasl_exchange_is_done(l->exchange)) {
		give_up_here(o, "it accepted the login without having proved that it knows the "
				"password");
	} else {
		maillog_login(o->worker->options->log, o->attempt.relay, o->target->hop->login,
			      l->mechanism);
		outbound_login_end(o);
		outbound_ready(o);
	}
}

/* ---- its beginning ---- */

/* Another entry than the one that the route was made by: what waits is routed anew at once. */
static void route_anew(struct outbound *o)
{
	lane_drop_waiting(o->lane);
	outbound_quit(o);
}

static const char *choose_mechanism(struct outbound *o, const char *offered, bool can_bind)
{
	const char *filter = options_of(o)->mechanism_filter;
	const char *mechanism = sasl_choose(offered, filter, can_bind);

	if (mechanism)
		return mechanism;
	if (!offered[0])
		give_up(o, ESC(4, 7, 0), true, "server %s does not offer AUTH", o->attempt.relay);
	else
		give_up(o, ESC(4, 7, 0), true,
			"server %s offers no acceptable mechanism (offered: %s%s%s)",
			o->attempt.relay, offered, filter && filter[0] ? "; admitted: " : "",
			filter ? filter : "");
	return NULL;
}

static int start_exchange(struct outbound *o, const struct credentials *found,
			  const char *mechanism, struct slice binding, struct error *err)
{
	const struct sasl_credentials credentials = {
		.user = found->user,
		.password = found->password,
		.binding = binding,
	};
	struct outbound_login *l = memory_zeroed(sizeof(*l));

	l->o = o;
	l->mechanism = mechanism;
	l->work = (struct loop_work){ .work = step, .done = stepped };
	o->login = l;
	return sasl_client_new(options_of(o)->sasl, mechanism, &credentials, &l->exchange, err);
}

/* The first message of a client needs no hashing. */
static int say_first(struct outbound *o, struct error *err)
{
	struct outbound_login *l = o->login;
	struct slice first;
	int r;

	if (!sasl_client_speaks_first(l->mechanism)) {
		smtp_client_auth(o->client, l->mechanism, NULL);
		return 0;
	}
	r = respond(l, slice_of(NULL, 0), err);
	if (r < 0)
		return r;
	first = buf_slice(&l->response);
	smtp_client_auth(o->client, l->mechanism, &first);
	buf_wipe(&l->response);
	return 0;
}

static void log_in_as(struct outbound *o, const struct credentials *found)
{
	struct slice binding = tls_session_channel_binding(stream_filter(o->stream));
	const char *mechanism;
	struct error err;

	mechanism = choose_mechanism(o, smtp_client_capabilities(o->client)->auth,
				     binding.len > 0 && sasl_can_bind());
	if (!mechanism)
		return;
	if (start_exchange(o, found, mechanism, binding, &err) < 0 || say_first(o, &err) < 0)
		give_up_here(o, err.text);
}

void outbound_login(struct outbound *o)
{
	const struct transport_hop *hop = o->target->hop;
	struct credentials found;
	struct error err;
	int r;

	if (!stream_is_secured(o->stream)) {
		give_up(o, ESC(4, 7, 11), false,
			"cannot authenticate to server %s: passwords are not sent without TLS",
			o->attempt.relay);
		return;
	}
	r = credentials_find_again(options_of(o), hop, &found, &err);
	if (r < 0)
		give_up(o, ESC(4, 3, 0), true, "cannot look up the password: %s", err.text);
	else if (r == MAP_FOUND && strcmp(found.user, hop->login) == 0)
		log_in_as(o, &found);
	else
		route_anew(o);
	credentials_done(&found);
}
