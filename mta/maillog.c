/*
 * Postfix names a client NAME[ADDRESS]; we look no names up, which Postfix
 * writes as unknown[ADDRESS], and so do we: the forms stay readable for tools.
 */
#include "mta/maillog.h"

#include <string.h>

#include "base/escape.h"

struct client_text {
	char text[NET_ADDRESS_TEXT_SIZE + 12];
};

static const char *client_text(const struct net_address *client, struct client_text *out)
{
	char ip[NET_ADDRESS_TEXT_SIZE];

	snprintf(out->text, sizeof(out->text), "unknown[%s]", net_address_ip(client, ip));
	return out->text;
}

static const char *safe(const char *text, char out[SMTP_STATUS_TEXT_SIZE])
{
	return escape_cstr(slice_from(text), out, SMTP_STATUS_TEXT_SIZE);
}

/* ---- smtpd ---- */

void maillog_connect(struct log *log, const struct net_address *client)
{
	struct client_text c;

	log_write(log, "smtpd", LOG_LEVEL_INFO, "connect from %s", client_text(client, &c));
}

void maillog_disconnect(struct log *log, const struct net_address *client, const char *summary)
{
	struct client_text c;

	log_write(log, "smtpd", LOG_LEVEL_INFO, "disconnect from %s%s%s", client_text(client, &c),
		  summary[0] ? " " : "", summary);
}

void maillog_lost(struct log *log, const struct net_address *client, const char *what,
		  const char *stage)
{
	struct client_text c;

	log_write(log, "smtpd", LOG_LEVEL_INFO, "%s after %s from %s", what, stage,
		  client_text(client, &c));
}

void maillog_over_limit(struct log *log, const struct net_address *client, const char *user,
			const char *what, unsigned int count, const char *service)
{
	struct client_text c;
	char who[300] = "";

	if (user)
		escape_cstr(slice_from(user), who, sizeof(who));
	log_write(log, "smtpd", LOG_LEVEL_WARNING, "%s: %u from %s for service %s%s%s", what, count,
		  client_text(client, &c), service, user ? ", sasl_username=" : "", who);
}

void maillog_no_certificate(struct log *log, const struct net_address *client, bool has_tls)
{
	struct client_text c;

	log_write(log, "smtpd", LOG_LEVEL_INFO,
		  "%s: relay=no (%s; relay_clientcerts would have to list it)",
		  client_text(client, &c),
		  has_tls ? "no client certificate was shown"
			  : "no TLS, hence no client certificate");
}

void maillog_etrn(struct log *log, const struct net_address *client, const char *domain,
		  unsigned int messages)
{
	struct client_text c;

	log_write(log, "smtpd", LOG_LEVEL_INFO, "%s: ETRN %s: %u message%s wait%s",
		  client_text(client, &c), domain, messages, messages == 1 ? "" : "s",
		  messages == 1 ? "s" : "");
}

static const char *trust_word(const struct tls_facts *tls)
{
	if (!tls->has_peer_cert && !tls->trusted)
		return "Anonymous";
	if (tls->verified)
		return "Verified";
	return tls->trusted ? "Trusted" : "Untrusted";
}

/* Of clients no name is expected, so Postfix calls none of them verified. */
static const char *client_trust_word(const struct tls_facts *tls)
{
	if (!tls->has_peer_cert)
		return "Anonymous";
	return tls->trusted ? "Trusted" : "Untrusted";
}

void maillog_tls_in(struct log *log, const struct net_address *client, const struct tls_facts *tls,
		    const char *server_name)
{
	struct client_text c;

	log_write(log, "smtpd", LOG_LEVEL_INFO,
		  "%s TLS connection %s from %s%s%s: %s with cipher %s (%u/%u bits)",
		  client_trust_word(tls), tls->resumed ? "reused" : "established",
		  client_text(client, &c), server_name[0] ? " to " : "", server_name, tls->protocol,
		  tls->cipher, tls->bits, tls->bits);
}

