/*
 * The certificate that a client has shown: who it says it is, and whether that
 * is a right to relay. The right is looked up when the session begins, to be
 * told, and again for every message, as the list may have changed meanwhile,
 * and the certificate expired.
 */
#include "mta/inbound_session.h"

#include "base/escape.h"
#include "certs/certificate.h"
#include "mta/maillog.h"

static struct slice shown_certificate(const struct inbound *s)
{
	return tls_session_client_certificate(stream_filter(s->stream));
}

/* Fit for quotes in a comment of a header field, which is ASCII (RFC 5322 section 3.2.2). */
static void copy_name(struct slice name, char *out, size_t size)
{
	escape_cstr(name, out, size);
	for (char *at = out; *at; at++)
		if (strchr("\"()\\", *at) || (unsigned char)*at >= 0x80)
			*at = '?';
}

static void note_names(struct inbound *s)
{
	struct certs_certificate c;
	char text[256];
	struct slice name;

	copy_name(slice_from(s->tls.peer_name), s->cert_name, sizeof(s->cert_name));
	s->cert_issuer[0] = '\0';
	if (certs_certificate_parse(shown_certificate(s), &c, NULL) < 0)
		return;
	if (certs_common_name(c.subject, &name))
		copy_name(name, s->cert_name, sizeof(s->cert_name));
	if (!certs_common_name(c.issuer, &name))
		name = slice_from(certs_name_show(c.issuer, text, sizeof(text)));
	copy_name(name, s->cert_issuer, sizeof(s->cert_issuer));
}

static int judge(struct inbound *s, char why[CLIENTCERTS_WHY_SIZE], struct error *err)
{
	const struct clientcerts *list = s->view->options->relay_clientcerts;
	int r;

	s->client.is_certified = false;
	if (!list || !s->tls.has_peer_cert)
		return MAP_NOT_FOUND;
	r = clientcerts_judge(list, &s->tls, shown_certificate(s), mta_now_ms(s->worker) / 1000,
			      why, err);
	s->client.is_certified = r == MAP_FOUND;
	return r;
}

void inbound_note_certificate(struct inbound *s)
{
	const struct mta_options *options = s->view->options;
	struct maillog_certificate line = { &s->tls, s->cert_name, s->cert_issuer, false, NULL };
	char why[CLIENTCERTS_WHY_SIZE] = "";
	struct error err = { 0 };
	int r;

	if (!s->tls.has_peer_cert)
		return;
	note_names(s);
	r = judge(s, why, &err);
	line.may_relay = r == MAP_FOUND;
	if (options->relay_clientcerts)
		line.why = r < 0 ? err.text : why;
	maillog_certificate(options->log, &s->peer, &line);
}

bool inbound_check_certificate(struct inbound *s)
{
	const struct mta_options *options = s->view->options;
	char why[CLIENTCERTS_WHY_SIZE] = "";
	struct error err = { 0 };

	if (judge(s, why, &err) >= 0)
		return true;
	log_write(options->log, "smtpd", LOG_LEVEL_ERROR, "relay_clientcerts: %s", err.text);
	return false;
}

void inbound_note_no_certificate(struct inbound *s)
{
	const struct mta_options *options = s->view->options;

	if (!options->relay_clientcerts || s->tls.has_peer_cert || s->client.user ||
	    s->is_no_certificate_told)
		return;
	s->is_no_certificate_told = true;
	maillog_no_certificate(options->log, &s->peer, s->client.encrypted);
}

void inbound_describe_tls(const struct inbound *s, struct trace_tls *ret)
{
	const struct mta_options *options = s->view->options;

	*ret = (struct trace_tls){
		.protocol = s->tls.protocol,
		.cipher = s->tls.cipher,
		.bits = s->tls.bits,
		.is_client_asked =
			options->server_tls && tls_context_asks_clients(options->server_tls),
	};
	if (!s->tls.has_peer_cert)
		return;
	ret->client_name = s->cert_name;
	ret->client_issuer = s->cert_issuer;
	ret->is_client_trusted = s->tls.trusted;
}
