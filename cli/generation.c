/*
 * A renewal of certificates makes another snapshot of the mta, with the
 * contexts that the configuration has now. Those before, and the generation,
 * are held by a retired, until nobody has the old snapshot any more.
 */
#include "cli/generation.h"

#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"

struct retired {
	struct generation *generation; /* a reference */
	struct config_tls *tls;
	struct loop_task free_task;
};

static void run_unref(struct loop_task *task)
{
	generation_unref(CONTAINER_OF(task, struct generation, free_task));
}

struct generation *generation_new(struct config *config)
{
	struct generation *g = memory_zeroed(sizeof(*g));

	list_init(&g->link);
	g->config = config;
	g->references = 1;
	g->free_task.run = run_unref;
	return g;
}

void generation_unref(struct generation *g)
{
	if (!g || --g->references > 0)
		return;
	list_remove(&g->link);
	edge_free(g->edge);
	hub_free(g->hub);
	config_free(g->config);
	arena_done(&g->arena);
	free(g);
}

void generation_release(void *generation)
{
	struct generation *g = generation;

	loop_post(g->loop, &g->free_task);
}

static int make_policy(struct generation *g, struct carrier *carrier, struct error *err)
{
	struct edge_options edge_options;
	struct hub_options hub_options;
	int r;

	if (config_mode(g->config) == CONFIG_EDGE) {
		config_edge_options(g->config, &edge_options);
		edge_options.log = g->options.log;
		edge_options.writing.carrier = carrier;
		r = edge_new(&edge_options, &g->edge, err);
		g->options.policy = &edge_policy;
		g->options.policy_arg = g->edge;
	} else {
		config_hub_options(g->config, &hub_options);
		hub_options.log = g->options.log;
		r = hub_new(&hub_options, &g->hub, err);
		g->options.policy = &hub_policy;
		g->options.policy_arg = g->hub;
	}
	return r;
}

int generation_prepare(struct generation *g, const struct mta_options *shared,
		       struct carrier *carrier, struct error *err)
{
	int r;

	g->options = *shared;
	r = make_policy(g, carrier, err);
	if (r < 0)
		return r;
	g->options.services = g->bindings.services;
	g->options.service_count = g->bindings.count;
	config_mta_options(g->config, &g->options);
	return 0;
}

/* Of a file there is what was read before; a database and Dovecot are asked each time. */
static bool is_read_as_whole(const struct generation *g)
{
	static const char file[] = "passwd-file:";

	return strncmp(config_value(g->config, CONFIG_SMTPD_SASL_PASSDB), file, sizeof(file) - 1) ==
	       0;
}

static void refresh_users(struct generation *g, bool is_told)
{
	struct error err = { 0 };
	int r = edge_refresh(g->edge, &err);

	if (r == MAP_NOT_CHANGED)
		return;
	/* The same trouble every second would bury everything else. */
	if (is_told && r < 0 && strcmp(err.text, g->edge_error.text) != 0)
		log_write(g->options.log, NULL, LOG_LEVEL_ERROR, "smtpd_sasl_passdb: %s%s",
			  err.text,
			  is_read_as_whole(g) ? "; the accounts read before stay in use" : "");
	if (is_told && r == 0)
		log_write(g->options.log, NULL, LOG_LEVEL_INFO,
			  "smtpd_sasl_passdb: has changed and was taken up");
	g->edge_error = err;
}

static void report_nothing(void *arg, const struct config_problem *problem)
{
	(void)arg;
	(void)problem;
}

void generation_refresh(struct generation *g,
			void (*report)(void *arg, const struct config_problem *problem), void *arg)
{
	config_refresh(g->config, report ? report : report_nothing, arg);
	if (g->edge)
		refresh_users(g, report != NULL);
}

static void run_free_retired(struct loop_task *task)
{
	struct retired *r = CONTAINER_OF(task, struct retired, free_task);

	config_tls_free(r->tls);
	generation_unref(r->generation);
	free(r);
}

static void retired_release(void *retired)
{
	struct retired *r = retired;

	loop_post(r->generation->loop, &r->free_task);
}

void generation_renew(struct generation *g, struct mta *mta,
		      void (*report)(void *arg, const struct config_problem *problem), void *arg)
{
	struct config_tls *before = config_renew(g->config, report, arg);
	struct mta_options options = g->options;
	struct error err = { 0 };
	struct retired *r;

	if (!before)
		return;
	config_mta_options(g->config, &options);
	r = memory_zeroed(sizeof(*r));
	r->generation = g;
	r->tls = before;
	r->free_task.run = run_free_retired;
	g->references++;
	if (mta_reload(mta, &options, retired_release, r, &err) == 0) {
		g->options = options;
		config_report_renewal(g->config, before, report, arg);
		return;
	}
	log_write(options.log, NULL, LOG_LEVEL_ERROR,
		  "certificates could not be taken up: %s; those before stay in use", err.text);
	g->references--;
	free(r);
	config_tls_restore(g->config, before);
}
