/* test_operator - see test_operator.h */
#include "mta/test_operator.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* The rig's own port: requests are made one at a time, and waited for. */
struct operator
{
	struct queue_port *port;
	int fds[2];
};

static void operator_wake(void *arg)
{
	struct operator* o = arg;

	assert_int_equal(write(o->fds[1], "", 1), 1);
}

static void operator_done(struct queue_request *request)
{
	request->done = NULL;
}

static void operator_begin(struct operator* o, struct rig *rig)
{
	assert_int_equal(pipe2(o->fds, O_CLOEXEC), 0);
	o->port = queue_port_new(rig_options(rig)->queue, operator_wake, o);
}

static void operator_end(struct operator* o, struct queue_request *request)
{
	char byte;

	while (request->done) {
		assert_int_equal(read(o->fds[0], &byte, 1), 1);
		queue_port_dispatch(o->port);
	}
	assert_int_equal(request->result, 0);
	queue_port_free(o->port);
	close(o->fds[0]);
	close(o->fds[1]);
}

void operator_act(struct rig *rig, enum queue_action_kind kind, const char *recipient)
{
	const struct queue_filter filter = { .recipient = recipient };
	struct queue_action action = {
		.request.done = operator_done,
		.kind = kind,
		.filter = &filter,
	};
	struct operator o;

	operator_begin(&o, rig);
	queue_submit_action(o.port, &action);
	operator_end(&o, &action.request);
	assert_int_equal(action.recipients, 1);
}

static size_t count_claimed(struct rig *rig)
{
	struct queue_active active = { .request.done = operator_done };
	struct operator o;

	operator_begin(&o, rig);
	queue_submit_active(o.port, &active);
	operator_end(&o, &active.request);
	free(active.ids);
	return active.id_count;
}

void operator_wait_unclaimed(struct rig *rig)
{
	int64_t until_ms = clock_mono_ms(&clock_system) + RIG_PATIENCE_S * 1000;

	/* The queue tells nobody. */
	while (count_claimed(rig) > 0) {
		assert_true(clock_mono_ms(&clock_system) < until_ms);
		poll(NULL, 0, 1);
	}
}
