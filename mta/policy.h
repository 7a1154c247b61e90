/*
 * policy - what differs between an edge and a hub, as functions
 *
 * edge/ and hub/ each fill one in. All functions are called from many threads
 * at once and must not change what they share. Those that say so may block;
 * they are called on a thread of the pool.
 */
#pragma once

#include "mta/login.h"
#include "net/address.h"
#include "queue/message.h"
#include "smtp/status.h"

/* Who is talking to us, as far as the policy may care. */
struct mta_client {
	const struct net_address *address;
	const char *hello; /* "" before EHLO */
	const char *user;  /* authenticated as; NULL: nobody */
	bool encrypted;
	bool is_certified; /* holds a certificate of relay_clientcerts */
	uint64_t size;	   /* of the mail that is on, as SIZE= says; 0: it does not */
};

/* One recipient of one message, to be delivered on this machine. */
struct mta_local_delivery {
	const struct queue_message *message;
	const struct queue_recipient *recipient;
	struct queue_body *body;
	struct smtp_status *ret_status;
};

/* What a recipient stands for by the aliases of this host. */
struct mta_expansion {
	const char *const *addresses; /* each once, in the arena */
	size_t count;
	bool is_alias; /* false: for itself, and there are no addresses */
};

struct mta_policy {
	/* May this client send as sender ("" for bounces)? Sets 250 2.1.0, or a refusal. */
	void (*check_sender)(void *arg, const struct mta_client *client, const char *sender,
			     struct smtp_status *ret);

	/* May this client send to recipient? Sets 250 2.1.5, or a refusal. */
	void (*check_recipient)(void *arg, const struct mta_client *client, const char *sender,
				const char *recipient, struct smtp_status *ret);

	/*
	 * Whether check_recipient blocks for this one, and is to be called on a
	 * thread of the pool. NULL: never.
	 */
	bool (*recipient_blocks)(void *arg, const char *recipient);

	/*
	 * The addresses that a recipient stands for, aliases of aliases included.
	 * Sets *ret and leaves the status (which is 250) as it is; or sets 451
	 * 4.3.0, where a lookup fails, and 451 4.6.0, where there is no end to
	 * them. NULL: there are no aliases in this mode.
	 */
	void (*expand)(void *arg, const char *recipient, struct arena *arena,
		       struct mta_expansion *ret, struct smtp_status *ret_status);

	/*
	 * Whether a recipient that check_recipient() accepts is to be taken only once
	 * its next hop says that there is one (mta/verify.h): MAP_FOUND,
	 * MAP_NOT_FOUND, or an error. NULL: none is.
	 */
	int (*must_verify)(void *arg, const char *recipient, struct error *err);

	/*
	 * May this client ask for what waits for the domain (ETRN)? Sets 250 2.0.0,
	 * or 459 or 458; *ret_is_trusted: and may hear how much that is. NULL: no
	 * ETRN in this mode.
	 */
	void (*check_etrn)(void *arg, const struct mta_client *client, const char *domain,
			   bool *ret_is_trusted, struct smtp_status *ret);

	/* Whether this host delivers for the domain: MAP_FOUND, MAP_NOT_FOUND, or an error. */
	int (*is_local)(void *arg, struct slice domain, struct error *err);

	/*
	 * By which mechanisms this client may log in now: "PLAIN LOGIN"; "": by none.
	 * Asked after each EHLO, so it does not block. NULL: no AUTH in this mode.
	 */
	void (*login_mechanisms)(void *arg, const struct login_client *who,
				 char ret[LOGIN_MECHANISMS_SIZE]);

	/* An exchange by one of them begins (mta/login.h). The session owns what is returned. */
	struct login *(*login_begin)(void *arg, const struct login_request *request);

	/*
	 * Deliver to mailboxes of this host: recipients of one message or of
	 * several, those of one message next to each other. Sets 250 2.0.0, 4xx or
	 * 5xx for each. Blocks. NULL: no mailboxes.
	 */
	void (*deliver)(void *arg, const struct mta_local_delivery *deliveries, size_t count);

	/*
	 * Mail from users is completed where their programs left something undone
	 * (mta/completion.h). Relayed mail never is.
	 */
	bool is_submission_server;
};
