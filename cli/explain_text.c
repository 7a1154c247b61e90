/*
 * explain_text - an explanation for whoever is awake at three in the morning
 *
 * What happens when TLS fails is not told from memory: the functions that
 * decide it then are asked now (tls/fallback.h, tls_policy_permits()).
 */
#include "cli/explain.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "tls/fallback.h"
#include "transport/dane.h"

#define LABEL_WIDTH 11
#define WAITS	    "mail waits, nothing is sent"
#define COLUMN_MAX  40 /* what is longer than that stands out */

const char *explain_action_name(enum explain_action action)
{
	static const char *const names[] = {
		[EXPLAIN_RELAY] = "relay", [EXPLAIN_LOCAL] = "local",	  [EXPLAIN_ERROR] = "error",
		[EXPLAIN_RETRY] = "retry", [EXPLAIN_DISCARD] = "discard",
	};

	return names[action];
}

bool explain_is_relayed(const struct explanation *e)
{
	return e->action == EXPLAIN_RELAY;
}

bool explain_has_tls(const struct explanation *e)
{
	return explain_is_relayed(e) && !transport_route_is_unix(e->route);
}

bool explain_checks_names(const struct tls_policy *policy)
{
	return policy->level == TLS_LEVEL_VERIFY || policy->level == TLS_LEVEL_SECURE;
}

static void label(struct buf *out, const char *name)
{
	buf_printf(out, "  %-*s  ", LABEL_WIDTH, name);
}

static void line(struct buf *out, const char *name, const char *text)
{
	label(out, name);
	cli_format_text(out, text);
	buf_append_string(out, "\n");
}

/* "as of ts:2" */
static void write_source(struct buf *out, const char *source)
{
	if (!source || strcmp(source, "default") == 0) {
		buf_append_string(out, "by default");
		return;
	}
	buf_append_string(out, "as of ");
	cli_format_text(out, source);
}

/* ---- lookups ---- */

static const char *table_of(const struct explain_step *step)
{
	if (step->map[0])
		return step->map;
	return strcmp(step->parameter, "local") == 0 ? "local domains" : step->parameter;
}

struct columns {
	size_t table, key;
};

static struct columns measure(const struct explanation *e)
{
	struct columns c = { 0, 0 };

	for (const struct explain_step *step = e->first; step; step = step->next) {
		c.table = MAX(c.table, MIN(strlen(table_of(step)), COLUMN_MAX));
		c.key = MAX(c.key, MIN(strlen(step->key), COLUMN_MAX));
	}
	return c;
}

/* Escaped, and filled up to the width of its column. */
static void cell(struct buf *out, const char *text, size_t width)
{
	size_t start = buf_len(out);

	cli_format_text(out, text);
	while (buf_len(out) - start < width)
		buf_append_string(out, " ");
	buf_append_string(out, "  ");
}

static void write_steps(const struct explanation *e, struct buf *out)
{
	struct columns columns = measure(e);

	for (const struct explain_step *step = e->first; step; step = step->next) {
		label(out, step == e->first ? "lookups" : "");
		cell(out, table_of(step), columns.table);
		cell(out, step->key, columns.key);
		if (!step->value) {
			buf_append_string(out, "no\n");
		} else if (strcmp(step->parameter, "local") == 0) {
			buf_append_string(out, "yes\n");
		} else {
			cli_format_text(out, step->source);
			buf_append_string(out, ": ");
			cli_format_text(out, step->value);
			buf_append_string(out, "\n");
		}
	}
}

/* ---- who may send it, and what becomes of it ---- */

static void add_sender(struct buf *out, size_t start, bool is_one, const char *name)
{
	if (is_one)
		buf_printf(out, "%s%s", buf_len(out) > start ? ", " : "", name);
}

static void write_classes(const struct explain_senders *s, struct buf *out)
{
	size_t start = buf_len(out);

	if (s->anybody) {
		buf_append_string(out, "anybody");
		return;
	}
	add_sender(out, start, s->users, "users that log in");
	add_sender(out, start, s->networks, "mynetworks");
	add_sender(out, start, s->certificates, "relay_clientcerts");
	if (buf_len(out) == start)
		buf_printf(out, "nobody: would be refused at %s",
			   s->is_sender_refused ? "MAIL" : "RCPT");
}

static void write_senders(const struct explanation *e, struct buf *out)
{
	const struct explain_senders *s = &e->senders;

	if (e->sender) {
		label(out, "sender");
		cli_format_address(out, e->sender);
		buf_append_string(out, "\n");
	}
	label(out, "taken from");
	write_classes(s, out);
	if (s->anybody && s->source[0]) {
		buf_append_string(out, ", relay_domains ");
		write_source(out, s->source);
	}
	buf_append_string(out, "\n");
	if (e->known_by)
		line(out, "recipient", e->known_by);
}

