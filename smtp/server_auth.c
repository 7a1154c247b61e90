/*
 * server_auth - AUTH (RFC 4954): the frame of an exchange, whatever its mechanism
 *
 * The owner is asked for an answer to each thing that the client says: a
 * challenge, or a status that ends the exchange. What is decoded lives in one
 * buffer on the stack, which is wiped when the owner has been asked. Nothing
 * of it goes into a status, so nothing of it can be logged.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/base64.h"
#include "smtp/server_internal.h"

static bool is_safe(const struct smtp_server *s)
{
	return s->tls || (s->options->auth_clear && !s->options->tls_required);
}

bool server_auth_is_offered(const struct smtp_server *s)
{
	return s->options->auth && s->options->auth[0] && is_safe(s);
}

static void give_up(struct smtp_server *s, int code, struct smtp_enhanced enhanced,
		    const char *text)
{
	server_enter_idle(s);
	server_reply(s, code, enhanced, "%s", text);
}

void server_auth_abort(struct smtp_server *s, int code, struct smtp_enhanced enhanced,
		       const char *text)
{
	s->events->auth_abort(s->arg);
	give_up(s, code, enhanced, text);
}

/* False: it is no base64 (RFC 4954 section 4: then 501). */
static bool decode(struct slice encoded, char *decoded, struct slice *ret)
{
	ssize_t len = base64_decode(encoded, decoded);

	*ret = slice_of(decoded, len < 0 ? 0 : (size_t)len);
	return len >= 0;
}

static const char *find_offered(const struct smtp_server *s, struct slice mechanism,
				char name[SMTP_MECHANISM_SIZE])
{
	struct slice list = slice_from(s->options->auth), word;

	while (slice_next_word(&list, " ", &word))
		if (slice_equal_nocase(word, mechanism))
			return slice_copy(word, name, SMTP_MECHANISM_SIZE) ? name : NULL;
	return NULL;
}

static void start(struct smtp_server *s, struct slice mechanism, const struct slice *encoded)
{
	static const struct slice empty = { "", 0 };
	char decoded[BASE64_DECODED_SIZE(SERVER_AUTH_LINE_MAX)], name[SMTP_MECHANISM_SIZE];
	struct slice initial;

	if (!find_offered(s, mechanism, name)) {
		server_reply(s, 504, ESC(5, 5, 4), "Unrecognized authentication type");
		return;
	}
	/* "=" is the empty one (RFC 4954 section 4) */
	if (encoded && slice_equal(*encoded, SLICE("=")))
		encoded = &empty;
	if (encoded && !decode(*encoded, decoded, &initial)) {
		give_up(s, 501, ESC(5, 5, 2), "Error: cannot decode response");
	} else {
		server_enter(s, SERVER_ASK_AUTH);
		s->events->auth(s->arg, name, encoded ? &initial : NULL);
	}
	explicit_bzero(decoded, sizeof(decoded));
}

void server_cmd_auth(struct smtp_server *s, struct slice args)
{
	struct slice mechanism, initial = { 0 }, more;
	bool has_initial;

	if (!s->options->auth) {
		server_reply(s, 503, ESC(5, 5, 1), "Error: authentication not enabled");
		return;
	}
	if (!is_safe(s)) {
		server_reply(s, 538, ESC(5, 7, 11),
			     "Encryption required for requested authentication mechanism");
		return;
	}
	if (s->authenticated) {
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
	start(s, mechanism, has_initial ? &initial : NULL);
}

void server_auth_response(struct smtp_server *s, struct slice line)
{
	char decoded[BASE64_DECODED_SIZE(SERVER_AUTH_LINE_MAX)];
	struct slice response;

	if (slice_equal(line, SLICE("*"))) {
		server_auth_abort(s, 501, ESC(5, 7, 0), "Authentication aborted");
	} else if (!decode(line, decoded, &response)) {
		server_auth_abort(s, 501, ESC(5, 5, 2), "Error: cannot decode response");
	} else {
		server_enter(s, SERVER_ASK_AUTH);
		s->events->auth_response(s->arg, response);
	}
	explicit_bzero(decoded, sizeof(decoded));
}

void smtp_server_challenge(struct smtp_server *s, struct slice challenge)
{
	char *encoded;

	assert(s->state == SERVER_ASK_AUTH);
	server_enter(s, SERVER_AUTH);
	buf_append_string(s->output, "334 ");
	encoded = buf_reserve(s->output, BASE64_ENCODED_SIZE(challenge.len));
	base64_encode(challenge, encoded);
	buf_commit(s->output, strlen(encoded));
	buf_append_string(s->output, "\r\n");
	server_end_if_due(s);
}

void server_auth_answered(struct smtp_server *s, const struct smtp_status *status)
{
	s->authenticated = smtp_status_class(status) == SMTP_DELIVERED;
	server_enter_idle(s);
	server_reply_status(s, status);
}
