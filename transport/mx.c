/*
 * mx - one question, or none; then an answer is made of what came
 *
 * The user is called from a deferred task where there is no question.
 */
#include "transport/mx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/macros.h"
#include "base/memory.h"
#include "transport/dane.h"

struct transport_mx {
	const struct transport_route *route; /* a reference */
	const struct transport_hop *hop;
	void (*found)(void *arg, const struct transport_hosts *hosts);
	void *arg;
	struct dns_query *query; /* NULL: task answers */
	struct loop_task task;
	bool is_answering;
};

bool transport_is_own_domain(const struct transport_route *route)
{
	return route->kind == TRANSPORT_SMTP && route->nexthop[0] == '\0';
}

static void mx_free(struct transport_mx *mx)
{
	loop_defer_cancel(&mx->task);
	transport_route_unref(mx->route);
	free(mx);
}

static void report(struct transport_mx *mx, const struct transport_hosts *hosts)
{
	mx->is_answering = true;
	mx->found(mx->arg, hosts);
	mx_free(mx);
}

static void report_hop(struct transport_mx *mx, bool is_secure)
{
	const struct transport_host host = { .name = mx->hop->host };
	const struct transport_hosts hosts = {
		.outcome = TRANSPORT_HOSTS_FOUND,
		.hosts = &host,
		.count = 1,
		.is_secure = is_secure,
	};

	report(mx, &hosts);
}

static void report_none(struct transport_mx *mx, enum transport_hosts_outcome outcome,
			const char *reason)
{
	const struct transport_hosts hosts = { .outcome = outcome, .reason = reason };

	report(mx, &hosts);
}

/* ---- order ---- */

static void swap(struct transport_host *a, struct transport_host *b)
{
	struct transport_host other = *a;

	*a = *b;
	*b = other;
}

/* Load is spread over equals (RFC 5321 section 5.1): chance decides, where sorting leaves them. */
static void shuffle(struct transport_host *hosts, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		unsigned int random = 0;

		(void)!getrandom(&random, sizeof(random),
				 0); /* without chance it is an order, too */
		swap(&hosts[i - 1], &hosts[random % i]);
	}
}

/* Stable, and there are few. */
static void sort(struct transport_host *hosts, size_t count)
{
	for (size_t i = 1; i < count; i++)
		for (size_t j = i; j > 0 && hosts[j].preference < hosts[j - 1].preference; j--)
			swap(&hosts[j], &hosts[j - 1]);
}

/*
 * What stands in DNS goes into logs and names of certificates. This leaves out
 * nothing that anybody could be reached by, an underscore or an address included.
 */
static bool is_host(const char *name)
{
	static const char valid[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_.:";

	return name[0] != '\0' && strlen(name) < 256 && strspn(name, valid) == strlen(name);
}

static void report_records(struct transport_mx *mx, const struct dns_mx_answer *answer)
{
	struct transport_host *hosts = memory_new(answer->count * sizeof(*hosts));
	struct transport_hosts found = {
		.outcome = TRANSPORT_HOSTS_FOUND,
		.hosts = hosts,
		.is_secure = answer->is_secure,
	};
	bool has_null = false;
	char reason[400];

	for (size_t i = 0; i < answer->count; i++) {
		const struct dns_mx *record = &answer->records[i];

		has_null |= record->exchange[0] == '\0';
		if (is_host(record->exchange))
			hosts[found.count++] = (struct transport_host){
				.name = record->exchange,
				.preference = record->preference,
			};
	}
	if (found.count == 0 && !has_null) {
		snprintf(reason, sizeof(reason), "%s: no MX record has the name of a host",
			 mx->hop->host);
		report_none(mx, TRANSPORT_HOSTS_FAILED, reason);
	} else if (found.count == 0) {
		snprintf(reason, sizeof(reason), "%s: domain does not accept mail (null MX)",
			 mx->hop->host);
		report_none(mx, TRANSPORT_HOSTS_NULL_MX, reason);
	} else {
		shuffle(hosts, found.count);
		sort(hosts, found.count);
		report(mx, &found);
	}
	free(hosts);
}

/*
 * That a name does not exist is believed of the recipient's domain. A name
 * that the operator has written is asked for its addresses all the same: some
 * servers, those of containers for one, know nothing else of names.
 */
static void on_mx(void *arg, const struct dns_mx_answer *answer)
{
	struct transport_mx *mx = arg;

	mx->query = NULL;
	if (answer->outcome == DNS_FOUND)
		report_records(mx, answer);
	else if (answer->outcome == DNS_FAILED)
		report_none(mx, TRANSPORT_HOSTS_FAILED, answer->reason);
	else if (answer->is_name_unknown && transport_is_own_domain(mx->route))
		report_none(mx, TRANSPORT_HOSTS_NO_DOMAIN, answer->reason);
	else
		report_hop(mx, answer->is_secure);
}

static void run(struct loop_task *task)
{
	report_hop(CONTAINER_OF(task, struct transport_mx, task), true);
}

struct transport_mx *
transport_find_hosts(struct dns *dns, const struct transport_route *route,
		     const struct transport_hop *hop,
		     void (*found)(void *arg, const struct transport_hosts *hosts), void *arg)
{
	struct transport_mx *mx = memory_zeroed(sizeof(*mx));

	mx->route = transport_route_ref(route);
	mx->hop = hop;
	mx->found = found;
	mx->arg = arg;
	mx->task.run = run;
	if (!hop->mx || (!transport_is_own_domain(route) && dns_is_in_hosts_file(dns, hop->host)))
		loop_defer(dns_loop(dns), &mx->task);
	else
		mx->query = dns_mx(dns, hop->host, transport_is_dane(route), on_mx, mx);
	return mx;
}

void transport_mx_cancel(struct transport_mx *mx)
{
	if (!mx || mx->is_answering)
		return;
	dns_cancel(mx->query);
	mx_free(mx);
}