static void write_family(const struct explanation *e, struct buf *out)
{
	if (!e->family || e->family->count == 0)
		return;
	label(out, "alias");
	cli_format_address(out, e->family->recipient);
	buf_append_string(out, "\n");
}

static void write_action(const struct explanation *e, struct buf *out)
{
	label(out, "action");
	buf_append_string(out, explain_action_name(e->action));
	if (explain_is_relayed(e))
		buf_printf(out, " by %s:", e->route->name);
	if (e->source[0] && strcmp(e->source, "local") != 0) {
		buf_append_string(out, ", ");
		write_source(out, e->source);
	}
	buf_append_string(out, "\n");
	if (e->error)
		line(out, explain_is_relayed(e) ? "others" : "because", e->error);
	if (e->action == EXPLAIN_DISCARD)
		line(out, "logged as", e->route->status.text);
	if (e->mailbox) {
		label(out, "mailbox");
		cli_format_text(out, e->mailbox);
		buf_append_string(out, e->mailbox_source[0] ? " (" : "");
		cli_format_text(out, e->mailbox_source);
		buf_append_string(out, e->mailbox_source[0] ? ")\n" : "\n");
	}
}

static void write_hops(const struct explanation *e, struct buf *out)
{
	for (unsigned int i = 0; i < e->hop_count; i++) {
		label(out, i > 0 ? "" : e->hop_count > 1 ? "next hops" : "next hop");
		if (e->hop_count > 1)
			buf_printf(out, "%u. ", i + 1);
		cli_format_text(out, e->hops[i].hop->text);
		if (e->hops[i].hop->mx) {
			buf_append_string(out, ", MX of ");
			cli_format_text(out, e->hops[i].hop->host);
		}
		buf_append_string(out, "\n");
	}
}

/* "logs in  as joe, as of sasl_passwd:3", for each next hop where somebody does. */
static void write_logins(const struct explanation *e, struct buf *out)
{
	bool is_first = true;

	for (unsigned int i = 0; i < e->hop_count; i++) {
		if (!e->hops[i].login)
			continue;
		label(out, is_first ? "logs in" : "");
		if (e->hop_count > 1)
			buf_printf(out, "%u. ", i + 1);
		buf_append_string(out, "as ");
		cli_format_text(out, e->hops[i].login);
		buf_append_string(out, ", ");
		write_source(out, e->hops[i].login_source);
		if (e->route->mode == TLS_MODE_NONE)
			buf_append_string(out, "; never without TLS: " WAITS);
		buf_append_string(out, "\n");
		is_first = false;
	}
}

/* ---- TLS ---- */

static void write_level(const struct explanation *e, struct buf *out)
{
	const struct tls_policy *policy = &e->route->tls;
	static const char *const modes[] = {
		[TLS_MODE_NONE] = "none, all is sent in the clear",
		[TLS_MODE_STARTTLS] = "STARTTLS",
		[TLS_MODE_IMPLICIT] = "implicit, from the first byte",
	};

	line(out, "TLS", modes[e->route->mode]);
	label(out, "level");
	buf_printf(out, "%s, ", tls_level_name(policy->level));
	write_source(out, policy->source);
	buf_append_string(out, "\n");
	if (e->route->mode == TLS_MODE_NONE)
		return;
	line(out, "protocols",
	     policy->min_version == TLS_VERSION_1_3 ? "TLSv1.3" : "TLSv1.2 or TLSv1.3");
	if (policy->servername)
		line(out, "asks for", policy->servername);
}

static bool are_names_same(const struct explain_hop *a, const struct explain_hop *b)
{
	if (a->name_count != b->name_count)
		return false;
	for (unsigned int i = 0; i < a->name_count; i++)
		if (strcmp(a->names[i], b->names[i]) != 0)
			return false;
	return true;
}

static void write_names(const struct explanation *e, struct buf *out)
{
	bool are_checked = explain_checks_names(&e->route->tls);

	for (unsigned int i = 0; i < e->hop_count; i++) {
		const struct explain_hop *hop = &e->hops[i];

		if (i > 0 && are_names_same(hop, hop - 1))
			continue;
		label(out, i == 0 ? "names" : "");
		for (unsigned int n = 0; n < hop->name_count; n++) {
			buf_append_string(out, n > 0 ? ", " : "");
			if (hop->hop->mx && strcmp(hop->names[n], "hostname") == 0)
				buf_append_string(out, "that of the mail exchanger, as DNS has it");
			else
				cli_format_text(out, hop->names[n]);
		}
		if (i > 0) {
			buf_append_string(out, " of ");
			cli_format_text(out, hop->hop->text);
		}
		buf_append_string(out, are_checked ? "\n" : " (recorded only)\n");
	}
}

static void write_fingerprints(const struct tls_policy *policy, struct buf *out)
{
	if (policy->level != TLS_LEVEL_FINGERPRINT)
		return;
	for (unsigned int i = 0; i < policy->fingerprint_count; i++)
		line(out, i == 0 ? "accepts" : "", policy->fingerprints[i]);
}

