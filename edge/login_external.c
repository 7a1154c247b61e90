/*
 * EXTERNAL (RFC 4422 appendix A): the client's certificate, of which the handshake
 * has proved that it holds the key and that our CA has signed it, says who it
 * is. An e-mail address or a DNS name in it is the name of an account; of
 * several the client may choose by the authorization id, else the first that
 * is one counts. No password is looked at, so an account without one will do,
 * unless it is closed for logins.
 */
#include "edge/login.h"

#include "base/clock.h"
#include "certs/certificate.h"
#include "tls/session.h"

static bool parse(const struct login_client *who, struct certs_certificate *ret)
{
	int64_t now_s = clock_wall_ms(&clock_system) / 1000;

	/* The session may be longer than the certificate was valid. */
	return who->tls && who->tls->verified && who->certificate.len > 0 &&
	       certs_certificate_parse(who->certificate, ret, NULL) == 0 &&
	       now_s >= ret->not_before_s && now_s < ret->not_after_s;
}

/* A pattern is nobody; nor is an address a host, whatever a CA has signed. */
static bool is_host(const struct certs_name *name)
{
	return name->type == CERTS_NAME_DNS && slice_find(name->text, '*') == name->text.len &&
	       slice_find(name->text, '@') == name->text.len;
}

/* The names, with a blank behind each. */
static void list_names(const struct certs_certificate *certificate, struct buf *out)
{
	struct slice cursor = certificate->alt_names, email;
	struct certs_name name;

	while (certs_next_email(&cursor, &email))
		buf_printf(out, "%.*s ", (int)email.len, email.ptr);
	cursor = certificate->alt_names;
	while (certs_next_name(&cursor, &name))
		if (is_host(&name))
			buf_printf(out, "%.*s ", (int)name.text.len, name.text.ptr);
}

bool login_external_is_possible(const struct login_client *who)
{
	struct certs_certificate certificate;
	struct buf names = { 0 };
	bool has_names;

	if (!parse(who, &certificate))
		return false;
	list_names(&certificate, &names);
	has_names = buf_len(&names) > 0;
	buf_done(&names);
	return has_names;
}

/* Returns as a lookup, and what was found in l->login_name. */
static int try_name(struct edge_login *l, struct slice name)
{
	struct account account = { 0 };
	struct arena arena = { 0 };
	int r = MAP_NOT_FOUND;

	if (login_set_user(l, name))
		r = login_find_exactly(l, &arena, &account);
	if (r == MAP_FOUND &&
	    (account.is_closed ||
	     !slice_copy(slice_from(account.name), l->login_name, sizeof(l->login_name))))
		r = MAP_NOT_FOUND;
	account_wipe(&account);
	arena_done(&arena);
	return r;
}

static void judge(struct edge_login *l)
{
	struct slice names = slice_from(l->message), wanted = slice_from(l->id), name;
	int r = MAP_NOT_FOUND;

	while (r == MAP_NOT_FOUND && slice_next_word(&names, " ", &name))
		if (wanted.len == 0 || slice_equal_nocase(name, wanted))
			r = try_name(l, name);
	login_give_verdict(l, r, r == MAP_FOUND, l->login_name);
}

void login_external_take(struct edge_login *l, struct slice response)
{
	struct certs_certificate certificate;
	struct buf names = { 0 };
	struct slice rest, first = { 0 };

	if (parse(l->who, &certificate))
		list_names(&certificate, &names);
	rest = buf_slice(&names);
	slice_next_word(&rest, " ", &first);
	login_keep(&l->message, buf_slice(&names));
	buf_done(&names);
	login_keep(&l->id, response);
	first = slice_first(slice_from(l->message), first.len);
	/* Until it is known: so it is slowed and logged. */
	if (login_take_user(l, response.len > 0 ? response : first))
		login_judge(l, judge);
}
