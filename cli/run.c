/*
 * posthouse run - a server in the foreground
 *
 * What needs privileges comes first: keys, ports, directories, the log file.
 * Then they are given away, and the queue, the policy and the workers are made
 * as the account that they run under. The main thread keeps a loop of its own
 * for signals and for looking, every second, whether files have changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "cli/server.h"

#define REFRESH_MS 1000

/*
 * Stopping. What is cut off early can lose nothing and double nothing, so a
 * few seconds are enough for it; the answer to a message that was sent is
 * worth more. Both together are less than the ten seconds after which
 * `docker stop` and the like lose patience and kill.
 */
#define STOP_GRACE_MS  4000
#define STOP_ANSWER_MS 8000

#define POOL_THREADS  "16" /* they wait for disks more than they compute */
#define PID_FILE_MODE 0644

#define QUEUE_TRIES    20
#define QUEUE_PAUSE_NS 50000000

void server_log_problem(void *arg, const struct config_problem *problem)
{
	static const enum log_level levels[] = {
		[CONFIG_ERROR] = LOG_LEVEL_ERROR,
		[CONFIG_WARNING] = LOG_LEVEL_WARNING,
		[CONFIG_NOTICE] = LOG_LEVEL_INFO,
	};
	struct server *s = arg;

	log_write(s->log, NULL, levels[problem->severity], "%s:%u: %s", problem->file,
		  problem->line, problem->text);
}

void server_refresh(struct server *s)
{
	LIST_FOREACH (item, &s->generations) {
		struct generation *g = CONTAINER_OF(item, struct generation, link);

		generation_refresh(g, g == s->current ? server_log_problem : NULL, s);
	}
}

/* A command's outcome depends on maps that may have changed just now. */
static void on_refresh_wanted(void *arg)
{
	server_refresh(arg);
}

static void on_refresh_timer(void *arg)
{
	struct server *s = arg;

	server_refresh(s);
	if (!s->is_stopping)
		generation_renew(s->current, s->mta, server_log_problem, s);
	expiry_look(&s->expiry, s->current->config, server_log_problem, s);
	ledger_note_write(&s->ledger_note, s->queue, s->log, false);
	watch_look(s->watch);
	loop_timer_start(s->refresh_timer, REFRESH_MS);
}

static void on_hangup(void *arg, int signum)
{
	struct server *s = arg;
	struct error err = { 0 };

	(void)signum;
	if (log_reopen(s->log, &err) < 0)
		log_write(s->log, NULL, LOG_LEVEL_ERROR, "log_destination: %s", err.text);
	reload_now(s);
}

static void on_stop(void *arg, int signum)
{
	struct server *s = arg;

	log_write(s->log, NULL, LOG_LEVEL_INFO, "%s: %s", strsignal(signum),
		  s->is_stopping ? "stopping at once" : "stopping");
	mta_stop(s->mta, s->is_stopping ? 0 : STOP_GRACE_MS, s->is_stopping ? 0 : STOP_ANSWER_MS);
	if (!s->is_stopping) {
		/* The workers have duplicates; with ours open, clients could still queue up. */
		bind_close(&s->current->bindings, NULL);
		s->are_services_closed = true;
	}
	s->is_stopping = true;
}

/* From a worker's thread. */
static void on_stopped(void *arg)
{
	struct server *s = arg;

	loop_stop(s->loop);
}

static void on_queue_warning(void *arg, const char *text)
{
	struct server *s = arg;

	log_write(s->log, "qmgr", LOG_LEVEL_WARNING, "%s", text);
}

/* As many connections as the system lets us have. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int write_pid_file(struct server *s, struct error *err)
{
	char *path = arena_printf(&s->arena, "%s/posthouse.pid",
				  config_value(s->current->config, CONFIG_RUN_DIRECTORY));
	CLEANUP(close_fdp) int fd = -1;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, PID_FILE_MODE);
	if (fd < 0 || fchmod(fd, PID_FILE_MODE) < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	s->pid_file = path;
	return 0;
}

static int open_queue(struct server *s, struct error *err)
{
	struct queue_options options = {
		.clock = &clock_system,
		.warn = on_queue_warning,
		.warn_arg = s,
	};
	const struct timespec pause = { .tv_nsec = QUEUE_PAUSE_NS };
	unsigned int tries = 0;
	int r;

	config_queue_options(s->current->config, &options);
	/* A command that works on the queue while no server runs has it for a moment. */
	do
		r = queue_open(&options, &s->queue, err);
	while (r == -EBUSY && tries++ < QUEUE_TRIES && nanosleep(&pause, NULL) == 0);
	if (r == 0)
		queue_keep_ledger(s->queue, config_ledger_lifetime_s(s->current->config));
	return r;
}

/* While nobody is there to be called, they must wait rather than kill us. */
static void let_wait(int how, const int *signals, size_t count)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < count; i++)
		sigaddset(&set, signals[i]);
	sigprocmask(how, &set, NULL);
}

static const int hangup[] = { SIGHUP }, all_signals[] = { SIGHUP, SIGTERM, SIGINT };

