/*
 * internal - what the files of the edge's policy share: lookup.c (whose address
 * is this), expand.c (whom does it stand for), check.c (who may send what), login.c (who is it) and deliver.c
 */
#pragma once

#include <stdatomic.h>

#include "edge/accounts.h"
#include "edge/dovecot_auth.h"
#include "edge/edge.h"
#include "edge/includes.h"

struct edge {
	struct edge_options options;
	struct accounts *accounts;    /* NULL: nobody knows who has an account */
	struct dovecot_auth *dovecot; /* who knows instead; NULL: nobody */
	struct error trouble;	      /* of dovecot, at the start; code 0: none */
	struct includes *includes;
	struct sasl *sasl;
	unsigned char salt_key[32]; /* of the salts that nobody has stored; a secret */
	atomic_uint maildir_counter;
};

/* lookup.c: MAP_FOUND, MAP_NOT_FOUND, or an error; arg is the struct edge. */
int edge_is_local(void *arg, struct slice domain, struct error *err);

/* An address as a key: folded, with quotes only where they are needed; and without its extension. */
struct edge_key {
	const char *full;
	const char *bare; /* NULL: it has none */
};

void edge_key_read(const struct edge *edge, const char *address, struct arena *arena,
		   struct edge_key *ret);

/*
 * Keys as in Postfix (virtual(5), TABLE SEARCH ORDER): the address, the address
 * without its extension, both without the domain if that is myorigin or in
 * mydestination, @domain. *ret_is_bare: it was found without its extension.
 */
int edge_find_key(const struct edge *edge, struct maps *maps, const struct edge_key *key,
		  struct arena *arena, struct map_result *ret, bool *ret_is_bare,
		  struct error *err);

/* The same for the local part alone, as alias_maps and local_recipient_maps have it. */
int edge_find_local(const struct edge *edge, struct maps *maps, const char *address,
		    struct arena *arena, struct map_result *ret, bool *ret_is_bare,
		    struct error *err);

/* The system's account that has mail for this address: MAP_FOUND, MAP_NOT_FOUND, or an error. Blocks. */
int edge_find_user(const struct edge *edge, const char *address, struct arena *arena,
		   const char **ret_name, struct error *err);

/* What stands behind the local part, "+lists"; "": nothing. */
const char *edge_extension_of(const struct edge *edge, const char *address, struct arena *arena);

/* Whether a client may relay without having logged in. */
int edge_is_trusted(const struct edge *edge, const struct mta_client *client, struct error *err);

/*
 * Whether login may send as sender: by the login map, a list of logins, or by
 * being the same. MAP_FOUND, MAP_NOT_FOUND, or an error, which begins with the
 * parameter's name.
 */
int edge_owns(struct edge *edge, const char *login, const char *sender, struct error *err);

/*
 * deliver.c: whether a mail of so many bytes (0: nobody knows) has no room in the mailbox that
 * an address has. Reads one small file, of mailboxes that are our own; what it
 * cannot tell at once it leaves to the delivery.
 */
bool edge_seems_full(struct edge *edge, const char *address, const struct edge_mailbox *mailbox,
		     uint64_t size);

/* check.c, login.c, deliver.c: the functions of the policy (mta/policy.h) */
void edge_check_sender(void *arg, const struct mta_client *client, const char *sender,
		       struct smtp_status *ret);
void edge_check_recipient(void *arg, const struct mta_client *client, const char *sender,
			  const char *recipient, struct smtp_status *ret);
void edge_login_mechanisms(void *arg, const struct login_client *who,
			   char ret[LOGIN_MECHANISMS_SIZE]);
struct login *edge_login_begin(void *arg, const struct login_request *request);
bool edge_recipient_blocks(void *arg, const char *recipient);
void edge_expand(void *arg, const char *recipient, struct arena *arena, struct mta_expansion *ret,
		 struct smtp_status *ret_status);
void edge_deliver(void *arg, const struct mta_local_delivery *deliveries, size_t count);
