/*
 * verify - whether the next hop of an address would take mail for it: known
 * from before, or by asking it (MAIL, RCPT, RSET), as Postfix's verify(8)
 *
 * One struct verify has the cache for all workers, and the questions that are
 * on: however many clients want to know about an address, it is asked for once.
 * Each worker has a verifier, by which its sessions ask; the asking itself is
 * done by lanes, like any delivery (mta/verify_probe.h).
 *
 * Facts, and what they are made of:
 *
 *	2xx to RCPT, mail that was delivered	deliverable
 *	5xx to RCPT				undeliverable; only for a minute if
 *						it is not about the address (5.2.x
 *						a full mailbox, 5.7.x a policy)
 *	4xx, no answer, no connection, 5xx to	unknown, for a minute; what was
 *	anything else, or about the sender	known before stays known
 */
#pragma once

#include "mta/delivery.h"
#include "mta/verify_cache.h"

struct verify;
struct verifier;

/* Loads what is on disk; a cache that cannot be read is empty, and the log says so. Blocks. */
struct verify *verify_new(const char *directory, struct log *log);
void verify_free(struct verify *v); /* writes what is left to write; blocks; NULL is fine */

/* Nothing is known of the address any more, nor on disk; from any thread; blocks. False: nothing was. */
bool verify_forget(struct verify *v, const char *address);

struct verifier *verifier_new(struct mta_worker *worker);
void verifier_free(struct verifier *v);

/* Somebody who waits for an answer. Memory of the caller's. */
struct verify_wait {
	void (*answered)(struct verify_wait *wait); /* on the loop of the verifier */
	struct verify_fact answer;

	struct verifier *verifier; /* the verifier's, from here on; NULL: it does not wait */
	struct list link;
	struct loop_timer *timer;
};

/*
 * True: wait->answer has it. Else answered() will be called, once, after
 * wait_ms at the latest and then with VERIFY_UNKNOWN; verifier_cancel() prevents
 * that, and does nothing for who does not wait.
 */
bool verifier_ask(struct verifier *v, const char *address, struct verify_wait *wait);
void verifier_cancel(struct verify_wait *wait);

/*
 * Mail that goes by saves questions. What a next hop has taken is deliverable. But
 * an address that it has refused is only to be asked for again: the refusal may
 * have been for the sender, who would decide then who is there for others.
 * Nothing is learned where the policy has nobody verified.
 */
void verifier_learn(struct verifier *v, const struct delivery *d);

/* What a probe of the prober has come to, for each address once. */
void verifier_conclude(struct verifier *v, const char *address, const struct verify_fact *fact);

/* Nothing is asked any more; and whether what was begun has ended. */
void verifier_stop(struct verifier *v);
bool verifier_is_idle(const struct verifier *v);
