/*
 * selection - which messages and recipients a command is about
 *
 * As typed, it becomes a request; as a request, which is what a server gets
 * from a client that it does not trust, it becomes a filter of the queue. A
 * command that needs no server goes the same way, so there is one judge.
 */
#pragma once

#include "control/request.h"
#include "queue/action.h"

/* The arguments of a request that are a selection's; for struct control_handler. */
#define SELECTION_ARGUMENTS "all ids sender recipient next_hop statuses older_than"

/* As typed; NULL: not given. */
struct selection_words {
	bool all;
	const char *sender, *recipient, *next_hop, *status, *older_than;
};

/* For tables of struct cli_flag. */
#define SELECTION_FLAGS(words)                                                                     \
	{ "--sender", NULL, &(words).sender }, { "--recipient", NULL, &(words).recipient },        \
		{ "--next-hop", NULL, &(words).next_hop }, { "--status", NULL, &(words).status },  \
	{                                                                                          \
		"--older-than", NULL, &(words).older_than                                          \
	}

/* Put into a request what is given, but for ids. -EINVAL. */
int selection_put(struct json_t *request, const struct selection_words *words, struct error *err);

struct selection {
	struct queue_filter filter; /* its strings are the request's */
	int64_t *ids;
	bool is_all, is_given; /* neither: it says nothing, and so means everything */
};

/* -EINVAL: the text says what is wrong with it. */
int selection_take(const struct control_request *request, int64_t now_ms, struct selection *ret,
		   struct error *err);

/* Both steps, for a command that needs no server; *ret's strings are the request's. */
int selection_from_words(const struct selection_words *words, const char *command,
			 struct control_request **ret_request, struct selection *ret,
			 struct error *err);
void selection_done(struct selection *s);
