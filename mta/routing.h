/*
 * routing - the route of one recipient of a message: that of the address
 * (transport/transport.h), with the logins of the sender and with what the
 * sender asks for
 */
#pragma once

#include "mta/snapshot.h"
#include "queue/message.h"

/* Never NULL: it defers where no decision can be made. The caller owns a reference. */
const struct transport_route *routing_find(const struct mta_view *view,
					   const struct queue_message *m,
					   const struct queue_recipient *recipient);
