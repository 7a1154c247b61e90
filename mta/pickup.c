/*
 * A round has three steps, which never overlap with those of another: the
 * pool takes files (mta/intake.h), the queue stores their messages, the pool
 * removes the files. What happens meanwhile makes the next round.
 */
#include "mta/pickup.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"
#include "mta/inbound_session.h"
#include "mta/intake.h"
#include "mta/maillog.h"
#include "mta/scheduler.h"
#include "mta/snapshot.h"
#include "net/file_watch.h"

#define LOOK_MS	    1000
#define REST_MS	    20 /* after a round for nothing: whoever makes files all the time makes no load */
#define SWEEP_MS    3600000
#define RETRY_MS    5000  /* what could not be taken */
#define COMPLAIN_MS 60000 /* the same trouble, in the log */

enum pickup_step {
	PICKUP_IDLE,
	PICKUP_COLLECTING,
	PICKUP_STORING,
	PICKUP_REMOVING,
};

struct pickup {
	struct mta_worker *worker;
	struct mta_view *view; /* a reference, during a round */
	struct loop_timer *timer;
	struct file_watch *watch; /* NULL: the directory cannot be watched */
	enum pickup_step step;
	bool is_wanted, is_stopping;
	int64_t recover_ms;  /* on the loop's clock: when to recover; INT64_MAX: not needed */
	int64_t complain_ms; /* from then on trouble is logged again */
	int64_t rest_ms;     /* until then nothing is looked for */
	int64_t sweep_ms;    /* from then on leftovers are looked for again */

	enum intake_kind kind;
	struct intake intake;
	struct storing {
		struct queue_append append;
		struct pickup *pickup;
	} storing[INTAKE_MAX]; /* for each item of the intake */
	unsigned int pending;  /* of storing */
	struct loop_work work;
	int result;
	struct error error;
};

static void look(struct pickup *p);

static int64_t now(const struct pickup *p)
{
	return loop_now_ms(p->worker->loop);
}

static void end_round(struct pickup *p, bool has_more)
{
	mta_view_unref(p->view);
	p->view = NULL;
	p->step = PICKUP_IDLE;
	if ((has_more || p->is_wanted) && !p->is_stopping)
		look(p);
}

/* ---- the third step ---- */

static void remove_files(struct loop_work *work)
{
	struct pickup *p = CONTAINER_OF(work, struct pickup, work);

	intake_remove(p->view->options, &p->intake);
}

static void removed(struct loop_work *work)
{
	struct pickup *p = CONTAINER_OF(work, struct pickup, work);
	bool has_more = p->intake.has_more;

	if (has_more && p->kind == INTAKE_RECOVER)
		p->recover_ms = now(p);
	intake_done(&p->intake);
	end_round(p, has_more);
}

static void start_removing(struct pickup *p)
{
	p->step = PICKUP_REMOVING;
	p->work = (struct loop_work){ .work = remove_files, .done = removed };
	loop_work(p->worker->loop, &p->work);
}

/* ---- the second ---- */

static void store_failed(struct pickup *p, struct intake_item *item, const struct error *err)
{
	p->recover_ms = MIN(p->recover_ms, now(p) + RETRY_MS);
	if (p->intake.has_waited_long)
		log_write(p->view->options->log, "pickup", LOG_LEVEL_ERROR,
			  "cannot store a message: %s; it is tried again", err->text);
	queue_message_free(item->message);
	item->message = NULL;
}

static void stored(struct queue_request *request)
{
	struct queue_append *append = CONTAINER_OF(request, struct queue_append, request);
	struct storing *storing = CONTAINER_OF(append, struct storing, append);
	struct pickup *p = storing->pickup;
	struct intake_item *item = &p->intake.items[storing - p->storing];

	if (request->result < 0) {
		store_failed(p, item, &request->error);
	} else {
		struct queue_message *m = item->message;

		item->is_stored = true;
		item->message = NULL; /* the scheduler's from here on */
		maillog_pickup(p->view->options->log, m, item->uid);
		scheduler_submit(p->worker->scheduler, m);
	}
	if (--p->pending == 0)
		start_removing(p);
}

