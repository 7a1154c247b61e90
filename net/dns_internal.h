/* dns_internal - what dns.c (c-ares on our loop) and dns_query.c (questions) share */
#pragma once

#include "base/buf.h"
#include "net/dns.h"
#include "net/internal.h"

#define DNS_RECORDS_MAX 32 /* of one answer; those behind are left out */

struct ares_channeldata;

struct dns {
	struct loop *loop;
	struct ares_channeldata *channel;
	struct loop_timer *timer;
	struct list sockets; /* struct dns_socket */
	struct list queries; /* struct dns_query */
	bool is_trusted;     /* all servers are on this host: AD means something */
};

/* Ask c-ares when it wants to be called. */
void dns_schedule(struct dns *dns);

struct dns_query {
	struct dns *dns;
	struct list link;
	struct loop_task answer;
	void (*answered)(void *arg, const struct dns_answer *answer); /* one of both; NULL: */
	void (*answered_tlsa)(void *arg, const struct dns_tlsa_answer *answer); /* cancelled */
	void *arg;
	char *host;
	bool is_answering;

	unsigned int running; /* lookups without an answer */
	int failure;	      /* ARES_E... of a lookup that found nothing out; 0: none */
	bool is_name_unknown; /* NXDOMAIN: not one record of any type */
	bool is_secure;	      /* of any lookup: a name is signed for all types, or for none */
	char *canonical;      /* NULL: as host */

	struct net_address addresses[2 * DNS_RECORDS_MAX];
	struct dns_tlsa records[DNS_RECORDS_MAX]; /* into bytes */
	size_t count;				  /* of either */
	struct buf bytes;			  /* the answer that holds TLSA records */
};
