/* explain_probe - see explain_probe.h; certificates are shown as they were sent, good or bad */
#include "cli/explain_probe.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/escape.h"

#define NAMES_MAX 50 /* some certificates name hundreds */

/* "hub.example", "192.0.2.1"; NULL when it is neither. */
static const char *show_name(const struct certs_name *name, char *out, size_t size)
{
	int family = name->text.len == 4 ? AF_INET : AF_INET6;

	if (name->type == CERTS_NAME_DNS)
		return escape_cstr(name->text, out, size);
	return inet_ntop(family, name->text.ptr, out, (socklen_t)size);
}

void explain_each_name(const struct certs_certificate *c,
		       void (*visit)(void *arg, const char *name), void *arg)
{
	struct slice cursor = c->alt_names, common;
	struct certs_name name;
	unsigned int count = 0;
	char text[256];

	while (count < NAMES_MAX && certs_next_name(&cursor, &name)) {
		if (show_name(&name, text, sizeof(text))) {
			visit(arg, text);
			count++;
		}
	}
	if (count == 0 && certs_common_name(c->subject, &common))
		visit(arg, escape_cstr(common, text, sizeof(text)));
}

struct text {
	struct buf *out;
	int indent;
	bool is_begun; /* the first line stands behind the label */
};

static void new_line(struct text *t)
{
	if (t->is_begun)
		buf_printf(t->out, "\n%*s", t->indent, "");
	t->is_begun = true;
}

static void add_name(void *arg, const char *name)
{
	struct text *t = arg;

	buf_printf(t->out, " %s", name);
}

static const char *day_of(int64_t time_s, char out[TIME_RFC3339_SIZE])
{
	time_rfc3339(time_s * 1000, out);
	out[strlen("2026-11-21")] = '\0';
	return out;
}

static void write_certificate(struct text *t, const struct probe_result *result, unsigned int index,
			      int64_t now_s)
{
	char from[TIME_RFC3339_SIZE], until[TIME_RFC3339_SIZE], subject[128], issuer[128];
	struct certs_certificate c;

	new_line(t);
	buf_printf(t->out, "%u. ", index + 1);
	if (certs_certificate_parse(result->chain.certificates[index], &c, NULL) < 0) {
		buf_append_string(t->out, "damaged certificate");
		return;
	}
	buf_printf(t->out, "%s, by %s, valid %s to %s (%" PRId64 " days)",
		   certs_name_show(c.subject, subject, sizeof(subject)),
		   certs_name_show(c.issuer, issuer, sizeof(issuer)), day_of(c.not_before_s, from),
		   day_of(c.not_after_s, until), (c.not_after_s - now_s) / 86400);
	if (index > 0)
		return;
	new_line(t);
	buf_append_string(t->out, "   for");
	explain_each_name(&c, add_name, t);
	new_line(t);
	buf_printf(t->out, "   %s", result->tls.fingerprint);
	new_line(t);
	buf_printf(t->out, "   %s", result->tls.pubkey_fingerprint);
}

void explain_probe_text(const struct probe_result *result, enum tls_level level, int indent,
			int64_t now_s, struct buf *out)
{
	struct text t = { .out = out, .indent = indent };
	const struct tls_facts *tls = &result->tls;

	new_line(&t);
	buf_printf(out, "%s%s%s", result->ok ? "PASS" : "FAIL", result->peer[0] ? " " : "",
		   result->peer);
	if (result->exchanger[0])
		buf_printf(out, " of %s", result->exchanger);
	if (result->encrypted)
		buf_printf(out, ", %s with %s", tls->protocol, tls->cipher);
	else if (result->ok && !strstr(result->peer, "unix:"))
		buf_append_string(out, ", in the clear");
	if (result->encrypted && tls->verified)
		buf_printf(out, ", verified by %s%s%s", tls->verified_by,
			   tls->peer_name[0] ? ": " : "", tls->peer_name);
	else if (result->encrypted)
		buf_append_string(out, ", not verified");
	if (result->ok && result->level != level)
		buf_printf(out, ", as at level %s by what DNS has", tls_level_name(result->level));
	if (result->error[0]) {
		new_line(&t);
		buf_append_string(out, result->error);
	}
	for (unsigned int i = 0; i < result->chain.count; i++)
		write_certificate(&t, result, i, now_s);
	buf_append_string(out, "\n");
}
