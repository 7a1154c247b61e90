/*
 * Which mechanisms there are, best first, and who is offered them: where every
 * stored password can serve them, the TLS session can be bound to, and
 * smtpd_sasl_mechanism_filter and smtpd_sasl_security_options let them.
 */
#include "edge/login.h"

#include "base/macros.h"

#define PROVES	 (EDGE_NOPLAINTEXT)
#define MUTUAL	 (EDGE_NOPLAINTEXT | EDGE_NOACTIVE | EDGE_MUTUAL_AUTH)
#define NO_WORDS (EDGE_NOPLAINTEXT | EDGE_NOACTIVE | EDGE_NODICTIONARY)

static const struct login_mechanism mechanisms[] = {
	{ .name = "SCRAM-SHA-256-PLUS",
	  .secret = SCHEME_SCRAM_SHA_256,
	  .security = MUTUAL,
	  .binds = true,
	  .take = login_scram_take },
	{ .name = "SCRAM-SHA-256",
	  .secret = SCHEME_SCRAM_SHA_256,
	  .security = MUTUAL,
	  .take = login_scram_take },
	{ .name = "SCRAM-SHA-1-PLUS",
	  .secret = SCHEME_SCRAM_SHA_1,
	  .security = MUTUAL,
	  .binds = true,
	  .take = login_scram_take },
	{ .name = "SCRAM-SHA-1",
	  .secret = SCHEME_SCRAM_SHA_1,
	  .security = MUTUAL,
	  .take = login_scram_take },
	{ .name = "CRAM-MD5",
	  .secret = SCHEME_CRAM_MD5,
	  .security = PROVES,
	  .is_challenging = true,
	  .challenge = login_cram_challenge,
	  .take = login_cram_take },
	{ .name = "PLAIN", .has_nuls = true, .take = login_plain_take },
	{ .name = "LOGIN", .challenge = login_login_challenge, .take = login_login_take },
	{ .name = "EXTERNAL",
	  .security = NO_WORDS,
	  .is_external = true,
	  .take = login_external_take },
};

static unsigned int demands(const struct edge *edge, const struct login_client *who)
{
	return who->tls ? edge->options.tls_security : edge->options.security;
}

static bool is_let(const struct login_mechanism *m, const char *filter, unsigned int demanded)
{
	return sasl_filter_admits(filter, m->name) && (m->security & demanded) == demanded;
}

/* What a mechanism that only Dovecot has is good for is not known here. */
static bool is_let_of_dovecot(const char *name, const char *filter, unsigned int demanded)
{
	const struct login_mechanism unknown = { .name = name };

	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++)
		if (strcmp(mechanisms[i].name, name) == 0)
			return is_let(&mechanisms[i], filter, demanded);
	return is_let(&unknown, filter, demanded);
}

static bool is_offered(struct edge *edge, const struct login_client *who,
		       const struct login_mechanism *m, unsigned int secrets)
{
	if (!is_let(m, edge->options.mechanism_filter, demands(edge, who)))
		return false;
	if (m->is_external)
		return login_external_is_possible(who);
	if (m->binds && (who->binding.len == 0 || !sasl_can_bind()))
		return false;
	return (secrets & m->secret) == m->secret;
}

/* Of what Dovecot has; what is left out here, it would not refuse. */
static void offer_of_dovecot(struct edge *edge, const struct login_client *who,
			     char ret[LOGIN_MECHANISMS_SIZE])
{
	char all[LOGIN_MECHANISMS_SIZE];
	struct slice rest, word;
	size_t used = 0;

	dovecot_auth_mechanisms(edge->dovecot, all);
	rest = slice_from(all);
	ret[0] = '\0';
	while (slice_next_word(&rest, " ", &word)) {
		char name[LOGIN_MECHANISMS_SIZE];

		slice_copy(word, name, sizeof(name));
		if (is_let_of_dovecot(name, edge->options.mechanism_filter, demands(edge, who)))
			used += (size_t)snprintf(ret + used, LOGIN_MECHANISMS_SIZE - used, "%s%s",
						 used ? " " : "", name);
	}
}

void edge_login_mechanisms(void *arg, const struct login_client *who,
			   char ret[LOGIN_MECHANISMS_SIZE])
{
	struct edge *edge = arg;
	unsigned int secrets = edge->accounts ? accounts_secrets(edge->accounts) : 0;
	size_t used = 0;

	if (edge->dovecot) {
		offer_of_dovecot(edge, who, ret);
		return;
	}
	ret[0] = '\0';
	for (size_t i = 0; edge->accounts && i < ARRAY_SIZE(mechanisms); i++)
		if (is_offered(edge, who, &mechanisms[i], secrets))
			used += (size_t)snprintf(ret + used, LOGIN_MECHANISMS_SIZE - used, "%s%s",
						 used ? " " : "", mechanisms[i].name);
}

const struct login_mechanism *login_mechanism_find(struct edge *edge,
						   const struct login_client *who, const char *name)
{
	unsigned int secrets = edge->accounts ? accounts_secrets(edge->accounts) : 0;

	for (size_t i = 0; edge->accounts && i < ARRAY_SIZE(mechanisms); i++)
		if (strcmp(mechanisms[i].name, name) == 0)
			return is_offered(edge, who, &mechanisms[i], secrets) ? &mechanisms[i]
									      : NULL;
	return NULL;
}

bool login_offers_binding(struct edge *edge, const struct login_client *who, unsigned int secret)
{
	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++)
		if (mechanisms[i].binds && mechanisms[i].secret == secret)
			return is_offered(edge, who, &mechanisms[i], secret);
	return false;
}

bool edge_admits_any_mechanism(const char *filter, unsigned int security, unsigned int secrets)
{
	for (size_t i = 0; i < ARRAY_SIZE(mechanisms); i++)
		if (is_let(&mechanisms[i], filter, security) &&
		    (secrets & mechanisms[i].secret) == mechanisms[i].secret)
			return true;
	return false;
}
