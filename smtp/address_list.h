/*
 * address_list - the addresses that stand in a field of a message's header
 * (RFC 5322 section 3.4), where they stand
 *
 * Reads as leniently as mail has to be read: comments, groups, routes, folded
 * lines, UTF-8, and space around anything. Nothing is allocated while it looks.
 */
#pragma once

#include "base/arena.h"
#include "base/slice.h"

struct address_list_item {
	struct slice text; /* in the list, from the first to the last byte of local-part@domain */
	bool is_bare;	   /* a local part alone: a domain belongs right behind text */
	bool is_broken;	   /* no address: "John Smith", an open quote, an encoded word */
};

/*
 * Take the next address from the front of *rest, which is the body of a field
 * to begin with (behind its colon), and the separator behind it. False: there
 * is none. "<>", and a group without members, are no addresses.
 */
bool address_list_next(struct slice *rest, struct address_list_item *ret);

/* The address of an item without comments and space, as the envelope would have it. */
char *address_list_address(struct arena *arena, struct slice text);
