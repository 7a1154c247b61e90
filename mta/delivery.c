#include "mta/delivery.h"

#include <assert.h>
#include <stdio.h>

#include "base/memory.h"

void delivery_report(struct delivery *d, unsigned int index, const struct smtp_status *status)
{
	struct delivery_recipient *r;

	assert(index < d->count);
	r = &d->recipients[index];
	if (r->known)
		return;
	r->known = true;
	r->status = *status;
	assert(d->unknown > 0);
	d->unknown--;
}

void delivery_report_rest(struct delivery *d, const struct smtp_status *status)
{
	for (unsigned int i = 0; i < d->count; i++)
		delivery_report(d, i, status);
}

bool delivery_is_taken(const struct delivery *d)
{
	for (unsigned int i = 0; i < d->count; i++)
		if (d->recipients[i].known &&
		    smtp_status_class(&d->recipients[i].status) == SMTP_DELIVERED)
			return true;
	return false;
}

void delivery_finish(struct delivery *d)
{
	assert(d->unknown == 0);
	d->owner->finished(d->owner, d);
}

void delivery_drop(struct delivery *d)
{
	d->owner->dropped(d->owner, d);
}

void delivery_reroute(struct delivery *d)
{
	d->owner->rerouted(d->owner, d);
}

const char *delivery_program(const struct transport_route *route)
{
	switch (route->kind) {
	case TRANSPORT_ERROR:
	case TRANSPORT_RETRY:
		return "error";
	case TRANSPORT_RELAY:
	case TRANSPORT_RELAY_SMTPS:
		return "smtp";
	default:
		return route->name;
	}
}

struct delivery *delivery_split(struct delivery *d, const bool *moves)
{
	struct delivery *part =
		memory_zeroed(sizeof(*part) + d->count * sizeof(part->recipients[0]));
	unsigned int kept = 0;

	list_init(&part->link);
	part->owner = d->owner;
	part->active = d->active;
	part->message = d->message;
	part->route = transport_route_ref(d->route);
	part->envelope_only = d->envelope_only;
	part->was_in_clear = d->was_in_clear;
	part->room = d->count;
	snprintf(part->attempt.relay, sizeof(part->attempt.relay), "none");

	for (unsigned int i = 0; i < d->count; i++) {
		const struct delivery_recipient *r = &d->recipients[i];

		assert(!moves[i] || !r->known);
		if (moves[i])
			part->recipients[part->count++] =
				(struct delivery_recipient){ .index = r->index, .route = r->route };
		else
			d->recipients[kept++] = *r;
	}
	assert(kept > 0 && part->count > 0);
	d->count = kept;
	d->unknown -= part->count;
	part->unknown = part->count;
	part->owner->split(part->owner, part);
	return part;
}

const char *delivery_next_hop(const struct transport_route *route)
{
	if (route->hop_count == 0)
		return "";
	return route->nexthop[0] ? route->nexthop : route->hops[0].text;
}
