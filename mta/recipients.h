/*
 * recipients - how a recipient enters a message: as the addresses that it
 * stands for by the aliases of this host (mta_policy.expand), each of them once
 *
 * Each address has the ORCPT and the NOTIFY of the recipient, but only the first
 * of several is asked for SUCCESS: whoever wants to hear of one recipient hears
 * once (RFC 3461 section 5.2.7). Postfix asks none of them, and tells the sender
 * itself that the alias was expanded. X-Original-To stays what the client has
 * typed.
 */
#pragma once

#include "mta/mta.h"
#include "queue/message.h"
#include "smtp/server.h"

/*
 * Add a recipient, once the policy accepts it. Sets 250 2.1.5, also where the
 * message has all of its addresses already; else it has none of them, and
 * the status says why (451 4.3.0: nobody knows now; 451 4.6.0: too many;
 * 452 4.5.3: too many beside those that it has).
 * Blocks as much as lookups do (maps/map.h), of each member of an alias.
 * Returns how many addresses it stands for; 0: it was refused.
 */
size_t recipients_add(const struct mta_options *options, struct queue_message *m,
		      const struct smtp_rcpt *rcpt, struct smtp_status *ret);
