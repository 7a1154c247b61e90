/*
 * dns - names to addresses and mail exchangers, without blocking (c-ares stays in here)
 *
 * One resolver for each loop. Answers are called back on the loop, never
 * before the call that asks has returned.
 *
 * What is known is not asked again while it holds: for the TTL of the records,
 * or where there are none that of the SOA (RFC 2308; without one not at all), an
 * hour and five minutes at most; a failure for a few seconds. Those who ask the same at the same
 * time share one question. A fixed number of answers is kept, and what was
 * used last stays; a resolver made anew knows nothing.
 *
 * Secure is an answer of which the server says that it has checked its
 * signatures (the AD bit, RFC 4035), where it is a server of this very host:
 * from any other, somebody on the way could say so. It matters for DANE alone.
 */
#pragma once

#include "base/clock.h"
#include "net/address.h"
#include "net/loop.h"

struct dns;

struct dns_options {
	const char *servers;   /* "127.0.0.1:5300, [::1]:53, ::1"; NULL or "": the system's */
	int timeout_ms, tries; /* for each server; 0: 3000, 3; each time twice as long */
	int limit_ms;	       /* for a query as a whole; 0: 20000 */
	enum net_protocols protocols; /* addresses of the others are not asked for, nor given */
	const struct clock *clock;    /* by which answers grow old; NULL: the system's */
};

enum dns_outcome {
	DNS_FOUND = 1,
	DNS_NOT_FOUND, /* the name or the type does not exist: permanent */
	DNS_FAILED,    /* no answer, SERVFAIL, broken answer: try later */
};

/* RFC 5321 section 5.1; exchange "": there is none (RFC 7505). */
struct dns_mx {
	unsigned int preference;
	const char *exchange;
};

struct dns_mx_answer {
	enum dns_outcome outcome;
	bool is_secure;		      /* of DNS_NOT_FOUND, too */
	bool is_name_unknown;	      /* DNS_NOT_FOUND: and no record of any other type either */
	const struct dns_mx *records; /* as they came */
	size_t count;
	const char *reason; /* unless DNS_FOUND */
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

struct loop *dns_loop(struct dns *dns);

/* What was known is asked again from now on: somebody may have put it right. */
void dns_forget(struct dns *dns);

struct dns_query;

/*
 * The A and AAAA addresses of host. The answer is valid during the call. Who
 * has the addresses of one family does not wait for long for those of the
 * other (RFC 8305 section 3), which are there the next time.
 */
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

/*
 * The mail exchangers of a domain; is_secure: whether the answer is secure is
 * asked, too. /etc/hosts has none.
 */
struct dns_query *dns_mx(struct dns *dns, const char *domain, bool is_secure,
			 void (*answered)(void *arg, const struct dns_mx_answer *answer),
			 void *arg);

/* Whether /etc/hosts has addresses of this host. Reads it, and asks nobody. */
bool dns_is_in_hosts_file(struct dns *dns, const char *host);

/* The TLSA records of a name like "_25._tcp.mx.example". */
struct dns_query *dns_tlsa(struct dns *dns, const char *name,
			   void (*answered)(void *arg, const struct dns_tlsa_answer *answer),
			   void *arg);

/* Whether such servers, or the system's, are all on this host, so that answers can be secure. */
bool dns_servers_are_local(const char *servers);

/* Drop a query: answered() is not called. NULL is fine; inside answered() it does nothing. */
void dns_cancel(struct dns_query *query);