void maillog_certificate(struct log *log, const struct net_address *client,
			 const struct maillog_certificate *certificate)
{
	const struct tls_facts *tls = certificate->tls;
	struct client_text c;
	struct buf line = { 0 };

	buf_printf(&line, "%s: %s: subject_CN=%s, issuer=%s, fingerprint=%s, pkey_fingerprint=%s",
		   client_text(client, &c), client_trust_word(tls), certificate->name,
		   certificate->issuer, tls->fingerprint, tls->pubkey_fingerprint);
	if (certificate->why)
		buf_printf(&line, ", relay=%s (%s)", certificate->may_relay ? "yes" : "no",
			   certificate->why);
	else if (tls->trouble[0])
		buf_printf(&line, " (%s)", tls->trouble);
	log_write(log, "smtpd", LOG_LEVEL_INFO, "%.*s", (int)buf_len(&line), buf_slice(&line).ptr);
	buf_done(&line);
}

void maillog_tls_failed(struct log *log, const struct net_address *client, const char *reason)
{
	struct client_text c;

	log_write(log, "smtpd", LOG_LEVEL_INFO, "SSL_accept error from %s: %s",
		  client_text(client, &c), reason);
}

void maillog_client(struct log *log, const char *id, const struct net_address *client,
		    const char *sasl_method, const char *user)
{
	struct client_text c;
	char name[SMTP_STATUS_TEXT_SIZE];

	if (user)
		log_write(log, "smtpd", LOG_LEVEL_INFO,
			  "%s: client=%s, sasl_method=%s, sasl_username=%s", id,
			  client_text(client, &c), sasl_method ? sasl_method : "",
			  safe(user, name));
	else
		log_write(log, "smtpd", LOG_LEVEL_INFO, "%s: client=%s", id,
			  client_text(client, &c));
}

void maillog_reject(struct log *log, const char *id, const char *verb,
		    const struct mta_client *client, const struct smtp_status *status,
		    const char *sender, const char *recipient, const char *protocol)
{
	struct client_text c;
	char enhanced[SMTP_ENHANCED_TEXT_SIZE], text[SMTP_STATUS_TEXT_SIZE];
	struct buf line = { 0 };

	buf_printf(&line, "%s: reject: %s from %s: %d %s %s;", id ? id : "NOQUEUE", verb,
		   client_text(client->address, &c), status->code,
		   smtp_status_enhanced_text(status, enhanced), status->text);
	if (sender)
		buf_printf(&line, " from=<%s>", safe(sender, text));
	if (recipient)
		buf_printf(&line, " to=<%s>", safe(recipient, text));
	buf_printf(&line, " proto=%s", protocol);
	if (client->hello[0])
		buf_printf(&line, " helo=<%s>", safe(client->hello, text));
	log_write(log, "smtpd", LOG_LEVEL_INFO, "%.*s", (int)buf_len(&line), buf_slice(&line).ptr);
	buf_done(&line);
}

/*
 * Where nothing was judged it has Postfix's words for that: fail2ban, which knows
 * them, bans nobody for troubles that are ours.
 */
void maillog_auth_failed(struct log *log, const struct net_address *client, const char *mechanism,
			 const char *user, const struct smtp_status *status)
{
	struct client_text c;
	char name[SMTP_STATUS_TEXT_SIZE];
	bool is_for_now = smtp_status_class(status) == SMTP_DEFERRED;

	log_write(log, "smtpd", LOG_LEVEL_WARNING,
		  "%s: SASL %s authentication failed: %s%s, sasl_username=%s",
		  client_text(client, &c), mechanism,
		  is_for_now ? "Connection lost to authentication server: " : "", status->text,
		  user[0] ? safe(user, name) : "(unavailable)");
}

void maillog_auth_waits(struct log *log, const struct net_address *client, const char *mechanism,
			const char *user, int64_t wait_ms)
{
	struct client_text c;
	char name[SMTP_STATUS_TEXT_SIZE];

	log_write(log, "smtpd", LOG_LEVEL_INFO,
		  "%s: SASL %s login waits %jds after failures, sasl_username=%s",
		  client_text(client, &c), mechanism, (intmax_t)(wait_ms + 999) / 1000,
		  safe(user, name));
}

/* ---- pickup, qmgr, bounce ---- */

