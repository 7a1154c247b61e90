/* salvage_rows - what can still be read of a damaged database goes into a new one */
#pragma once

#include "base/buf.h"
#include "queue/bodies.h"

struct queue_salvaged {
	int64_t messages; /* in the new database */
	int64_t expected; /* that the old one counted; -1: its count is lost */
	int64_t pages;	  /* that are damaged, as far as it shows */
	struct buf held;  /* int64_t: ids of messages of which a part is missing; the caller's */
};

/*
 * Copy from the database at from, which nobody else has open, into the empty
 * one at to, which is synced by the caller. No id below ids_mark will be used again.
 */
int queue_salvage_rows(const char *from, const char *to, const struct queue_bodies *bodies,
		       int64_t ids_mark, int64_t now_ms, struct queue_salvaged *ret,
		       struct error *err);
