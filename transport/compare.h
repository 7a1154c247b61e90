/*
 * compare - what other options change for the routes there are
 *
 * Asks the resolver, with the old options and with the new ones, where each
 * key leads that any transport map or TLS policy map has, and where mail goes
 * that no line speaks of. So a line that goes is compared with what its mail falls to, and a new
 * one with what its mail had before.
 */
#pragma once

#include "base/buf.h"
#include "transport/transport.h"

enum transport_change_kind {
	TRANSPORT_ADDED,   /* a line for what had none of its own */
	TRANSPORT_REMOVED, /* what it was for falls to another */
	TRANSPORT_CHANGED,
};

struct transport_change {
	enum transport_change_kind kind;
	const char *key; /* "vm2.vm", ".vm2.vm", "bob@vm2.vm", "*"; NULL: what has no line */
	const struct transport_route *old, *new;

	/*
	 * Mail that was sent with some TLS would be sent with less: a lower level,
	 * an older version, or in the clear where TLS came first; or at the same
	 * level to more peers, all that were accepted before and others. Levels
	 * from the lowest: none, may, dane, encrypt, verify, and then secure,
	 * fingerprint and dane-only, which are as good as each other.
	 */
	bool is_weaker;
};

typedef void transport_compare_report(void *arg, const struct transport_change *change);

/*
 * Report each route that is not the same, in the order of the new maps, then
 * of the old, the general one last. Returns how many are weaker, or an error:
 * what is in a map cannot be told now.
 */
int transport_compare(const struct transport_options *old, const struct transport_options *new,
		      transport_compare_report *report, void *arg, struct error *err);

/* "vm2.vm: relay:[a] tls=verify (ts:2) -> relay:[a] tls=may (ts:2)", escaped. */
void transport_change_format(const struct transport_change *change, struct buf *out);
