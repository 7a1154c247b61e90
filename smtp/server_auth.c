/*
 * server_auth - AUTH PLAIN (RFC 4616) and LOGIN (which no RFC describes), by RFC 4954
 *
 * A decoded response lives in one buffer on the stack, from which the owner
 * gets the password, and is wiped when auth() has returned. Nothing of it
 * goes into a status, so nothing of it can be logged.
 */
#include <stdlib.h>

#include "base/base64.h"
#include "smtp/server_internal.h"

#define LOGIN_USERNAME "VXNlcm5hbWU6" /* "Username:" */
#define LOGIN_PASSWORD "UGFzc3dvcmQ6" /* "Password:" */

bool server_auth_is_offered(const struct smtp_server *s)
{
	const struct smtp_server_options *o = s->options;

	return o->auth && (s->tls || (o->auth_clear && !o->tls_required));
}

static void prompt(struct smtp_server *s, enum server_auth_step step, const char *text)
{
	s->auth_step = step;
	server_enter(s, SERVER_AUTH);
	buf_printf(s->output, "334 %s\r\n", text);
}

static void give_up(struct smtp_server *s, int code, struct smtp_enhanced enhanced,
		    const char *text)
{
	server_enter_idle(s);
	server_reply(s, code, enhanced, "%s", text);
}

static void set_auth_user(struct smtp_server *s, const char *user)
{
	free(s->auth_user);
	s->auth_user = slice_strdup(slice_from(user));
}

static bool is_clean(const char *user)
{
	for (; *user; user++)
		if ((unsigned char)*user < ' ' || *user == 127)
			return false;
	return true;
}

/*
 * No user name holds control bytes, and an empty password would mean "anybody"
 * to some password checkers, so neither is passed on.
 */
static void ask(struct smtp_server *s, const char *mechanism, const char *authorization_id,
		const char *user, const char *password)
{
	if (!*user || !*password || !is_clean(user) || !is_clean(authorization_id)) {
		give_up(s, 535, ESC(5, 7, 8), "Error: authentication failed");
		return;
	}
	server_enter(s, SERVER_ASK_AUTH);
	s->events->auth(s->arg, mechanism, authorization_id, user, password);
}

/* "AUTHORIZATION-ID NUL USER NUL PASSWORD"; the terminator is behind it. */
static void take_plain(struct smtp_server *s, const char *decoded, size_t len)
{
	const char *user = memchr(decoded, '\0', len), *password = NULL;

	if (user) {
		user++;
		password = memchr(user, '\0', len - (size_t)(user - decoded));
	}
	if (password)
		password++;
	if (!password || password + strlen(password) != decoded + len) {
		give_up(s, 501, ESC(5, 5, 2), "Error: malformed response");
		return;
	}
	set_auth_user(s, user);
	ask(s, "PLAIN", decoded, user, password);
}

static void take_login(struct smtp_server *s, const char *decoded, size_t len)
{
	char *user;

	if (strlen(decoded) != len) {
		give_up(s, 501, ESC(5, 5, 2), "Error: malformed response");
	} else if (s->auth_step == SERVER_AUTH_LOGIN_USER) {
		set_auth_user(s, decoded);
		prompt(s, SERVER_AUTH_LOGIN_PASSWORD, LOGIN_PASSWORD);
	} else {
		/* Its own copy: the answer may come inside of auth(). */
		user = slice_strdup(slice_from(s->auth_user));
		ask(s, "LOGIN", "", user, decoded);
		free(user);
	}
}

static void take_response(struct smtp_server *s, struct slice encoded)
{
	char decoded[BASE64_DECODED_SIZE(SERVER_AUTH_LINE_MAX) + 1];
	ssize_t len = base64_decode(encoded, decoded);

	if (len < 0) {
		give_up(s, 501, ESC(5, 5, 2), "Error: cannot decode response");
	} else {
		decoded[len] = '\0';
		if (s->auth_step == SERVER_AUTH_PLAIN)
			take_plain(s, decoded, (size_t)len);
		else
			take_login(s, decoded, (size_t)len);
	}
	explicit_bzero(decoded, sizeof(decoded));
}

static bool is_offered(const struct smtp_server *s, struct slice mechanism)
{
	struct slice list = slice_from(s->options->auth), word;

	while (slice_next_word(&list, " ", &word))
		if (slice_equal_nocase(word, mechanism))
			return true;
	return false;
}

static void start(struct smtp_server *s, struct slice mechanism, bool has_initial,
		  struct slice initial)
{
	static const struct slice empty = { "", 0 };

	if (!is_offered(s, mechanism)) {
		server_reply(s, 504, ESC(5, 5, 4), "Unrecognized authentication type");
		return;
	}
	s->auth_step = slice_equal_nocase(mechanism, SLICE("LOGIN")) ? SERVER_AUTH_LOGIN_USER
								     : SERVER_AUTH_PLAIN;
	if (has_initial) /* "=" is the empty one (RFC 4954 section 4) */
		take_response(s, slice_equal(initial, SLICE("=")) ? empty : initial);
	else
		prompt(s, s->auth_step,
		       s->auth_step == SERVER_AUTH_LOGIN_USER ? LOGIN_USERNAME : "");
}

void server_cmd_auth(struct smtp_server *s, struct slice args)
{
	struct slice mechanism, initial = { 0 }, more;
	bool has_initial;

	if (!s->options->auth) {
		server_reply(s, 503, ESC(5, 5, 1), "Error: authentication not enabled");
		return;
	}
	if (!server_auth_is_offered(s)) {
		server_reply(s, 538, ESC(5, 7, 11),
			     "Encryption required for requested authentication mechanism");
		return;
	}
	if (s->user) {
		server_reply(s, 503, ESC(5, 5, 1), "Error: already authenticated");
		return;
	}
	if (!slice_next_word(&args, " \t", &mechanism)) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: AUTH mechanism");
		return;
	}
	has_initial = slice_next_word(&args, " \t", &initial);
	if (slice_next_word(&args, " \t", &more)) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: AUTH mechanism");
		return;
	}
	start(s, mechanism, has_initial, initial);
}

void server_auth_response(struct smtp_server *s, struct slice line)
{
	if (slice_equal(line, SLICE("*")))
		give_up(s, 501, ESC(5, 7, 0), "Authentication aborted");
	else
		take_response(s, line);
}

void server_auth_answered(struct smtp_server *s, const struct smtp_status *status)
{
	if (smtp_status_class(status) == SMTP_DELIVERED) {
		s->user = s->auth_user;
		s->auth_user = NULL;
	}
	server_enter_idle(s);
	server_reply_status(s, status);
}
