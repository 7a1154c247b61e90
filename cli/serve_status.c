/*
 * serve_status - what a running server says of itself
 *
 * A line for the server, then one for each next hop and certificate. Next hops
 * are copied while their lock is held, and told afterwards, so thousands of
 * them hold up neither the workers nor the main loop.
 */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "cli/json.h"
#include "cli/server.h"
#include "mta/health.h"

#define HOPS_AT_ONCE 50

struct hop {
	char *next_hop;
	struct health_report report; /* its pointers are not valid any more */
	struct health_passage passage;
	bool has_passed;
};

struct answer {
	struct server *server;
	struct buf hops; /* of struct hop */
	size_t next;
	bool are_certificates_told;
};

static void copy_hop(void *arg, const struct health_report *report)
{
	struct answer *a = arg;
	struct hop hop = { .next_hop = slice_strdup(slice_from(report->next_hop)),
			   .report = *report,
			   .has_passed = report->passage != NULL };

	if (report->passage)
		hop.passage = *report->passage;
	buf_append(&a->hops, &hop, sizeof(hop));
}

static const struct hop *hops_of(const struct answer *a, size_t *ret_count)
{
	struct slice all = buf_slice(&a->hops);

	*ret_count = all.len / sizeof(struct hop);
	return (const void *)all.ptr;
}

static void answer_free(struct answer *a)
{
	size_t count;
	const struct hop *hops = hops_of(a, &count);

	for (size_t i = 0; i < count; i++)
		free(hops[i].next_hop);
	buf_done(&a->hops);
	free(a);
}

static json_t *server_object(struct server *s)
{
	struct mta_connections connections = mta_connections(s->mta);
	struct queue_counts counts;

	queue_counts(s->queue, &counts);
	return json_pack("{s:{s:s, s:s, s:I, s:I, s:i, s:i, s:I, s:I, s:I, s:I}}", "server", "mode",
			 config_value(s->current->config, CONFIG_MODE), "version",
			 POSTHOUSE_VERSION, "pid", (json_int_t)getpid(), "started_ms",
			 (json_int_t)s->started_ms, "connections_in", (int)connections.in,
			 "connections_out", (int)connections.out, "messages",
			 (json_int_t)counts.messages, "recipients", (json_int_t)counts.recipients,
			 "bytes", (json_int_t)counts.bytes, "oldest_ms",
			 (json_int_t)counts.oldest_ms);
}

/* With the names of the ledger. */
static json_t *tls_object(const struct health_passage *p)
{
	const struct tls_facts *t = &p->tls;
	json_t *object = json_object();

	json_object_set_new(object, "level", json_string(tls_level_name(p->level)));
	json_object_set_new(object, "mode", json_string(tls_mode_name(p->mode)));
	json_object_set_new(object, "protocol", json_string(t->protocol ? t->protocol : ""));
	json_object_set_new(object, "cipher", json_string(t->cipher ? t->cipher : ""));
	json_object_set_new(object, "verified", json_boolean(t->verified));
	json_object_set_new(object, "verified_by",
			    json_string(t->verified_by ? t->verified_by : ""));
	json_object_set_new(object, "peer", json_string(p->peer));
	json_object_set_new(object, "peer_name", cli_json_text(t->peer_name));
	json_object_set_new(object, "fingerprint", json_string(t->fingerprint));
	json_object_set_new(object, "pubkey_fingerprint", json_string(t->pubkey_fingerprint));
	json_object_set_new(object, "resumed", json_boolean(t->resumed));
	return object;
}

/*
 * A next hop that was down when the last mail for it was deleted, or got
 * another route: nobody looks whether it still is.
 */
static bool is_forgotten(const struct health_report *r, int64_t now_ms)
{
	return r->is_down && !r->is_used && r->retry_ms <= now_ms;
}

