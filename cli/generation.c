#include "cli/generation.h"

#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"

static void run_free(struct loop_task *task)
{
	generation_free(CONTAINER_OF(task, struct generation, free_task));
}

struct generation *generation_new(struct config *config)
{
	struct generation *g = memory_zeroed(sizeof(*g));

	list_init(&g->link);
	g->config = config;
	g->free_task.run = run_free;
	return g;
}

void generation_free(struct generation *g)
{
	if (!g)
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

static int make_policy(struct generation *g, struct error *err)
{
	struct edge_options edge_options;
	struct hub_options hub_options;
	int r;

	if (config_mode(g->config) == CONFIG_EDGE) {
		config_edge_options(g->config, &edge_options);
		r = edge_new(&edge_options, &g->edge, err);
		g->options.policy = &edge_policy;
		g->options.policy_arg = g->edge;
	} else {
		config_hub_options(g->config, &hub_options);
		r = hub_new(&hub_options, &g->hub, err);
		g->options.policy = &hub_policy;
		g->options.policy_arg = g->hub;
	}
	return r;
}

int generation_prepare(struct generation *g, const struct mta_options *shared, struct error *err)
{
	int r;

	g->options = *shared;
	r = make_policy(g, err);
	if (r < 0)
		return r;
	g->options.services = g->bindings.services;
	g->options.service_count = g->bindings.count;
	config_mta_options(g->config, &g->options);
	return 0;
}

static void refresh_users(struct generation *g, bool is_told)
{
	struct error err = { 0 };
	int r = edge_refresh(g->edge, &err);

	if (r == MAP_NOT_CHANGED)
		return;
	/* The same trouble every second would bury everything else. */
	if (is_told && r < 0 && strcmp(err.text, g->edge_error.text) != 0)
		log_write(g->options.log, NULL, LOG_LEVEL_ERROR, "smtpd_sasl_passdb: %s", err.text);
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