void maillog_pickup(struct log *log, const struct queue_message *m, uid_t uid)
{
	char sender[SMTP_STATUS_TEXT_SIZE];

	log_write(log, "pickup", LOG_LEVEL_INFO, "%s: uid=%lu from=<%s>", m->name,
		  (unsigned long)uid, safe(m->sender, sender));
}

void maillog_active(struct log *log, const struct queue_message *m)
{
	char sender[SMTP_STATUS_TEXT_SIZE];

	log_write(log, "qmgr", LOG_LEVEL_INFO, "%s: from=<%s>, size=%llu, nrcpt=%u (queue active)",
		  m->name, safe(m->sender, sender), (unsigned long long)m->size,
		  m->recipient_count);
}

void maillog_removed(struct log *log, const char *id)
{
	log_write(log, "qmgr", LOG_LEVEL_INFO, "%s: removed", id);
}

void maillog_report(struct log *log, const char *id, enum report_kind kind, const char *report_id)
{
	static const char *const names[] = {
		[REPORT_FAILURE] = "sender non-delivery notification",
		[REPORT_DELAY] = "sender delay notification",
		[REPORT_SUCCESS] = "sender delivery status notification",
		[REPORT_DOUBLE_BOUNCE] = "postmaster non-delivery notification",
	};

	log_write(log, "bounce", LOG_LEVEL_INFO, "%s: %s: %s", id, names[kind], report_id);
}

void maillog_no_report(struct log *log, const struct queue_message *m,
		       const struct queue_recipient *recipient)
{
	char text[SMTP_STATUS_TEXT_SIZE];
	struct buf notify = { 0 };

	safe(recipient->address, text);
	smtp_notify_format(recipient->notify, &notify);
	if (m->sender[0])
		log_write(log, "bounce", LOG_LEVEL_INFO,
			  "%s: to=<%s>: no sender non-delivery notification: NOTIFY=%.*s", m->name,
			  text, (int)buf_len(&notify), buf_slice(&notify).ptr);
	else
		log_write(log, "bounce", LOG_LEVEL_WARNING,
			  "%s: to=<%s>: undeliverable, without a sender, %s: DROPPED", m->name,
			  text,
			  m->kind == QUEUE_DOUBLE_BOUNCE ? "and for a postmaster"
							 : "and 2bounce_notice_recipient is empty");
	buf_done(&notify);
}

/* ---- deliveries ---- */

/* Seconds, with at most two significant digits behind the point, as Postfix writes delays. */
static void append_seconds(struct buf *line, int64_t ms)
{
	if (ms < 10)
		buf_append_string(line, "0");
	else if (ms >= 10000)
		buf_printf(line, "%lld", (long long)(ms + 500) / 1000);
	else if (ms >= 1000)
		buf_printf(line, "%.1f", (double)ms / 1000);
	else
		buf_printf(line, ms % 100 < 10 ? "%.1f" : "%.2f", (double)ms / 1000);
}

static void append_delays(struct buf *line, const struct maillog_delivery *d)
{
	int64_t send_ms = d->send_ms ? d->send_ms : d->done_ms;
	int64_t connect_ms = d->connect_ms ? d->connect_ms : send_ms;

	buf_append_string(line, ", delay=");
	append_seconds(line, d->done_ms - d->arrived_ms);
	buf_append_string(line, ", delays=");
	append_seconds(line, d->active_ms - d->arrived_ms);
	buf_append_string(line, "/");
	append_seconds(line, connect_ms - d->active_ms);
	buf_append_string(line, "/");
	append_seconds(line, send_ms - connect_ms);
	buf_append_string(line, "/");
	append_seconds(line, d->done_ms - send_ms);
}

static void append_tls(struct buf *line, const struct maillog_delivery *d)
{
	if (!d->policy)
		return;
	buf_printf(line, ", tls=%s", tls_level_name(d->policy->level));
	if (d->tls)
		buf_printf(line, ":%s:%s", d->tls->protocol,
			   d->tls->verified  ? "verified"
			   : d->tls->trusted ? "trusted"
					     : "untrusted");
	else if (d->connected)
		buf_append_string(line, ":clear");
}

