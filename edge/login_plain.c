/*
 * PLAIN (RFC 4616); LOGIN, which no RFC describes; and CRAM-MD5 (RFC 2195). An
 * empty password would mean "anybody" to some checkers, and is never checked.
 */
#include "edge/login.h"

static void judge_password(struct edge_login *l, struct slice password)
{
	login_keep(&l->password, password);
	if (password.len == 0)
		login_refuse(l, 535, ESC(5, 7, 8), "Error: authentication failed");
	else
		login_judge(l, login_check_password);
}

/* "AUTHORIZATION-ID NUL USER NUL PASSWORD" */
void login_plain_take(struct edge_login *l, struct slice response)
{
	struct slice id = slice_first(response, slice_find(response, '\0'));
	struct slice rest = slice_skip(response, id.len + 1);
	struct slice user = slice_first(rest, slice_find(rest, '\0'));
	struct slice password = slice_skip(rest, user.len + 1);

	if (id.len == response.len || user.len == rest.len ||
	    slice_find(password, '\0') < password.len) {
		login_refuse_malformed(l);
		return;
	}
	login_keep(&l->id, id);
	if (login_take_user(l, user))
		judge_password(l, password);
}

void login_login_challenge(struct edge_login *l)
{
	buf_append_string(&l->output, "Username:");
	login_challenge(l);
}

void login_login_take(struct edge_login *l, struct slice response)
{
	if (l->user) {
		judge_password(l, response);
	} else if (login_take_user(l, response)) {
		buf_append_string(&l->output, "Password:");
		login_challenge(l);
	}
}

void login_cram_challenge(struct edge_login *l)
{
	struct error err;

	if (sasl_cram_challenge(l->edge->options.hostname, &l->output, &err) < 0) {
		login_refuse(l, 454, ESC(4, 7, 0), "Temporary authentication failure");
		return;
	}
	login_keep(&l->message, buf_slice(&l->output));
	login_challenge(l);
}

/* "USER DIGEST", and a user may have blanks in it. */
void login_cram_take(struct edge_login *l, struct slice response)
{
	size_t at = response.len;

	while (at > 0 && response.ptr[at - 1] != ' ')
		at--;
	if (at == 0 || response.len - at != 32) {
		login_refuse_malformed(l);
		return;
	}
	login_keep(&l->password, slice_skip(response, at));
	if (login_take_user(l, slice_first(response, at - 1)))
		login_judge(l, login_check_cram);
}
