/*
 * Hosts are found once, at the first question. Then a group at a time: those
 * that share the next preference are searched for at once, and when all of
 * them are known it is seen whether one of them is us.
 *
 * A status that makes mail return (5xx) is given only when nothing else is
 * left to hope for, at the end: any host that might be there makes mail wait.
 *
 * An event may free this object: it is marked, and goes when all callbacks have
 * returned.
 */
#include "mta/dial_hosts.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"
#include "transport/mx.h"

struct host {
	struct dial_hosts *owner;
	char *name;
	unsigned int preference;
	struct transport_search *search;
	struct net_address *addresses;
	size_t count;
	struct tls_policy policy;
	struct tls_dane *dane;
	bool is_ours;
	bool is_unknown; /* DNS knows for sure that it has no address */
	bool has_failed; /* and nobody has been told */
	struct smtp_status why;
};

struct dial_hosts {
	struct dial_hosts_options options;
	const struct dial_hosts_events *events;
	void *arg;
	struct loop_task task; /* goes on in step() */
	bool is_freed;

	struct transport_mx *mx;
	bool is_waiting; /* somebody has asked for more */
	bool is_known;	 /* the hosts are */
	bool is_secure;
	struct host *hosts;
	size_t all_count, count; /* those behind count are left out */
	size_t group, group_end; /* hosts of the preference that is being tried */
	size_t searching;	 /* of them, without an answer yet */
	bool is_searched;	 /* the group is, and ready() is due */
	struct dial_candidate *candidates;

	bool is_loop;
	bool has_verdict; /* of the hop as a whole, which nobody has been told */
	struct smtp_status verdict;
};

static void go_on(struct dial_hosts *h)
{
	loop_defer(h->options.loop, &h->task);
}

static bool is_final(const struct dial_hosts *h)
{
	return transport_is_own_domain(h->options.route);
}

/* ---- the end ---- */

static void decide(struct dial_hosts *h, int code, struct smtp_enhanced enhanced, const char *text)
{
	enhanced.class = is_final(h) ? 5 : 4;
	smtp_status_set(&h->verdict, is_final(h) ? code : 450, enhanced, "%s", text);
	h->has_verdict = true;
}

/*
 * Of the recipient's own domain it is final. What the operator has written is
 * his to put right, and mail waits for him: 4.4.6 tells it from other failures.
 */
static void decide_at_end(struct dial_hosts *h)
{
	const char *domain = h->options.hop->host;
	char text[400];

	for (size_t i = 0; i < h->count; i++)
		if (!h->hosts[i].is_unknown)
			return; /* of it a failure was told, or what happened to its addresses */
	if (h->is_loop) {
		snprintf(text, sizeof(text), "mail for %s loops back to myself", domain);
		decide(h, 554, ESC(5, 4, 6), text);
	} else if (h->count > 0 && is_final(h)) {
		decide(h, 550, ESC(5, 4, 4), h->hosts[h->count - 1].why.text);
	}
}

/* ---- one group ---- */

static void forget_group(struct dial_hosts *h)
{
	for (size_t i = h->group; i < h->group_end; i++) {
		struct host *host = &h->hosts[i];

		transport_search_cancel(host->search);
		host->search = NULL;
		tls_dane_free(host->dane);
		host->dane = NULL;
		free(host->addresses);
		host->addresses = NULL;
		host->count = 0;
	}
	free(h->candidates);
	h->candidates = NULL;
}

static void fail(struct host *host, int code, struct smtp_enhanced enhanced, const char *text)
{
	smtp_status_set(&host->why, code, enhanced, "%s", text);
	host->has_failed = true;
}

/*
 * Families take turns (RFC 8305 section 4), so that a limit of addresses leaves
 * some of both. Within a family the order stays.
 */
static void interleave(struct net_address *addresses, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct net_address moved;
		size_t j = i;

		while (j < count && addresses[j].sa.sa_family == addresses[i - 1].sa.sa_family)
			j++;
		if (j == count)
			return;
		moved = addresses[j];
		for (; j > i; j--)
			addresses[j] = addresses[j - 1];
		addresses[i] = moved;
	}
}

static void take_addresses(struct host *host, const struct dns_answer *answer)
{
	const struct dial_hosts *h = host->owner;

	host->addresses = memory_new(answer->count * sizeof(*host->addresses));
	host->count = answer->count;
	for (size_t i = 0; i < answer->count; i++) {
		host->addresses[i] = answer->addresses[i];
		net_address_set_port(&host->addresses[i], h->options.hop->port);
		host->is_ours |= self_answers_at(&h->options.self, &host->addresses[i]);
	}
	interleave(host->addresses, host->count);
}

static void on_found(void *arg, const struct transport_found *found)
{
	const struct dns_answer *answer = found->addresses;
	struct host *host = arg;
	struct dial_hosts *h = host->owner;

	host->search = NULL;
	host->policy = found->policy;
	host->dane = found->dane;
	host->is_unknown = answer->outcome == DNS_NOT_FOUND;
	if (answer->outcome == DNS_FOUND)
		take_addresses(host, answer);
	if (found->refusal)
		fail(host, 450, ESC(4, 7, 5), found->refusal);
	else if (answer->outcome != DNS_FOUND)
		fail(host, 450, ESC(4, 4, 3), answer->reason);
	if (--h->searching == 0)
		go_on(h);
}