static const char *status_word(const struct maillog_delivery *d)
{
	if (d->is_question)
		return smtp_status_class(d->status) == SMTP_DELIVERED ? "deliverable"
								      : "undeliverable";
	if (d->bounced)
		return "bounced";
	return smtp_status_class(d->status) == SMTP_DELIVERED ? "sent" : "deferred";
}

void maillog_delivery(struct log *log, const struct maillog_delivery *d)
{
	char text[SMTP_STATUS_TEXT_SIZE], enhanced[SMTP_ENHANCED_TEXT_SIZE];
	struct buf line = { 0 };

	buf_printf(&line, "%s: to=<%s>", d->id, safe(d->recipient->address, text));
	if (strcmp(d->recipient->address, d->recipient->original) != 0)
		buf_printf(&line, ", orig_to=<%s>", safe(d->recipient->original, text));
	buf_printf(&line, ", relay=%s", d->relay);
	append_delays(&line, d);
	append_tls(&line, d);
	buf_printf(&line, ", dsn=%s, status=%s (", smtp_status_enhanced_text(d->status, enhanced),
		   status_word(d));
	if (d->by_peer)
		buf_printf(&line, "%d %s ", d->status->code, enhanced);
	buf_printf(&line, "%s)", d->status->text);
	log_write(log, d->program, LOG_LEVEL_INFO, "%.*s", (int)buf_len(&line),
		  buf_slice(&line).ptr);
	buf_done(&line);
}

/* ---- smtp, lmtp ---- */

void maillog_tls_out(struct log *log, const char *program, const char *relay,
		     const struct tls_facts *tls)
{
	log_write(log, program, LOG_LEVEL_INFO,
		  "%s TLS connection %s to %s: %s with cipher %s (%u/%u bits)%s%s", trust_word(tls),
		  tls->resumed ? "reused" : "established", relay, tls->protocol, tls->cipher,
		  tls->bits, tls->bits, tls->trouble[0] ? ", " : "", tls->trouble);
}

void maillog_tls_stranger(struct log *log, const char *program, const char *relay,
			  const struct tls_facts *tls)
{
	log_write(log, program, LOG_LEVEL_INFO,
		  "no TLS session with %s, which showed a certificate%s%s: fingerprint=%s, "
		  "pkey_fingerprint=%s",
		  relay, tls->peer_name[0] ? " of " : "", tls->peer_name, tls->fingerprint,
		  tls->pubkey_fingerprint);
}

void maillog_loop(struct log *log, const char *source, const char *next_hop)
{
	char from[128], hop[320];

	log_write(log, "smtp", LOG_LEVEL_WARNING,
		  "next hop %s of %s is this server itself: mail waits",
		  escape_cstr(slice_from(next_hop), hop, sizeof(hop)),
		  escape_cstr(slice_from(source), from, sizeof(from)));
}

void maillog_next_address(struct log *log, const char *program, const char *relay,
			  const struct smtp_status *why, bool by_peer)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];

	if (by_peer)
		log_write(log, program, LOG_LEVEL_INFO,
			  "host %s said: %d %s %s; trying the next address", relay, why->code,
			  smtp_status_enhanced_text(why, enhanced), why->text);
	else
		log_write(log, program, LOG_LEVEL_INFO, "%s; trying the next address", why->text);
}

void maillog_tls_fallback(struct log *log, const char *program, const char *relay,
			  const char *reason)
{
	log_write(log, program, LOG_LEVEL_WARNING,
		  "TLS handshake with %s failed (%s); level may: sending in the clear", relay,
		  reason);
}

void maillog_login(struct log *log, const char *relay, const char *user, const char *mechanism)
{
	char name[SMTP_STATUS_TEXT_SIZE];

	log_write(log, "smtp", LOG_LEVEL_INFO, "logged in to %s by %s, sasl_username=%s", relay,
		  mechanism, safe(user, name));
}

void maillog_login_failed(struct log *log, const char *relay, const char *user, const char *why)
{
	char name[SMTP_STATUS_TEXT_SIZE], reason[SMTP_STATUS_TEXT_SIZE];

	log_write(log, "smtp", LOG_LEVEL_WARNING,
		  "%s: SASL authentication failed; %s, sasl_username=%s", relay, safe(why, reason),
		  safe(user, name));
}
