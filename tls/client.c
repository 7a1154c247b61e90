/*
 * client - what a client's session has beside a server's: a policy to hold the
 * peer to, and sessions to take up again
 *
 * A session is resumed only among connections that agree in all that a verdict
 * rests on: the key under which it is kept has the caller's key, the next hop
 * and the policy in it. With it the verdict is kept, and applied again: the library would
 * resume anything. A verdict lasts for RESUME_MAX_S, and no longer than the
 * certificate; new tickets do not prolong it. Whatever makes an attempt to
 * resume fail also removes the session, so that the next connection starts anew.
 */
#include "tls/dane.h"
#include "tls/session_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/macros.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#define RESUME_MAX_S (2 * 60 * 60)

struct tls_client {
	struct tls_verify verify;
	bool is_required; /* by the policy: no peer but a verified one */

	struct buf key;		     /* in the cache; empty: never resumed */
	struct buf taken;	     /* a session, as the library wrote it, to be kept */
	bool is_offered;	     /* we tried to resume... */
	struct tls_facts remembered; /* ... a session of which this was known */
	int64_t verdict_until_s;
};

static int64_t now_s(void)
{
	return clock_wall_ms(&clock_system) / 1000;
}

static void wipe(struct buf *b)
{
	if (b->mem)
		explicit_bzero(b->mem, b->size);
	buf_done(b);
}

/* Parts are ended by NUL, which none of them holds, or have their length in front. */
static void make_key(struct tls_client *client, const struct tls_policy *policy,
		     const char *nexthop, const char *hostname, const char *cache_key)
{
	struct buf *key = &client->key;

	buf_append(key, cache_key, strlen(cache_key) + 1);
	buf_append(key, nexthop, strlen(nexthop) + 1);
	buf_append(key, hostname, strlen(hostname) + 1);
	buf_printf(key, "%d %d", policy->level, policy->min_version);
	buf_append(key, "", 1);
	if (policy->servername)
		buf_append_string(key, policy->servername);
	for (unsigned int i = 0; i < client->verify.names.count; i++) {
		buf_append(key, "", 1);
		buf_append_string(key, client->verify.names.wanted[i]);
	}
	for (unsigned int i = 0; i < policy->fingerprint_count; i++) {
		buf_append(key, "", 1);
		buf_append_string(key, policy->fingerprints[i]);
	}
	for (unsigned int i = 0; policy->dane && i < policy->dane->count; i++) {
		const struct dns_tlsa *r = &policy->dane->records[i];

		buf_printf(key, "%c%u %u %u %zu ", '\0', r->usage, r->selector, r->matching,
			   r->data.len);
		buf_append_slice(key, r->data);
	}
}

/* To verify what was not verified would take a certificate: then there is a full handshake. */
static bool may_resume(const struct tls_client *client, const struct tls_resumable *resumable)
{
	return !client->is_required || resumable->facts.verified;
}

static void offer(struct tls_session *s)
{
	struct tls_client *client = s->client;
	struct tls_resumable resumable;
	struct buf bytes = { 0 };
	WOLFSSL_SESSION *session;
	const unsigned char *at;

	if (!tls_resume_get(s->context->resume, buf_slice(&client->key), now_s(), &bytes,
			    &resumable) ||
	    !may_resume(client, &resumable)) {
		wipe(&bytes);
		return;
	}
	at = (const unsigned char *)resumable.session.ptr;
	session = wolfSSL_d2i_SSL_SESSION(NULL, &at, (long)resumable.session.len);
	wipe(&bytes);
	if (!session)
		return;
	if (wolfSSL_set_session(s->ssl, session) == WOLFSSL_SUCCESS) {
		client->is_offered = true;
		client->remembered = resumable.facts;
		client->verdict_until_s = resumable.until_s;
	}
	wolfSSL_SESSION_free(session);
}

static int set_server_name(struct tls_session *s, const struct tls_policy *policy,
			   const char *nexthop, const char *hostname, struct error *err)
{
	const char *name = policy->servername;

	if (name && strcmp(name, "nexthop") == 0)
		name = tls_host_bare(nexthop, &s->client->verify.names.arena);
	if (policy->dane) /* RFC 7672 section 8.1: the TLSA base domain, and no other */
		name = policy->dane->base;
	if (!name)
		name = tls_host_bare(hostname, &s->client->verify.names.arena);
	/* RFC 6066 section 3: "Literal IPv4 and IPv6 addresses are not permitted". */
	if (name[0] == '\0' || tls_host_is_address(name))
		return 0;
	if (wolfSSL_UseSNI(s->ssl, WOLFSSL_SNI_HOST_NAME, name, (unsigned short)strlen(name)) !=
	    WOLFSSL_SUCCESS)
		return error_set(err, -EINVAL, "%s can't be asked for as a server name", name);
	return 0;
}