static void search(struct host *host)
{
	struct dial_hosts *h = host->owner;
	const struct transport_search_options options = {
		.route = h->options.route,
		.host = host->name,
		.port = h->options.hop->port,
		.is_host_secure = h->is_secure,
	};

	host->search = transport_search_host(h->options.dns, &options, on_found, host);
}

static void start_group(struct dial_hosts *h)
{
	h->group = h->group_end;
	while (h->group_end < h->count &&
	       h->hosts[h->group_end].preference == h->hosts[h->group].preference)
		h->group_end++;
	h->searching = h->group_end - h->group;
	h->is_searched = true;
	for (size_t i = h->group; i < h->group_end; i++) {
		struct host *host = &h->hosts[i];

		/* A name of ours needs no address to be us. */
		host->is_ours = h->options.hop->mx && self_has_name(&h->options.self, host->name);
		if (host->is_ours)
			h->searching--;
		else
			search(host);
	}
	if (h->searching == 0)
		go_on(h);
}

/* It and all that come after it are left out; there is no reason to ask for more. */
static bool cut_off_ours(struct dial_hosts *h)
{
	for (size_t i = h->group; i < h->group_end; i++) {
		if (h->hosts[i].is_ours) {
			h->is_loop = true;
			forget_group(h);
			h->count = h->group_end = h->group;
			return true;
		}
	}
	return false;
}

static size_t collect(struct dial_hosts *h)
{
	size_t count = 0, room = 1;

	for (size_t i = h->group; i < h->group_end; i++)
		room += h->hosts[i].count;
	h->candidates = memory_zeroed(room * sizeof(*h->candidates));
	for (size_t i = h->group; i < h->group_end; i++) {
		const struct host *host = &h->hosts[i];

		for (size_t j = 0; j < host->count && !host->has_failed; j++)
			h->candidates[count++] = (struct dial_candidate){
				.host = host->name,
				.address = host->addresses[j],
				.policy = &host->policy,
			};
	}
	return count;
}

static void offer_group(struct dial_hosts *h)
{
	size_t count;

	if (cut_off_ours(h)) {
		go_on(h);
		return;
	}
	for (size_t i = h->group; i < h->group_end; i++) {
		struct host *host = &h->hosts[i];

		if (host->has_failed)
			h->events->failed(h->arg, host->name, &host->why);
		if (h->is_freed)
			return;
	}
	count = collect(h);
	h->is_waiting = false;
	h->events->ready(h->arg, h->candidates, count);
}

/* ---- all of them ---- */

static void on_hosts(void *arg, const struct transport_hosts *found)
{
	struct dial_hosts *h = arg;

	h->mx = NULL;
	h->is_known = true;
	h->is_secure = found->is_secure;
	h->hosts = memory_zeroed((found->count + 1) * sizeof(*h->hosts));
	h->all_count = h->count = found->count;
	for (size_t i = 0; i < found->count; i++)
		h->hosts[i] = (struct host){
			.owner = h,
			.name = slice_strdup(slice_from(found->hosts[i].name)),
			.preference = found->hosts[i].preference,
		};
	if (found->outcome == TRANSPORT_HOSTS_NULL_MX)
		decide(h, 556, is_final(h) ? ESC(5, 1, 10) : ESC(4, 4, 4), found->reason);
	else if (found->outcome == TRANSPORT_HOSTS_NO_DOMAIN)
		decide(h, 550, ESC(5, 4, 4), found->reason);
	else if (found->outcome == TRANSPORT_HOSTS_FAILED) {
		smtp_status_set(&h->verdict, 450, ESC(4, 4, 3), "%s", found->reason);
		h->has_verdict = true;
	}
	go_on(h);
}

static void end(struct dial_hosts *h)
{
	if (!h->has_verdict)
		decide_at_end(h);
	if (h->has_verdict) {
		h->has_verdict = false;
		h->events->failed(h->arg, NULL, &h->verdict);
		if (h->is_freed)
			return;
	}
	h->is_waiting = false;
	h->events->over(h->arg);
}

static void free_hosts(struct dial_hosts *h)
{
	for (size_t i = 0; i < h->all_count; i++)
		free(h->hosts[i].name);
	free(h->hosts);
	transport_route_unref(h->options.route);
	free(h);
}

/* What is_waiting asks for, one step further each time that something has come. */
static void step(struct loop_task *task)
{
	struct dial_hosts *h = CONTAINER_OF(task, struct dial_hosts, task);

	if (h->is_freed) {
		free_hosts(h);
	} else if (!h->is_known) {
		h->mx = transport_find_hosts(h->options.dns, h->options.route, h->options.hop,
					     on_hosts, h);
	} else if (h->is_searched) {
		h->is_searched = false;
		offer_group(h);
	} else {
		forget_group(h);
		if (h->group_end == h->count)
			end(h);
		else
			start_group(h);
	}
}

struct dial_hosts *dial_hosts_new(const struct dial_hosts_options *options,
				  const struct dial_hosts_events *events, void *arg)
{
	struct dial_hosts *h = memory_zeroed(sizeof(*h));

	h->options = *options;
	h->options.route = transport_route_ref(options->route);
	h->events = events;
	h->arg = arg;
	h->task.run = step;
	return h;
}

void dial_hosts_free(struct dial_hosts *h)
{
	if (!h)
		return;
	transport_mx_cancel(h->mx);
	h->mx = NULL;
	forget_group(h);
	h->is_freed = true;
	go_on(h);
}

void dial_hosts_next(struct dial_hosts *h)
{
	assert(!h->is_waiting);
	h->is_waiting = true;
	go_on(h);
}