static json_t *hop_object(const struct hop *hop)
{
	const struct health_report *r = &hop->report;
	bool is_stale = is_forgotten(r, clock_wall_ms(&clock_system));
	char enhanced[SMTP_ENHANCED_TEXT_SIZE], text[SMTP_STATUS_TEXT_SIZE + 64];
	json_t *object = json_object();

	json_object_set_new(object, "next_hop", cli_json_text(hop->next_hop));
	json_object_set_new(object, "is_down", json_boolean(r->is_down && !is_stale));
	json_object_set_new(object, "is_stale", json_boolean(is_stale));
	json_object_set_new(object, "down_since_ms", json_integer(r->down_since_ms));
	json_object_set_new(object, "retry_ms", json_integer(r->retry_ms));
	json_object_set_new(object, "last_answer_ms", json_integer(r->last_answer_ms));
	json_object_set_new(object, "last_success_ms", json_integer(r->last_success_ms));
	json_object_set_new(object, "last_error_ms", json_integer(r->last_error_ms));
	if (r->last_error_ms != 0) {
		smtp_status_enhanced_text(&r->last_error, enhanced);
		snprintf(text, sizeof(text), "%s %s", enhanced, r->last_error.text);
		json_object_set_new(object, "last_error", cli_json_text(text));
	}
	if (hop->has_passed) {
		json_object_set_new(object, "tls", tls_object(&hop->passage));
		json_object_set_new(object, "peer_not_after_s",
				    json_integer(hop->passage.tls.not_after_s));
	}
	return json_pack("{s:o}", "next_hop", object);
}

static void tell_certificates(const struct answer *a, struct control_call *call)
{
	int64_t now_s = clock_wall_ms(&clock_system) / 1000;
	size_t count;
	const struct config_certificate *list =
		config_certificates(a->server->current->config, &count);

	for (size_t i = 0; i < count; i++) {
		json_t *object = json_object();

		json_object_set_new(object, "file", cli_json_text(list[i].file));
		json_object_set_new(object, "subject", cli_json_text(list[i].subject));
		json_object_set_new(object, "not_after_s", json_integer(list[i].not_after_s));
		json_object_set_new(object, "days_left",
				    json_integer(config_certificate_days_left(&list[i], now_s)));
		control_call_reply(call, json_pack("{s:o}", "certificate", object));
	}
}

static void tell_alarm(void *arg, const char *next_hop, int64_t since_ms)
{
	struct control_call *call = arg;

	control_call_reply(call,
			   json_pack("{s:{s:o, s:I}}", "alarm", "next_hop", cli_json_text(next_hop),
				     "since_ms", (json_int_t)since_ms));
}

static void tell_problems(const struct answer *a, struct control_call *call)
{
	const char *problem = NULL;

	while (config_next_renewal_problem(a->server->current->config, &problem))
		control_call_reply(call, json_pack("{s:o}", "problem", cli_json_text(problem)));
}

static void more(void *arg, struct control_call *call)
{
	struct answer *a = arg;
	size_t count, end;
	const struct hop *hops = hops_of(a, &count);

	if (!a->are_certificates_told) {
		tell_certificates(a, call);
		tell_problems(a, call);
		alarms_each(watch_alarms(a->server->watch), tell_alarm, call);
	}
	a->are_certificates_told = true;
	end = control_call_is_gone(call) ? count : MIN(a->next + HOPS_AT_ONCE, count);
	for (; a->next < end; a->next++)
		control_call_reply(call, hop_object(&hops[a->next]));
	if (a->next < count)
		return;
	answer_free(a);
	control_call_end(call, NULL);
}

static void run(void *arg, struct control_call *call)
{
	struct answer *a = memory_zeroed(sizeof(*a));

	a->server = arg;
	mta_each_next_hop(a->server->mta, copy_hop, a);
	control_call_reply(call, server_object(a->server));
	control_call_stream(call, more, a);
}

void status_serve(struct server *s)
{
	static const struct control_handler handler = {
		.command = "status",
		.arguments = "",
		.only_looks = true,
		.run = run,
	};

	control_register(serve_control(s->serve), &handler, s);
}
