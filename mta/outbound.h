/*
 * outbound - one connection to a next hop: tries the hops and their addresses
 * in order, negotiates TLS by the route's policy, carries deliveries one after
 * another, or one behind another where the peer permits that (smtp/client.h),
 * waits a while for more, and closes
 *
 * All bytes to the peer pass one function, which asserts that the state of the
 * connection satisfies the policy before any byte of an envelope or message.
 */
#pragma once

#include "mta/lane.h"

/* Connect for the lane. Deliveries are taken with lane_take() when it is ready. */
struct lane_connection *outbound_open(struct lane *lane);

/* An idle connection gets work: it takes a delivery. */
void outbound_wake(struct lane_connection *c);

/* There is more than idle connections can carry: a ready one takes what it can with lane_take_ahead(). */
void outbound_offer(struct lane_connection *c);

/* Say QUIT and close. Only while idle. */
void outbound_close_idle(struct lane_connection *c);

/*
 * Close at once; in the midst of a message with a reset, so that an end of it
 * which has not left yet never arrives. Deliveries are dropped without a
 * result: they stay in the queue.
 */
void outbound_abort(struct lane_connection *c);

/* Whether all that it carries asks who is there: nothing is lost if it is broken off. */
bool outbound_is_only_asking(struct lane_connection *c);

/* Whether the peer has all of a message and owes an answer: without it, it may come twice. */
bool outbound_is_owed(struct lane_connection *c);
