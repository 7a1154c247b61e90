/*
 * mta - the mail transfer agent: listeners, sessions, deliveries, on all cores
 *
 * Owns the worker threads. Both modes are this, with a different policy
 * (mta/policy.h). Nothing here reads configuration: the options say it all.
 */
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "mta/clientcerts.h"
#include "mta/credentials.h"
#include "mta/networks.h"
#include "mta/policy.h"
#include "mta/rates.h"
#include "mta/verify_cache.h"
#include "net/address.h"
#include "net/dns.h"
#include "queue/queue.h"
#include "smtp/client.h"
#include "tls/context.h"
#include "transport/transport.h"

enum mta_service_kind {
	MTA_SERVICE_SMTP,	 /* STARTTLS by the server's level */
	MTA_SERVICE_SMTPS,	 /* implicit TLS */
	MTA_SERVICE_SUBMISSION,	 /* STARTTLS and AUTH required */
	MTA_SERVICE_SUBMISSIONS, /* implicit TLS, AUTH required */
};

const char *mta_service_name(enum mta_service_kind kind); /* "smtp", "smtps", … */

/* A listening socket, bound by the caller before it dropped its privileges. */
struct mta_service {
	enum mta_service_kind kind;
	int fd;
	struct net_address address;
};

/* How often something may be done (mta/rates.h) within a time unit. */
struct mta_rates {
	unsigned int limits[RATE_EVENTS]; /* 0: no limit, and nothing is counted */
	int64_t unit_s;
};

/*
 * Immutable and shared by all threads. What it points to must live as long as
 * the mta, or until mta_reload() says that it was released.
 */
struct mta_options {
	const char *hostname;  /* myhostname */
	const char *origin;    /* myorigin: completes bare addresses */
	const char *mail_name; /* "Posthouse": in the greeting and Received */
	const struct clock *clock;
	struct log *log;
	struct queue *queue;

	const struct mta_policy *policy;
	void *policy_arg;

	const struct mta_service *services;
	unsigned int service_count;
	unsigned int workers;

	/* receiving */
	struct tls_context *server_tls; /* NULL: no STARTTLS, no implicit TLS */
	enum tls_level server_level;	/* of MTA_SERVICE_SMTP: none, may, encrypt */
	bool require_certificate; /* smtpd_tls_req_ccert: where TLS is mandatory; server_tls asks */
	const struct clientcerts *relay_clientcerts; /* NULL: no certificate gives a right */
	bool auth_enabled;			     /* smtpd_sasl_auth_enable */
	bool auth_for_broken_clients;		     /* broken_sasl_auth_clients */
	bool auth_only_with_tls;		     /* smtpd_tls_auth_only */
	uint64_t message_size_limit;
	unsigned int recipient_limit;	      /* of one message */
	unsigned int client_connection_limit; /* at once from one network; 0: no limit */
	struct mta_rates client_rates, user_rates;
	unsigned int ipv4_limit_bits, ipv6_limit_bits; /* networks are so long for limits */
	struct networks limit_exceptions;	       /* clients that no limit of clients is for */
	unsigned int discarded_extensions; /* enum smtp_extension, or-ed: not offered to clients */
	int64_t session_timeout_s;	   /* smtpd_timeout: silence of the client */
	unsigned int hop_limit;		   /* Received headers before it is a loop */
	const char *drop_directory;	   /* of sendmail (mta/drop.h); NULL: none. Never changes */

	/* sending */
	struct tls_context *client_tls;
	struct transport_options transport;
	struct credentials_options credentials; /* at next hops */
	struct dns_options dns;
	const char *hello;		/* our name in EHLO */
	int64_t connect_timeout_ms;	/* to connect to one address; 0: 30 seconds */
	unsigned int mx_address_limit;	/* addresses of a next hop to try at once; 0: no limit */
	unsigned int mx_session_limit;	/* of these, that came to be ready for mail; 0: no limit */
	struct smtp_timeouts timeouts;	/* of next hops */
	int64_t connection_idle_ms;	/* a connection is kept for more mail; 0: not at all */
	int64_t connection_age_ms;	/* from then on it is given no more */
	unsigned int connection_uses;	/* messages that it carries; 0: no limit */
	const char *discarded_keywords; /* EHLO keywords that are not believed (smtp/client.h) */
	unsigned int
		destination_concurrency;     /* connections to one next hop, all workers together */
	unsigned int destination_recipients; /* of one transaction */
	int64_t minimal_backoff_s, maximal_backoff_s;
	int64_t maximal_lifetime_s, bounce_lifetime_s;
	int64_t delay_warning_s;	     /* when a sender is told that mail waits; 0: never */
	const char *double_bounce_recipient; /* who is told of reports that fail; "": nobody */
	struct verify_options verify;	     /* where the policy has must_verify() */
	size_t memory_limit; /* bytes of messages kept in memory, all workers together */
};

struct mta;

/* Makes the workers' loops; starts nothing. */
int mta_new(const struct mta_options *options, struct mta **ret_mta, struct error *err);

/* Starts the threads. stopped() is called once, from a worker's thread, after mta_stop(). */
int mta_start(struct mta *mta, void (*stopped)(void *arg), void *arg, struct error *err);

/*
 * Go on with other options, from the thread that has called mta_start().
 * Sessions that come in after it has returned are served by them. Those under
 * way keep what they began with, and so does a delivery that runs; what waits
 * is routed anew. Sockets whose address is in both stay open without a gap;
 * the others may be closed by the caller once this has returned.
 *
 * released() is called once, from any thread and perhaps before this returns,
 * when the options that were used until now are needed no more; mta_free()
 * does it at the latest. clock, log, queue and workers must be the same.
 *
 * On an error nothing has changed, and released() is not called. -EBUSY: it
 * is stopping.
 */
int mta_reload(struct mta *mta, const struct mta_options *options, void (*released)(void *arg),
	       void *arg, struct error *err);

/*
 * Returns at once: stop accepting, end sessions between transactions with
 * 421, let running transactions and deliveries finish for at most grace_ms.
 * A peer that has all of a message by then has until answer_ms to say that it
 * takes it: else it would get it twice. May be called again, with less of
 * both, to hurry.
 */
void mta_stop(struct mta *mta, int64_t grace_ms, int64_t answer_ms);

/*
 * After something was done to the queue (queue/action.h); from any thread, and
 * they return at once. look: each worker looks for due mail. retry: next hops
 * that failed are tried again as well, whatever time was set for that.
 * reroute: and what waits for a connection goes back to the queue, whose rows
 * then say what becomes of it, over which route.
 */
void mta_look(struct mta *mta);
void mta_retry(struct mta *mta);
void mta_reroute(struct mta *mta);

/* Address verification knows nothing of the address any more; from any thread. False: it did not. */
bool mta_forget_address(struct mta *mta, const char *address);

struct health_report; /* mta/health.h */

/* What is open now; from any thread. */
struct mta_connections {
	unsigned int in, out;
};

struct mta_connections mta_connections(struct mta *mta);

/*
 * What is known of each next hop that was used since the start; of very many,
 * those that nobody uses are forgotten. From any thread. visit() is called
 * with a lock held: it copies, and does not call back.
 */
void mta_each_next_hop(struct mta *mta,
		       void (*visit)(void *arg, const struct health_report *report), void *arg);

/* Joins the threads, after stopped(), and frees. */
void mta_free(struct mta *mta);
