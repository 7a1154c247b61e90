/*
 * queue_show - what is known of one message, gathered for people or programs
 */
#pragma once

#include "base/strmap.h"
#include "cli/queue_view.h"
#include "mta/mta.h"

/* One attempt for one recipient, from the ledger. */
struct attempt {
	struct attempt *next;
	struct queue_ledger_entry entry;
};

struct showing {
	struct queue_view *view;
	const struct queue_message *message;
	struct mta_options rules; /* what decides about the end: lifetimes, warning, postmaster */
	bool has_rules;		  /* the configuration tells them */
	struct attempt *first, *last; /* what was tried, the oldest first */
	struct strmap latest;	      /* recipient -> struct attempt */
	struct arena arena;
};

/* queue_show_text.c: for people. */
void queue_show_text(const struct showing *s, struct buf *out);

/* What happens next to a recipient, and what in the end; nothing where it is done. */
void queue_show_next(struct buf *out, const struct showing *s, const struct queue_recipient *r);

/* Take from the configuration what decides about the end. */
void queue_show_rules(struct showing *s);
