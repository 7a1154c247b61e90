/*
 * With no server there, root and the server's own account do the rest of the
 * way as well: what waits in the drop directory is taken into the queue
 * (mta/intake.h), so that `posthouse queue` shows it at once, and what is
 * wrong with an address comes to light now. Others cannot, and need not: a
 * server that starts does the same.
 *
 * The message is safe before any of this begins. So nothing of it is an
 * error: whatever does not work is left to the server.
 */
#include "cli/sendmail.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/memory.h"
#include "cli/ask.h"
#include "cli/generation.h"
#include "cli/offline.h"
#include "cli/privileges.h"
#include "cli/server.h"
#include "mta/intake.h"
#include "mta/maillog.h"

/*
 * Whoever puts in file after file is not to keep root's cron job from ending, nor a server
 * from its start, which needs the queue.
 */
#define ROUNDS_MAX 16

/* Whether we are the server's account, or can become it. */
static bool find_account(const struct config *config, struct privileges *ret)
{
	const char *user = config_value(config, CONFIG_USER);
	struct error err;

	if (!user || privileges_find(user, ret, &err) < 0)
		return false;
	return ret->name || geteuid() == 0 ||
	       access(config_value(config, CONFIG_QUEUE_DIRECTORY), W_OK) == 0;
}

void sendmail_make_directories(const struct sendmail *s)
{
	struct privileges account;
	struct error err;

	if (access(s->to.drop_directory, F_OK) < 0 && errno == ENOENT &&
	    find_account(s->config, &account))
		prepare_directories(&account, s->config, &err);
}

/* ---- one round ---- */

struct round {
	struct offline *offline;
	struct intake intake;
	struct storing {
		struct queue_append append;
		struct round *round;
	} storing[INTAKE_MAX]; /* for each item of the intake */
	unsigned int pending;  /* of storing */
};

static void stored(struct queue_request *request)
{
	struct queue_append *append = CONTAINER_OF(request, struct queue_append, request);
	struct storing *storing = CONTAINER_OF(append, struct storing, append);
	struct round *round = storing->round;
	struct intake_item *item = &round->intake.items[storing - round->storing];

	item->is_stored = request->result == 0;
	if (item->is_stored)
		maillog_pickup(round->offline->log, item->message, item->uid);
	if (--round->pending == 0)
		offline_stop(round->offline);
}

static void store(struct round *round)
{
	round->pending = round->intake.count;
	for (unsigned int i = 0; i < round->intake.count; i++) {
		struct storing *s = &round->storing[i];

		*s = (struct storing){ .append.message = round->intake.items[i].message,
				       .round = round };
		s->append.request.done = stored;
		queue_submit_append(round->offline->port, &s->append);
	}
	if (round->pending > 0)
		offline_run(round->offline);
}

/* Whether there is more, and it makes sense to go on. */
static bool take(struct round *round, const struct mta_options *options, enum intake_kind kind)
{
	bool has_failed, has_more;
	struct error err;

	round->intake = (struct intake){ .has_waited_long = true };
	has_failed = !queue_has_room(options->queue, 0) ||
		     intake_collect(options, kind, &round->intake, &err) < 0;
	if (!has_failed) {
		store(round);
		intake_remove(options, &round->intake);
	}
	for (unsigned int i = 0; i < round->intake.count; i++)
		has_failed = has_failed || !round->intake.items[i].is_stored;
	has_more = round->intake.has_more;
	intake_done(&round->intake);
	return has_more && !has_failed;
}

static void take_all(struct offline *offline, const struct mta_options *options)
{
	struct round *round = memory_zeroed(sizeof(*round));

	round->offline = offline;
	for (unsigned int i = 0; i < ROUNDS_MAX && take(round, options, INTAKE_RECOVER); i++)
		;
	for (unsigned int i = 0; i < ROUNDS_MAX && take(round, options, INTAKE_NEW); i++)
		;
	free(round);
}

/* ---- all of it ---- */

static void work(struct generation *g, struct offline *offline)
{
	struct mta_options shared = { .clock = &clock_system };
	struct error err;

	/* Who called is no operator: the log of a server that writes to its terminal is not his. */
	if (strcmp(config_value(g->config, CONFIG_LOG_DESTINATION), "stderr") == 0)
		offline_done(offline);
	if (offline_open(offline, config_value(g->config, CONFIG_QUEUE_DIRECTORY), &err) < 0)
		return; /* a server has started just now, or a command has it */
	shared.log = offline->log;
	shared.queue = offline->queue;
	if (generation_prepare(g, &shared, NULL, &err) == 0)
		take_all(offline, &g->options);
	offline_close(offline);
}

/* Asked first: opening all that a configuration names is much work, to find the queue in use. */
static bool has_server(const struct config *config)
{
	CLEANUP(control_client_closep) struct control_client *client = ask_try(config);

	return client != NULL;
}

void sendmail_queue(struct config *config)
{
	struct generation *g = generation_new(config);
	struct offline offline = { .log = NULL };
	struct privileges account;
	struct error err;

	if (find_account(config, &account) && !has_server(config)) {
		config_open(config);
		if (!config_has_errors(config) && offline_init(&offline, config, &err) == 0)
			work(g, &offline);
		offline_done(&offline);
	}
	generation_unref(g);
}