static int make_loop(struct server *s, struct error *err)
{
	int r = loop_new(&s->loop, err);

	if (r == 0)
		r = loop_signal_new(s->loop, SIGTERM, on_stop, s, &s->signals[0], err);
	if (r == 0)
		r = loop_signal_new(s->loop, SIGINT, on_stop, s, &s->signals[1], err);
	if (r == 0)
		r = loop_signal_new(s->loop, SIGHUP, on_hangup, s, &s->signals[2], err);
	let_wait(SIG_UNBLOCK, hangup, ARRAY_SIZE(hangup));
	if (r == 0)
		s->refresh_timer = loop_timer_new(s->loop, on_refresh_timer, s);
	return r;
}

/* The mta's threads run after this only, so whatever fails here has cost nothing. */
static int open_control(struct server *s, struct error *err)
{
	struct serve_options options = {
		.run_directory = arena_strdup(&s->arena, config_value(s->current->config,
								      CONFIG_RUN_DIRECTORY)),
		.log = s->log,
		.queue = s->queue,
		.mta = s->mta,
		.refresh = on_refresh_wanted,
		.arg = s,
	};

	int r = serve_new(s->loop, &options, &s->serve, err);

	if (r == 0) {
		s->watch = watch_new(s);
		reload_serve(s);
		status_serve(s);
	}
	return r;
}

static int start(struct server *s, struct error *err)
{
	struct mta_options shared = { .clock = &clock_system };
	int r;

	s->started_ms = clock_wall_ms(&clock_system);
	umask(0077); /* mail is nobody else's business */
	r = open_queue(s, err);
	if (r == 0)
		r = make_loop(s, err);
	if (r < 0)
		return r;
	shared.log = s->log;
	shared.queue = s->queue;
	s->current->loop = s->loop;
	r = generation_prepare(s->current, &shared, s->carrier, err);
	if (r == 0)
		r = mta_new(&s->current->options, &s->mta, err);
	if (r == 0)
		r = open_control(s, err);
	if (r == 0)
		r = write_pid_file(s, err); /* now that nobody else has the run_directory */
	return r == 0 ? mta_start(s->mta, on_stopped, s, err) : r;
}

static void log_ready(struct server *s)
{
	struct buf listeners = { 0 };

	bind_format(&listeners, &s->current->bindings);
	log_write(s->log, NULL, LOG_LEVEL_INFO, "ready: mode=%s version=%s listen=%.*s",
		  config_value(s->current->config, CONFIG_MODE), POSTHOUSE_VERSION,
		  (int)buf_len(&listeners), buf_slice(&listeners).ptr);
	buf_done(&listeners);
}

static void log_warnings(struct server *s)
{
	const struct config *config = s->current->config;

	for (size_t i = 0; i < config_problem_count(config); i++)
		server_log_problem(s, config_problem_at(config, i));
}

/* In the reverse order of start(); what was not made is NULL. */
static void release(struct server *s)
{
	serve_free(s->serve);
	watch_stop(s->watch);
	mta_free(s->mta);
	/* For good: whoever still hurries us gets an orderly end. No other thread takes them. */
	let_wait(SIG_BLOCK, all_signals, ARRAY_SIZE(all_signals));
	for (size_t i = 0; i < ARRAY_SIZE(s->signals); i++)
		loop_signal_free(s->signals[i]);
	loop_timer_free(s->refresh_timer);
	if (s->loop)
		loop_free(s->loop);
	watch_free(s->watch);
	if (s->queue)
		queue_close(s->queue);
	if (s->pid_file)
		unlink(s->pid_file);
	if (!s->are_services_closed)
		bind_close(&s->current->bindings, NULL);
	generation_unref(s->current); /* those before it went with the loop */
	carrier_stop(s->carrier);
	log_close(s->log);
	arena_done(&s->arena);
}

/* The log may go elsewhere; whoever started us looks at standard error. */
static int fail(struct server *s, const struct error *err)
{
	if (s->log &&
	    strcmp(config_value(s->current->config, CONFIG_LOG_DESTINATION), "stderr") != 0)
		log_write(s->log, NULL, LOG_LEVEL_FATAL, "%s", err->text);
	return cli_fail(err);
}

int cli_run(const struct cli *cli, int argc, char **argv)
{
	struct server server = { .config_file = cli->config_file }, *s = &server;
	struct error err = { 0 };
	int code = CLI_DONE;

	if (cli_arguments(argc, argv, NULL, 0, 0, 0) < 0)
		return CLI_USAGE;
	setenv("UV_THREADPOOL_SIZE", POOL_THREADS, 0);
	signal(SIGPIPE, SIG_IGN);
	let_wait(SIG_BLOCK, hangup, ARRAY_SIZE(hangup));
	raise_file_limit();

	list_init(&s->generations);
	s->current = generation_new(config_load(s->config_file));
	list_push(&s->generations, &s->current->link);
	config_open(s->current->config);
	if (config_has_errors(s->current->config)) {
		cli_print_errors(s->current->config);
		code = CLI_CONFIG;
	} else if (prepare_as_root(s, &err) < 0 || start(s, &err) < 0) {
		code = fail(s, &err);
	} else {
		log_ready(s); /* first: supervisors wait for it */
		log_warnings(s);
		expiry_init(&s->expiry, &clock_system);
		watch_look(s->watch);
		ledger_note_write(&s->ledger_note, s->queue, s->log, true);
		loop_timer_start(s->refresh_timer, REFRESH_MS);
		loop_run(s->loop);
		ledger_note_write(&s->ledger_note, s->queue, s->log, true);
		log_write(s->log, NULL, LOG_LEVEL_INFO, "stopped");
	}
	release(s);
	return code;
}
