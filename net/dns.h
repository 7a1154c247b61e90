/*
 * dns - names to addresses, without blocking (c-ares stays in here)
 *
 * One resolver for each loop. Answers are called back on the loop, never
 * before the call that asks has returned.
 *
 * Secure is an answer of which the server says that it has checked its
 * signatures (the AD bit, RFC 4035), where it is a server of this very host:
 * from any other, somebody on the way could say so. It matters for DANE alone.
 */
#pragma once

#include "net/address.h"
#include "net/loop.h"

struct dns;

struct dns_options {
	const char *servers;   /* "127.0.0.1:5300, [::1]:53, ::1"; NULL or "": the system's */
	int timeout_ms, tries; /* for each server; 0: 5000, 3 */
};

enum dns_outcome {
	DNS_FOUND = 1,
	DNS_NOT_FOUND, /* the name or the type does not exist: permanent */
	DNS_FAILED,    /* no answer, SERVFAIL, broken answer: try later */
};

struct dns_answer {
	enum dns_outcome outcome;
	const struct net_address *addresses; /* port 0, in the order to try (RFC 6724) */
	size_t count;
	const char *reason; /* unless DNS_FOUND: in words, as "example.net: name not found" */

	/* Of dns_secure_addresses() alone: */
	bool is_secure;
	const char *canonical; /* the name that has the addresses, after CNAMEs; else the host */
};

/* RFC 6698 section 2.1: numbers and data as they came. */
struct dns_tlsa {
	unsigned char usage, selector, matching;
	struct slice data;
};

struct dns_tlsa_answer {
	enum dns_outcome outcome;
	bool is_secure; /* of DNS_NOT_FOUND, too */
	const struct dns_tlsa *records;
	size_t count;
	const char *reason; /* unless DNS_FOUND */
};

/* /etc/hosts is asked first, as getaddrinfo() does. */
int dns_new(struct loop *loop, const struct dns_options *options, struct dns **ret_dns,
	    struct error *err);

/* Running queries are dropped without an answer. NULL is fine; may be called inside answered(). */
void dns_free(struct dns *dns);

struct dns_query;

/* The A and AAAA addresses of host. The answer is valid during the call. */
struct dns_query *dns_addresses(struct dns *dns, const char *host,
				void (*answered)(void *arg, const struct dns_answer *answer),
				void *arg);

/*
 * The same, and whether the answer is secure. It is, too, when one of the two
 * types could not be found out. What /etc/hosts says is not.
 */
struct dns_query *dns_secure_addresses(struct dns *dns, const char *host,
				       void (*answered)(void *arg, const struct dns_answer *answer),
				       void *arg);

/* The TLSA records of a name like "_25._tcp.mx.example". */
struct dns_query *dns_tlsa(struct dns *dns, const char *name,
			   void (*answered)(void *arg, const struct dns_tlsa_answer *answer),
			   void *arg);

/* Whether such servers, or the system's, are all on this host, so that answers can be secure. */
bool dns_servers_are_local(const char *servers);

/* Drop a query: answered() is not called. NULL is fine; inside answered() it does nothing. */
void dns_cancel(struct dns_query *query);