int tls_client_attach(struct tls_session *s, const struct tls_policy *policy, const char *nexthop,
		      const char *hostname, const char *cache_key, struct error *err)
{
	struct tls_client *client = calloc(1, sizeof(*client));
	enum tls_version min_version = MAX(policy->min_version, s->context->min_version);

	if (!client)
		return error_set(err, -ENOMEM, "TLS: out of memory");
	s->client = client;
	client->is_required = tls_level_authenticates(policy->level);
	client->verify.anchors = &s->context->anchors;
	client->verify.policy = policy;
	client->verify.is_required = client->is_required;
	client->verify.facts = &s->facts;
	hostname = hostname ? hostname : nexthop;
	tls_names_init(&client->verify.names, policy, nexthop, hostname);
	tls_verify_attach(&client->verify, s->ssl);

	if (wolfSSL_SetMinVersion(s->ssl, tls_version_number(min_version)) != WOLFSSL_SUCCESS)
		return error_set(err, -ENOTSUP, "wolfSSL lacks a TLS version");
	if (cache_key) {
		make_key(client, policy, nexthop, hostname, cache_key);
		offer(s);
	}
	return set_server_name(s, policy, nexthop, hostname, err);
}

void tls_client_watch(struct tls_session *s, struct tls_chain *chain)
{
	s->client->verify.chain = chain;
}

void tls_client_free(struct tls_client *client)
{
	if (!client)
		return;
	tls_names_done(&client->verify.names);
	buf_done(&client->key);
	wipe(&client->taken);
	free(client);
}

static void forget(struct tls_session *s)
{
	if (s->client->is_offered)
		tls_resume_forget(s->context->resume, buf_slice(&s->client->key));
}

/* The peer showed no certificate: take over what is known of the session, if it is that one. */
static void recall(struct tls_session *s)
{
	const struct tls_client *client = s->client;
	struct tls_facts facts = s->facts;

	if (!client->is_offered || !facts.resumed) {
		snprintf(s->facts.trouble, sizeof(s->facts.trouble),
			 "the peer sent no certificate");
		return;
	}
	s->facts = client->remembered;
	s->facts.protocol = facts.protocol;
	s->facts.cipher = facts.cipher;
	s->facts.bits = facts.bits;
	s->facts.resumed = true;
}

/* A certificate that was verified by its fingerprint or by DNS has no end. */
static int64_t verdict_end_s(const struct tls_facts *facts)
{
	int64_t end_s = now_s() + RESUME_MAX_S;

	return facts->verified && strcmp(facts->verified_by, "ca") != 0
		       ? end_s
		       : MIN(end_s, facts->not_after_s);
}

int tls_client_conclude(struct tls_session *s, struct error *err)
{
	struct tls_client *client = s->client;

	if (client->verify.is_judged) {
		s->facts.resumed = false;
		client->verdict_until_s = verdict_end_s(&s->facts);
		forget(s);
	} else {
		recall(s);
	}
	if (client->is_required && !s->facts.verified) {
		forget(s);
		return error_set(err, -EACCES, "%s", s->facts.trouble);
	}
	tls_names_done(&client->verify.names);
	return 0;
}

int tls_client_blame(struct tls_session *s, int code, struct error *err)
{
	forget(s);
	if (s->client->is_required && s->facts.trouble[0])
		return error_set(err, -EACCES, "%s", s->facts.trouble);
	return code;
}

void tls_client_take_session(struct tls_session *s, WOLFSSL_SESSION *session)
{
	struct buf *taken = &s->client->taken;
	unsigned char *at;
	int len;

	if (buf_len(&s->client->key) == 0)
		return;
	len = wolfSSL_i2d_SSL_SESSION(session, NULL);
	if (len <= 0)
		return;
	wipe(taken);
	at = (unsigned char *)buf_reserve(taken, (size_t)len);
	len = wolfSSL_i2d_SSL_SESSION(session, &at);
	if (len > 0)
		buf_commit(taken, (size_t)len);
}

void tls_client_keep(struct tls_session *s)
{
	struct tls_client *client = s->client;
	struct tls_resumable resumable = { .facts = s->facts, .until_s = client->verdict_until_s };

	if (buf_len(&client->taken) == 0)
		return;
	resumable.session = buf_slice(&client->taken);
	resumable.facts.protocol = NULL; /* the library's strings; the next session has its own */
	resumable.facts.cipher = NULL;
	tls_resume_put(s->context->resume, buf_slice(&client->key), &resumable);
	wipe(&client->taken);
}
