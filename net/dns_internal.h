/* dns_internal - what dns.c (c-ares on our loop) and dns_query.c (questions) share */
#pragma once

#include "net/dns_cache.h"
#include "net/internal.h"

struct ares_channeldata;

struct dns {
	struct loop *loop;
	struct ares_channeldata *channel;
	struct loop_timer *timer;
	struct list sockets; /* struct dns_socket */
	struct list queries; /* struct dns_query */
	bool is_trusted;     /* all servers are on this host: AD means something */
	bool is_closing;     /* c-ares calls back what it drops */
	int limit_ms;
	enum net_protocols protocols;
	const struct clock *clock;
	struct dns_cache cache;
};

/* Ask c-ares when it wants to be called. */
void dns_schedule(struct dns *dns);

/* What a query wants to know: the answer to one question. */
struct dns_part {
	struct dns_query *query;
	enum dns_type type;
	struct dns_entry *entry; /* a reference */
	struct list link;	 /* of the entry's waiters, until it is known */
};

enum dns_kind {
	DNS_KIND_ADDRESSES,
	DNS_KIND_MX,
	DNS_KIND_TLSA,
};

struct dns_query {
	struct dns *dns;
	struct list link;
	struct loop_task answer;
	struct loop_timer *timer;
	enum dns_kind kind;
	union {
		void (*addresses)(void *arg, const struct dns_answer *answer);
		void (*mx)(void *arg, const struct dns_mx_answer *answer);
		void (*tlsa)(void *arg, const struct dns_tlsa_answer *answer);
	} answered;
	void *arg;
	char *host;
	bool is_secure; /* it is asked whether the answers are */
	bool is_answering;

	struct dns_part parts[2];
	unsigned int part_count, waiting;

	/* without a question: */
	bool is_nameless;	       /* the root, which has no addresses */
	const char *refusal;	       /* NULL: none */
	struct net_address *addresses; /* literal, or of /etc/hosts; then, of all parts */
	size_t count;
};