static void start_storing(struct pickup *p)
{
	p->step = PICKUP_STORING;
	p->pending = p->intake.count;
	for (unsigned int i = 0; i < p->intake.count; i++) {
		struct storing *s = &p->storing[i];

		*s = (struct storing){ .append.message = p->intake.items[i].message, .pickup = p };
		s->append.request.done = stored;
		queue_submit_append(p->worker->port, &s->append);
	}
}

/* ---- the first ---- */

static void collect(struct loop_work *work)
{
	struct pickup *p = CONTAINER_OF(work, struct pickup, work);

	p->result = intake_collect(p->view->options, p->kind, &p->intake, &p->error);
}

static void collected(struct loop_work *work)
{
	struct pickup *p = CONTAINER_OF(work, struct pickup, work);
	bool has_trouble = p->result < 0 || p->intake.has_delay;

	if (has_trouble)
		p->recover_ms = MIN(p->recover_ms, now(p) + RETRY_MS);
	if (p->result < 0 && p->intake.has_waited_long)
		log_write(p->view->options->log, "pickup", LOG_LEVEL_ERROR,
			  "%s; what sendmail leaves there waits%s", p->error.text,
			  p->result == -ENOENT ? ": restart the server, which makes what is missing"
					       : "");
	if (has_trouble && p->intake.has_waited_long)
		p->complain_ms = now(p) + COMPLAIN_MS;
	if (p->result < 0)
		intake_done(&p->intake); /* what was taken is recovered */
	if (p->intake.count == 0)
		p->rest_ms = now(p) + REST_MS;
	if (p->intake.count > 0)
		start_storing(p);
	else
		end_round(p, p->result == 0 && p->intake.has_more);
}

static bool has_room(const struct pickup *p)
{
	const struct mta_options *options = p->worker->options;

	return queue_has_room(options->queue, 0) &&
	       inbound_limits_add_bytes(p->worker->limits, 0) <= options->memory_limit;
}

static void look(struct pickup *p)
{
	bool is_recovery = now(p) >= p->recover_ms;

	if (p->step != PICKUP_IDLE || p->is_stopping) {
		p->is_wanted = true;
		return;
	}
	p->is_wanted = is_recovery; /* and then what is new */
	if (!has_room(p))
		return; /* the timer is there for that */
	if (now(p) < p->rest_ms && !is_recovery) {
		loop_timer_start(p->timer, p->rest_ms - now(p));
		return;
	}
	if (is_recovery)
		p->recover_ms = INT64_MAX;
	p->kind = is_recovery ? INTAKE_RECOVER : INTAKE_NEW;
	p->intake = (struct intake){
		.has_waited_long = now(p) >= p->complain_ms,
		.sweeps = now(p) >= p->sweep_ms,
	};
	if (p->intake.sweeps && !is_recovery)
		p->sweep_ms = now(p) + SWEEP_MS;
	p->view = mta_view_ref(p->worker->view);
	p->step = PICKUP_COLLECTING;
	p->work = (struct loop_work){ .work = collect, .done = collected };
	loop_work(p->worker->loop, &p->work);
}

/* ---- life ---- */

static void on_change(void *arg)
{
	look(arg);
}

static void on_timer(void *arg)
{
	struct pickup *p = arg;

	loop_timer_start(p->timer, LOOK_MS);
	look(p);
}

struct pickup *pickup_new(struct mta_worker *worker)
{
	struct pickup *p;

	if (!worker->options->drop_directory)
		return NULL;
	p = memory_zeroed(sizeof(*p));
	p->worker = worker;
	p->timer = loop_timer_new(worker->loop, on_timer, p);
	return p;
}

void pickup_start(struct pickup *p)
{
	struct error err;

	if (!p)
		return;
	p->recover_ms = p->complain_ms = p->sweep_ms = now(p);
	/* Not every system can; then it takes up to a second. */
	file_watch_new(p->worker->loop, p->worker->options->drop_directory, on_change, p, &p->watch,
		       &err);
	on_timer(p);
}

void pickup_stop(struct pickup *p)
{
	if (!p)
		return;
	p->is_stopping = true;
	loop_timer_stop(p->timer);
}

bool pickup_is_idle(const struct pickup *p)
{
	return !p || p->step == PICKUP_IDLE;
}

void pickup_free(struct pickup *p)
{
	if (!p)
		return;
	assert(p->step == PICKUP_IDLE);
	file_watch_free(p->watch);
	loop_timer_free(p->timer);
	free(p);
}
