/*
 * Who a client is for its limits is found out once: a network of
 * smtpd_client_ipv4_prefix_length or smtpd_client_ipv6_prefix_length bits, or nobody, when it is exempt.
 * Where nothing is limited nothing is counted either.
 */
#include "mta/inbound_session.h"

#include <string.h>

#include "base/buf.h"
#include "mta/maillog.h"
#include "mta/worker.h"

/* Postfix's words. What is_last closes the connection. */
static const struct {
	bool is_last;
	const char *text, *log;
} words[RATE_EVENTS] = {
	[RATE_CONNECTION] = { true, "too many connections", "Connection rate limit exceeded" },
	[RATE_TLS_SESSION] = { true, "too many new TLS sessions",
			       "New TLS session rate limit exceeded" },
	[RATE_AUTH] = { false, "too many AUTH commands", "AUTH command rate limit exceeded" },
	[RATE_MESSAGE] = { false, "too much mail", "Message delivery request rate limit exceeded" },
	[RATE_RECIPIENT] = { false, "too many recipients",
			     "Recipient address rate limit exceeded" },
};

static bool is_exempt(struct inbound *s)
{
	const struct mta_options *options = s->view->options;
	struct error err;
	int r = networks_have(&options->limit_exceptions, &s->peer, &err);

	if (r < 0)
		log_write(options->log, "smtpd", LOG_LEVEL_ERROR,
			  "smtpd_client_event_limit_exceptions: %s", err.text);
	return r == MAP_FOUND;
}

static bool has_limits(const struct mta_options *options)
{
	bool has = options->client_connection_limit > 0;

	for (size_t i = 0; i < RATE_EVENTS; i++)
		has |= options->client_rates.limits[i] > 0;
	return has;
}

void inbound_rates_begin(struct inbound *s)
{
	const struct mta_options *options = s->view->options;

	if (has_limits(options) && !is_exempt(s))
		net_address_network(&s->peer, options->ipv4_limit_bits, options->ipv6_limit_bits,
				    s->network);
}

static void refuse(struct inbound *s, enum rate_event event, unsigned int count, const char *user,
		   struct smtp_status *ret)
{
	const struct mta_options *options = s->view->options;
	char ip[NET_ADDRESS_TEXT_SIZE];
	const char *who = user ? user : net_address_ip(&s->peer, ip);

	if (words[event].is_last)
		smtp_status_set(ret, 421, ESC(4, 7, 0), "%s Error: %s from %s", options->hostname,
				words[event].text, who);
	else
		smtp_status_set(ret, 450, ESC(4, 7, 1), "Error: %s from %s", words[event].text,
				who);
	maillog_over_limit(options->log, &s->peer, user, words[event].log, count,
			   mta_service_name(s->kind));
}

static unsigned int count(struct inbound *s, const struct mta_rates *rates, const char *key,
			  enum rate_event event)
{
	return rates_add(s->worker->rates, slice_from(key), event, rates->unit_s * 1000,
			 loop_now_ms(s->worker->loop));
}

/* No network is called so. However the user spells the name, it is one account. */
static const char *key_of_user(const char *user, char *out, size_t out_size)
{
	snprintf(out, out_size, "user %s", user);
	for (char *at = out; *at; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at |= 32;
	return out;
}

bool inbound_count_event(struct inbound *s, enum rate_event event, struct smtp_status *ret)
{
	const struct mta_options *options = s->view->options;
	const struct mta_rates *of_client = &options->client_rates, *of_user = &options->user_rates;
	unsigned int n;

	if (s->network[0] && of_client->limits[event] > 0) {
		n = count(s, of_client, s->network, event);
		if (n > of_client->limits[event]) {
			refuse(s, event, n, NULL, ret);
			return false;
		}
	}
	if (s->client.user && of_user->limits[event] > 0) {
		char key[sizeof(s->user) + 8];

		n = count(s, of_user, key_of_user(s->client.user, key, sizeof(key)), event);
		if (n > of_user->limits[event]) {
			refuse(s, event, n, s->client.user, ret);
			return false;
		}
	}
	return true;
}

bool inbound_may_begin_tls(struct inbound *s)
{
	unsigned int limit = s->view->options->client_rates.limits[RATE_TLS_SESSION], n;
	struct smtp_status unsaid;

	if (!s->network[0] || limit == 0)
		return true;
	n = rates_get(s->worker->rates, slice_from(s->network), RATE_TLS_SESSION,
		      loop_now_ms(s->worker->loop));
	if (n <= limit)
		return true;
	refuse(s, RATE_TLS_SESSION, n, NULL, &unsaid);
	return false;
}

void inbound_answer_over_rate(struct inbound *s, const struct smtp_status *status)
{
	s->is_told = true;
	smtp_server_answer(s->server, status);
	s->is_told = false;
}
