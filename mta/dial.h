/*
 * dial - from a route to a connection: walks the next hops of a route, their
 * mail exchangers and addresses, and connects, until one is as its user wants it
 *
 *	dial = dial_new(&options, &events, arg);
 *	dial_next(dial);
 *	... connected(target, stream): the user's now; greeting, TLS, ...
 *	... of no use? free the stream, and dial_next(dial), until exhausted()
 *
 * Delivery and explain --probe both dial by this, so that what the one tells
 * is what the other does. What a target is good for is decided by its user:
 * a dialler knows neither SMTP nor TLS, but it does know the policy, as that
 * may be a matter of DNS (transport/dane.h).
 *
 * Where a host has addresses of both families, the one that comes second gets
 * its turn when the first has not answered for a quarter of a second, beside
 * it; who answers first is taken (RFC 8305). Other addresses wait until those
 * in front of them have failed. What leads to ourselves is never connected to
 * (mta/dial_hosts.h).
 *
 * Events are never called before the call that causes them has returned, and
 * everything here may be called inside of them.
 */
#pragma once

#include "mta/self.h"
#include "net/stream.h"

struct dial;

#define DIAL_PEER_SIZE	256
#define DIAL_RELAY_SIZE 320

/* Where a connection leads. Valid until the next call of dial_next(), dial_again(), dial_free(). */
struct dial_target {
	const struct transport_hop *hop; /* of the route, whose index is hop - route->hops */
	const char *host;		 /* that has the address: the hop's, or a mail exchanger */
	struct net_address
		address; /* with the port of the hop; len 0: a socket, or none was found */
	const struct tls_policy *policy; /* as it holds for this host; NULL without an address */
	int64_t began_ms;		 /* to connect, on the loop's clock */
	char peer[DIAL_PEER_SIZE];   /* "192.0.2.7:25", "unix:/run/lmtp"; "" without an address */
	char relay[DIAL_RELAY_SIZE]; /* "mx.example[192.0.2.7]:25"; "none" without an address */
};

struct dial_options {
	struct loop *loop;
	struct dns *dns;		     /* must outlive the dialler */
	const struct transport_route *route; /* with one hop at least; it takes a reference */
	unsigned int first_hop;		     /* hops are tried in a circle from here, */
	unsigned int hop_limit;		     /*   at most so many; 0: all */
	int64_t connect_timeout_ms;	     /* for each address; 0: 30 s */
	unsigned int address_limit;	     /* smtp_mx_address_limit: of each hop; 0: no limit */
	struct self self;
};

struct dial_events {
	/* The stream is the user's, who sets its events now. */
	void (*connected)(void *arg, const struct dial_target *target, struct stream *stream);

	/*
	 * A hop, a host or an address came to nothing, why: 4.4.1 it did not
	 * answer, 4.4.3 DNS did not or has no address, 4.4.4 the operator's next
	 * hop takes no mail, 4.4.6 it is this server, 4.7.5 DNS leaves no policy
	 * to send by. Of the recipient's own domain, when nothing is left: 5.4.4
	 * it does not exist, 5.1.10 it takes no mail, 5.4.6 we are its best mail
	 * exchanger. The dialler goes on by itself.
	 */
	void (*failed)(void *arg, const struct dial_target *target, const struct smtp_status *why);

	/* There is nothing left to try. */
	void (*exhausted)(void *arg);
};

/* Does nothing by itself before dial_next(). */
struct dial *dial_new(const struct dial_options *options, const struct dial_events *events,
		      void *arg);

/* Cancels what is on; no event follows. Streams that were handed over stay. NULL is fine. */
void dial_free(struct dial *d);

/* Connect to the next address. Not while that is on. */
void dial_next(struct dial *d);

/* The other addresses of this hop are not to be tried: the next dial_next() goes on behind it. */
void dial_skip_hop(struct dial *d);

/* Connect to the same address as last time once more. */
void dial_again(struct dial *d);
