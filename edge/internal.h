/*
 * internal - what the files of the edge's policy share: lookup.c (whose address
 * is this), check.c (who may send what), login.c (who is it) and deliver.c
 */
#pragma once

#include <stdatomic.h>

#include "edge/accounts.h"
#include "edge/dovecot_auth.h"
#include "edge/edge.h"

struct edge {
	struct edge_options options;
	struct accounts *accounts;    /* NULL: nobody knows who has an account */
	struct dovecot_auth *dovecot; /* who knows instead; NULL: nobody */
	struct error trouble;	      /* of dovecot, at the start; code 0: none */
	atomic_uint maildir_counter;
};

/* lookup.c: MAP_FOUND, MAP_NOT_FOUND, or an error; arg is the struct edge. */
int edge_is_local(void *arg, struct slice domain, struct error *err);

/* Whether a client may relay without having logged in. */
int edge_is_trusted(const struct edge *edge, const struct mta_client *client, struct error *err);

/* Whether login may send as sender: by the login map, a list of logins, or by being the same. */
int edge_owns(struct edge *edge, const char *login, const char *sender, struct error *err);

/* check.c, login.c, deliver.c: the functions of the policy (mta/policy.h) */
void edge_check_sender(void *arg, const struct mta_client *client, const char *sender,
		       struct smtp_status *ret);
void edge_check_recipient(void *arg, const struct mta_client *client, const char *sender,
			  const char *recipient, struct smtp_status *ret);
void edge_login_mechanisms(void *arg, const struct login_client *who,
			   char ret[LOGIN_MECHANISMS_SIZE]);
struct login *edge_login_begin(void *arg, const struct login_request *request);
void edge_deliver(void *arg, const struct mta_local_delivery *deliveries, size_t count);