static bool is_dane(const struct tls_policy *policy)
{
	return policy->level == TLS_LEVEL_DANE || policy->level == TLS_LEVEL_DANE_ONLY;
}

/* How many of the next hops somebody logs in at, which nobody does in the clear. */
static unsigned int count_logins(const struct explanation *e)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < e->hop_count; i++)
		count += e->hops[i].login != NULL;
	return count;
}

static const char *consequence(const struct explanation *e, enum tls_failure failure)
{
	unsigned int logins = count_logins(e);

	if (logins > 0 && logins == e->hop_count)
		return WAITS;
	if (logins > 0 && !tls_policy_permits(&e->route->tls, false, false))
		return WAITS;
	if (logins > 0)
		return "mail goes in the clear where nobody logs in, else it waits";
	switch (tls_fallback(&e->route->tls, e->route->mode, failure)) {
	case TLS_FALLBACK_NONE:
		return WAITS;
	case TLS_FALLBACK_CLEAR:
		return "mail goes in the clear";
	case TLS_FALLBACK_CLEAR_ANEW:
		return "mail goes in the clear, over a new connection";
	}
	return "";
}

/* A row of its own; the first one has the label. */
static void write_case(struct buf *out, bool is_first, const char *what, const char *then)
{
	label(out, is_first ? "if" : "");
	buf_printf(out, "%-24s  %s\n", what, then);
}

static void write_lack(const struct explanation *e, enum transport_dane_lack lack, const char *what,
		       struct buf *out)
{
	enum tls_level level;

	if (!transport_dane_level(e->route, lack, &level))
		write_case(out, false, what, WAITS);
	else if (level == TLS_LEVEL_MAY)
		write_case(out, false, what, "as level may: mail may go in the clear");
	else
		write_case(out, false, what, "as level encrypt");
}

/* DNS decides, at each connection, which of these it is; --probe asks it now. */
static void write_dane(const struct explanation *e, struct buf *out)
{
	for (unsigned int i = 0; i < e->hop_count; i++) {
		const struct transport_hop *hop = e->hops[i].hop;

		label(out, i == 0 ? "asks DNS" : "");
		if (hop->mx)
			buf_append_string(out, "MX of ");
		else
			buf_printf(out, "TLSA of _%u._tcp.", hop->port);
		cli_format_text(out, hop->host);
		if (hop->mx)
			buf_printf(out, ", and TLSA of _%u._tcp. in front of each", hop->port);
		buf_append_string(out, "\n");
	}
	write_case(out, true, "there are signed records",
		   "the peer is verified by them, else mail waits");
	write_lack(e, TRANSPORT_DANE_UNUSABLE, "none of them can be used", out);
	write_lack(e, TRANSPORT_DANE_NO_RECORD, "there are none", out);
	write_case(out, false, "DNS can't tell", WAITS);
}

static void write_consequences(const struct explanation *e, struct buf *out)
{
	const struct tls_policy *policy = &e->route->tls;
	bool is_starttls = e->route->mode == TLS_MODE_STARTTLS;

	if (is_starttls)
		write_case(out, true, "no STARTTLS is offered",
			   consequence(e, TLS_FAILURE_NOT_OFFERED));
	write_case(out, !is_starttls, "the handshake fails", consequence(e, TLS_FAILURE_HANDSHAKE));
	write_case(out, false, "the peer is not verified",
		   tls_policy_permits(policy, true, false)
			   ? "mail goes encrypted, which is recorded"
			   : WAITS);
}

static void write_probes(const struct explanation *e, int64_t now_s, struct buf *out)
{
	for (unsigned int i = 0; i < e->hop_count; i++) {
		label(out, i == 0 ? "probe" : "");
		explain_probe_text(e->hops[i].probe, e->route->tls.level, LABEL_WIDTH + 4, now_s,
				   out);
	}
}

/* What is asked of the peer's certificate, and what follows where it does not come about. */
static void write_demands(const struct explanation *e, struct buf *out)
{
	const struct tls_policy *policy = &e->route->tls;

	if (is_dane(policy)) {
		write_dane(e, out);
		return;
	}
	if (policy->level != TLS_LEVEL_FINGERPRINT)
		write_names(e, out);
	write_fingerprints(policy, out);
	write_consequences(e, out);
}

void explain_text(const struct explanation *e, int64_t now_s, struct buf *out)
{
	cli_format_address(out, e->address);
	buf_append_string(out, "\n");
	write_family(e, out);
	write_senders(e, out);
	write_steps(e, out);
	write_action(e, out);
	if (!explain_is_relayed(e))
		return;
	write_hops(e, out);
	write_logins(e, out);
	if (explain_has_tls(e))
		write_level(e, out);
	else
		line(out, "TLS", "none, as a UNIX socket crosses no network");
	if (e->route->mode != TLS_MODE_NONE)
		write_demands(e, out);
	if (e->is_probed)
		write_probes(e, now_s, out);
}
