/*
 * login - what the files of an edge's AUTH share; login.c tells how they fit:
 *
 *	login.c			the life of an exchange
 *	login_offer.c		which mechanisms there are, and who is offered them
 *	login_account.c		whose credentials they are: looked up and compared
 *	login_plain.c		PLAIN, LOGIN and CRAM-MD5
 *	login_scram.c		SCRAM
 *	login_external.c	EXTERNAL
 */
#pragma once

#include "edge/accounts.h"
#include "edge/internal.h"
#include "mta/login.h"
#include "mta/slowdown.h"
#include "net/loop.h"
#include "sasl/sasl.h"

#define LOGIN_USER_MAX 255 /* bytes of a user name */

struct edge_login;

struct login_mechanism {
	const char *name;
	unsigned int secret;   /* that every account must have (edge/scheme.h); 0: any password */
	unsigned int security; /* enum edge_security, or-ed: what it is good for */
	bool binds;	       /* to the TLS session */
	bool is_external;      /* by certificate */
	bool has_nuls;	       /* in what the client says */
	bool is_challenging;   /* the client never speaks first */

	/* The client waits for a challenge; NULL: which is empty. */
	void (*challenge)(struct edge_login *l);

	/* What it says. On the loop. */
	void (*take)(struct edge_login *l, struct slice response);
};

struct edge_login {
	struct login login;
	struct edge *edge;
	const struct login_mechanism *mechanism;
	struct loop *loop;
	struct slowdown *slowdown; /* NULL: nobody is slowed */
	const struct login_client *who;
	void (*answer)(void *arg, const struct login_answer *answer);
	void *arg;

	struct login_answer next; /* to be given; strings in it are in this struct */
	struct loop_task task;	  /* gives it */
	struct loop_timer *timer; /* waits before work; NULL: was not needed */
	bool is_waiting;
	struct loop_work work; /* on the pool, which has l to itself until it is done */
	void (*job)(struct edge_login *l);
	struct error error; /* of the accounts, for the log; code 0: none */

	/* what the client has said, in its own words; wiped */
	char *id, *user, *password;
	bool has_proved; /* SCRAM: all that is left is to say so */

	char *name;			  /* user, prepared (RFC 4013); NULL: no such name can be */
	char key[2 * LOGIN_USER_MAX + 2]; /* and folded and completed: one for one account */
	char login_name[LOGIN_USER_MAX + 1]; /* as the account has it */
	struct buf output;		     /* the challenge; wiped */

	/* SCRAM */
	struct sasl_exchange *exchange;
	char *message; /* that is worked on */
	struct scheme_scram scram;
	bool is_nobody; /* whose keys were made up */
};

/* ---- login.c: how a step ends. One of these, on the loop ---- */

/* Challenge with what is in output. */
void login_challenge(struct edge_login *l);

/* Fail without having looked at a password. */
void login_refuse(struct edge_login *l, int code, struct smtp_enhanced enhanced, const char *text);
void login_refuse_malformed(struct edge_login *l);

/*
 * Do the job on the pool, and answer with the verdict, or the challenge, that it
 * has left in next. Judging: it is about a password, and so is slowed.
 */
void login_work(struct edge_login *l, void (*job)(struct edge_login *l));
void login_judge(struct edge_login *l, void (*job)(struct edge_login *l));

/* Who it is, in the client's words, on any thread. False: nobody can be called so. */
bool login_set_user(struct edge_login *l, struct slice user);

/* The same on the loop: where it is false that was the answer. */
bool login_take_user(struct edge_login *l, struct slice user);

/* A copy with a terminator, for a secret: wiped with l. */
void login_keep(char **place, struct slice secret);

/* ---- login_account.c: on the pool ---- */

/*
 * The account that is meant, completed by smtpd_sasl_local_domain where it is
 * bare. MAP_FOUND, MAP_NOT_FOUND, or an error, which is also kept for the log.
 */
int login_find(struct edge_login *l, struct arena *arena, struct account *ret);
int login_find_exactly(struct edge_login *l, struct arena *arena, struct account *ret);

/* Whether the authorization id says no more than the name, or the account found for it. */
bool login_is_as_self(const struct edge_login *l, const char *id, const char *account);

/* The jobs of PLAIN and LOGIN; and of CRAM-MD5: password is the digest. */
void login_check_password(struct edge_login *l);
void login_check_cram(struct edge_login *l);

/* Leave the verdict in next: r is what a lookup has returned, is_right that the proof holds. */
void login_give_verdict(struct edge_login *l, int r, bool is_right, const char *account);

/* Salt for whom none is kept: always the same for a name, and unlike those of others. */
void login_make_salt(const struct edge_login *l, const char *purpose, unsigned char *out,
		     size_t len);

/* ---- the mechanisms: members of the table in login_offer.c ---- */

void login_plain_take(struct edge_login *l, struct slice response);
void login_login_challenge(struct edge_login *l);
void login_login_take(struct edge_login *l, struct slice response);
void login_cram_challenge(struct edge_login *l);
void login_cram_take(struct edge_login *l, struct slice response);
void login_scram_take(struct edge_login *l, struct slice response);
void login_external_take(struct edge_login *l, struct slice response);

/* Whether the client has shown a certificate that could log in somebody, valid now. */
bool login_external_is_possible(const struct login_client *who);

/* login_offer.c: NULL: it was not offered to this client. */
const struct login_mechanism *
login_mechanism_find(struct edge *edge, const struct login_client *who, const char *name);

/* Whether a mechanism that binds to the TLS session is offered to this client with that secret. */
bool login_offers_binding(struct edge *edge, const struct login_client *who, unsigned int secret);
