/*
 * recipients - how a recipient enters a message: as the addresses that it
 * stands for by the aliases of this host (mta_policy.expand), each of them once
 *
 * Of the ways that RFC 3461 section 5.2.7 leaves to a host that expands
 * aliases it is Postfix's: each address has the ORCPT and the NOTIFY of the
 * recipient, but where it stands for others they are not asked for SUCCESS.
 * X-Original-To stays what the client has typed.
 */
#pragma once

#include "mta/mta.h"
#include "queue/message.h"
#include "smtp/server.h"

/*
 * Add a recipient, once the policy accepts it. Sets 250 2.1.5, also where the
 * message has all of its addresses already; else it has none of them, and
 * the status says why (451 4.3.0: nobody knows now; 451 4.6.0: too many).
 * Blocks as much as lookups do (maps/map.h).
 */
void recipients_add(const struct mta_options *options, struct queue_message *m,
		    const struct smtp_rcpt *rcpt, struct smtp_status *ret);
