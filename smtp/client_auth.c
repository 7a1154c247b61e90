/*
 * AUTH (RFC 4954): what a mechanism says goes out in base64, and what the
 * server says comes back decoded.
 *
 * A response is a secret more often than not: what is made of it here is wiped
 * again, but for the line in the output, which is the owner's.
 */
#include "smtp/client_internal.h"

#include <assert.h>

#include "base/base64.h"

#define COMMAND_MAX 512 /* RFC 5321 section 4.5.3.1.4, with CRLF */

/* An empty one is "=" in the command, where an empty word could not be seen (section 4). */
static void encode(struct slice response, struct buf *out)
{
	size_t size = BASE64_ENCODED_SIZE(response.len);

	assert(response.len <= SMTP_AUTH_RESPONSE_MAX);
	base64_encode(response, buf_reserve(out, size));
	buf_commit(out, size - 1);
}

static bool fits_command(const char *mechanism, struct slice encoded)
{
	return strlen("AUTH ") + strlen(mechanism) + strlen(" ") + encoded.len + strlen("\r\n") <=
	       COMMAND_MAX;
}

void smtp_client_auth(struct smtp_client *c, const char *mechanism,
		      const struct slice *initial_response)
{
	struct buf *held = &c->held_response;

	assert(c->state == CLIENT_READY);
	client_enter(c, CLIENT_ASKING);
	client_ask(c, AWAIT_AUTH, NULL, 0);
	buf_append_string(c->output, mechanism);
	if (initial_response && initial_response->len == 0)
		buf_append_string(c->output, " =");
	else if (initial_response)
		encode(*initial_response, held);
	if (buf_len(held) > 0 && fits_command(mechanism, buf_slice(held))) {
		buf_append_string(c->output, " ");
		buf_append_slice(c->output, buf_slice(held));
		buf_wipe(held);
	}
	buf_append_string(c->output, "\r\n");
}

static void send_response(struct smtp_client *c, struct slice encoded)
{
	client_enter(c, CLIENT_ASKING);
	buf_append_slice(c->output, encoded);
	buf_append_string(c->output, "\r\n");
	client_await(c, AWAIT_AUTH, NULL, 0);
}

void smtp_client_auth_answer(struct smtp_client *c, struct slice response)
{
	struct buf encoded = { 0 };

	assert(c->state == CLIENT_CHALLENGED);
	encode(response, &encoded);
	send_response(c, buf_slice(&encoded));
	buf_wipe(&encoded);
}

void smtp_client_auth_cancel(struct smtp_client *c)
{
	assert(c->state == CLIENT_CHALLENGED);
	client_enter(c, CLIENT_ASKING);
	client_ask(c, AWAIT_AUTH_CANCEL, NULL, 0);
	buf_append_string(c->output, "\r\n");
}

/* The server's side of the exchange is one line, as it stands, with nothing else in it. */
void client_auth_challenged(struct smtp_client *c, const struct awaited *a)
{
	char decoded[BASE64_DECODED_SIZE(SMTP_REPLY_LINE_MAX)];
	struct slice lines = buf_slice(&c->reply.lines);
	struct slice encoded = slice_trim(slice_first(lines, slice_find(lines, '\n')));
	struct buf held = c->held_response;
	ssize_t len = -1;

	if (c->reply.line_count == 1)
		len = base64_decode(encoded, decoded);
	if (len < 0 || (len > 0 && buf_len(&held) > 0)) {
		client_protocol_error(c, a->what);
		return;
	}
	client_enter(c, CLIENT_CHALLENGED);
	if (buf_len(&held) > 0) {
		c->held_response = (struct buf){ 0 };
		send_response(c, buf_slice(&held));
		buf_wipe(&held);
		return;
	}
	c->events->challenge(c->arg, slice_of(decoded, (size_t)len));
	explicit_bzero(decoded, sizeof(decoded));
}

void client_auth_answered(struct smtp_client *c, const struct awaited *a)
{
	(void)a;
	buf_wipe(&c->held_response);
	client_enter(c, CLIENT_READY);
	c->events->authenticated(c->arg, &c->reply.status);
}

/* Whom has it let in? We have just said that it shall not be us. */
void client_auth_not_cancelled(struct smtp_client *c, const struct awaited *a)
{
	client_protocol_error(c, a->what);
}
