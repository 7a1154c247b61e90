/* trace - the life of a message, gathered for people or programs */
#pragma once

#include "cli/queue_show.h"

/* One row of the ledger. */
struct trace_event {
	struct trace_event *next;
	struct queue_ledger_entry entry;
};

struct trace {
	struct queue_view *view;
	struct showing showing; /* of what is still in the queue; message NULL: nothing is */
	int64_t id;
	const char *address; /* that was asked for; NULL: the message, with all its recipients */
	struct strmap known,
		shown; /* with an address: the recipients, and which of them it means */
	struct trace_event *first, *last; /* the oldest first */
	struct arena arena;
};

/* What is known of it as a whole, wherever it stands. */
struct trace_facts {
	const char *sender;
	int64_t arrived_ms, size;
	const struct queue_origin *origin;
};

struct trace_facts trace_facts(const struct trace *t);

/* trace_choice.c: once all else is there. */
void trace_choose(struct trace *t);
bool trace_shows(const struct trace *t, const char *recipient);
size_t trace_others(const struct trace *t); /* how many recipients are not shown */

/* trace_text.c: for people. */
void trace_text(const struct trace *t, struct buf *out);
