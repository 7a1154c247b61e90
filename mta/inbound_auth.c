/*
 * AUTH: carries what the client says to the exchange that the policy makes
 * (mta/login.h), and its answers back. The engine takes no input while an
 * answer is awaited; the session does not end before it is there.
 */
#include "mta/inbound_session.h"

#include "mta/maillog.h"

static const struct mta_policy *policy_of(const struct inbound *s)
{
	return s->view->options->policy;
}

static void describe_client(struct inbound *s)
{
	struct stream_filter *filter = s->client.encrypted ? stream_filter(s->stream) : NULL;

	s->login_client = (struct login_client){
		.client = &s->client,
		.local = stream_local(s->stream),
	};
	if (!filter)
		return;
	s->login_client.tls = &s->tls;
	s->login_client.binding = tls_session_channel_binding(filter);
	if (s->tls.has_peer_cert)
		s->login_client.certificate = tls_session_client_certificate(filter);
}

void inbound_auth_offer(struct inbound *s)
{
	s->mechanisms[0] = '\0';
	if (!s->server_options.auth)
		return;
	describe_client(s);
	policy_of(s)->login_mechanisms(s->view->options->policy_arg, &s->login_client,
				       s->mechanisms);
}

void inbound_auth_leave(struct inbound *s)
{
	if (s->ended_by_peer && s->login && s->login_awaited && s->login->methods->leave)
		s->login->methods->leave(s->login);
}

static void forget(struct inbound *s)
{
	if (s->login)
		s->login->methods->free(s->login);
	s->login = NULL;
}

static void succeed(struct inbound *s, const char *user)
{
	slice_copy(slice_from(user), s->user, sizeof(s->user));
	s->client.user = s->user;
}

static void fail(struct inbound *s, const struct login_answer *answer)
{
	maillog_auth_failed(s->view->options->log, &s->peer, s->login_mechanism, answer->user,
			    &answer->status);
}

static void on_answer(void *arg, const struct login_answer *answer)
{
	struct inbound *s = arg;
	struct smtp_status status = answer->status;
	enum login_outcome outcome = answer->outcome;

	s->login_awaited = false;
	if (outcome == LOGIN_FAILURE)
		fail(s, answer);
	else if (outcome == LOGIN_SUCCESS)
		succeed(s, answer->user);
	if (s->stream && outcome == LOGIN_CHALLENGE)
		smtp_server_challenge(s->server, answer->challenge);
	if (!s->stream || outcome != LOGIN_CHALLENGE)
		forget(s);
	if (s->stream && outcome != LOGIN_CHALLENGE)
		smtp_server_answer(s->server, &status);
	inbound_resume(s);
}

void inbound_auth(void *arg, const char *mechanism, const struct slice *initial)
{
	struct inbound *s = arg;
	const struct login_request request = {
		.loop = s->worker->loop,
		.slowdown = s->worker->slowdown,
		.who = &s->login_client,
		.service = mta_service_name(s->kind),
		.mechanism = s->login_mechanism,
		.initial = initial,
		.answer = on_answer,
		.arg = s,
	};
	struct smtp_status refusal;

	s->stage = "AUTH";
	s->input_is_secret = true;
	if (!inbound_count_event(s, RATE_AUTH, &refusal)) {
		inbound_answer_over_rate(s, &refusal);
		return;
	}
	s->login_awaited = true;
	slice_copy(slice_from(mechanism), s->login_mechanism, sizeof(s->login_mechanism));
	s->login = policy_of(s)->login_begin(s->view->options->policy_arg, &request);
	inbound_auth_leave(s);
}

void inbound_auth_response(void *arg, struct slice response)
{
	struct inbound *s = arg;

	s->input_is_secret = true;
	s->login_awaited = true;
	s->login->methods->step(s->login, response);
	inbound_auth_leave(s);
}

void inbound_auth_abort(void *arg)
{
	struct inbound *s = arg;

	s->input_is_secret = true;
	forget(s);
}

void inbound_auth_hurry(struct inbound *s)
{
	if (s->login && s->login_awaited)
		s->login->methods->cancel(s->login);
}

void inbound_auth_end(struct inbound *s)
{
	if (s->login && s->login_awaited)
		inbound_auth_hurry(s);
	else
		forget(s);
}
