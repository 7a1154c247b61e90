#include "mta/test_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/listener.h"

struct rig {
	char directory[64];
	struct maps *maps;
	struct clock clock; /* the system's, but for */
	_Atomic int64_t ahead_ms;
	struct mta_options options;
	struct mta_policy policy;
	struct mta_service services[4];
	struct mta_service service; /* that clients connect to */
	int closing_fd;		    /* closed with the next reload; 0: none */
	unsigned int released;
	bool has_small_buffers;
	struct mta *mta;

	int log_fd; /* the reading end */
	pthread_t log_thread;

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct buf log;
	char line[4096]; /* of rig_wait_log() */
	bool is_stopped;
	int local_code;
	unsigned int local_count;
};

/* ---- the gate ---- */

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool closed, failing;
	unsigned int waiting;
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false, 0 };

static int pass_gate(int fd)
{
	bool fail;

	pthread_mutex_lock(&gate.mutex);
	gate.waiting++;
	pthread_cond_broadcast(&gate.changed);
	while (gate.closed)
		pthread_cond_wait(&gate.changed, &gate.mutex);
	gate.waiting--;
	fail = gate.failing;
	pthread_mutex_unlock(&gate.mutex);
	if (!fail)
		return (int)syscall(SYS_fdatasync, fd);
	errno = EIO;
	return -1;
}

/* These come before those of libc, for SQLite too. */
int fdatasync(int fd)
{
	return pass_gate(fd);
}

int fsync(int fd)
{
	return pass_gate(fd);
}

static void set_gate(bool closed, bool failing)
{
	pthread_mutex_lock(&gate.mutex);
	gate.closed = closed;
	gate.failing = failing;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.mutex);
}

void rig_close_gate(void)
{
	set_gate(true, false);
}

void rig_open_gate(void)
{
	set_gate(false, false);
}

void rig_fail_syncs(bool fail)
{
	set_gate(false, fail);
}

static struct timespec deadline(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += RIG_PATIENCE_S;
	return until;
}

void rig_wait_at_gate(void)
{
	struct timespec until = deadline();
	bool in_time = true;

	pthread_mutex_lock(&gate.mutex);
	while (gate.waiting == 0 && in_time)
		in_time = pthread_cond_timedwait(&gate.changed, &gate.mutex, &until) == 0;
	pthread_mutex_unlock(&gate.mutex);
	assert_true(in_time);
}

/* ---- the log ---- */

static void *read_log(void *arg)
{
	struct rig *rig = arg;
	char bytes[65536];
	ssize_t n;

	while ((n = read(rig->log_fd, bytes, sizeof(bytes))) > 0) {
		pthread_mutex_lock(&rig->mutex);
		buf_append(&rig->log, bytes, (size_t)n);
		pthread_cond_broadcast(&rig->changed);
		pthread_mutex_unlock(&rig->mutex);
	}
	return NULL;
}

/* A pipe with a name, so that the log is what it always is: a file. */
static void open_log(struct rig *rig)
{
	char path[128], destination[160];
	struct error err;

	snprintf(path, sizeof(path), "%s/log", rig->directory);
	snprintf(destination, sizeof(destination), "file:%s", path);
	assert_int_equal(mkfifo(path, 0600), 0);
	rig->log_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(rig->log_fd >= 0);
	if (log_open(destination, "rig", &rig->options.log, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(fcntl(rig->log_fd, F_SETFL, 0), 0);
	assert_int_equal(pthread_create(&rig->log_thread, NULL, read_log, rig), 0);
}

/* The first line with the text in it, or NULL; the mutex is held. */
static const char *find_line(struct rig *rig, const char *text, struct slice *rest)
{
	struct slice line;

	while (slice_next_word(rest, "\n", &line)) {
		snprintf(rig->line, sizeof(rig->line), "%.*s", (int)line.len, line.ptr);
		if (strstr(rig->line, text))
			return rig->line;
	}
	return NULL;
}

const char *rig_wait_log(struct rig *rig, const char *text)
{
	struct timespec until = deadline();
	const char *found = NULL;
	bool in_time = true;

	pthread_mutex_lock(&rig->mutex);
	while (in_time) {
		struct slice rest = buf_slice(&rig->log);

		found = find_line(rig, text, &rest);
		if (found)
			break;
		in_time = pthread_cond_timedwait(&rig->changed, &rig->mutex, &until) == 0;
	}
	pthread_mutex_unlock(&rig->mutex);
	if (!found) {
		buf_append(&rig->log, "", 1);
		fail_msg("not in the log: %s\n%s", text, buf_slice(&rig->log).ptr);
	}
	return found;
}

unsigned int rig_count_logged(struct rig *rig, const char *text)
{
	struct slice rest;
	unsigned int count = 0;

	pthread_mutex_lock(&rig->mutex);
	rest = buf_slice(&rig->log);
	while (find_line(rig, text, &rest))
		count++;
	pthread_mutex_unlock(&rig->mutex);
	return count;
}

bool rig_has_logged(struct rig *rig, const char *text)
{
	return rig_count_logged(rig, text) > 0;
}

/* ---- the policy ---- */

static int is_local(void *arg, struct slice domain, struct error *err)
{
	(void)arg;
	(void)err;
	return slice_equal_nocase(domain, SLICE("local")) ? MAP_FOUND : MAP_NOT_FOUND;
}

static void check_sender(void *arg, const struct mta_client *client, const char *sender,
			 struct smtp_status *ret)
{
	(void)arg;
	(void)client;
	(void)sender;
	smtp_status_set(ret, 250, ESC(2, 1, 0), "Ok");
}

static void check_recipient(void *arg, const struct mta_client *client, const char *sender,
			    const char *recipient, struct smtp_status *ret)
{
	(void)arg;
	(void)client;
	(void)sender;
	if (strstr(recipient, "@refused"))
		smtp_status_set(ret, 550, ESC(5, 1, 1), "no such user");
	else
		smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
}

static void deliver(void *arg, const struct mta_local_delivery *deliveries, size_t count)
{
	struct rig *rig = arg;

	pthread_mutex_lock(&rig->mutex);
	rig->local_count += (unsigned int)count;
	pthread_cond_broadcast(&rig->changed);
	while (rig->local_code == 0)
		pthread_cond_wait(&rig->changed, &rig->mutex);
	for (size_t i = 0; i < count; i++)
		smtp_status_set(deliveries[i].ret_status, rig->local_code, ESC(0, 0, 0),
				"the rig says %d", rig->local_code);
	pthread_mutex_unlock(&rig->mutex);
}

void rig_set_local_status(struct rig *rig, int code)
{
	pthread_mutex_lock(&rig->mutex);
	rig->local_code = code;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->mutex);
}

void rig_wait_local(struct rig *rig, unsigned int count)
{
	struct timespec until = deadline();
	bool in_time = true;

	pthread_mutex_lock(&rig->mutex);
	while (rig->local_count < count && in_time)
		in_time = pthread_cond_timedwait(&rig->changed, &rig->mutex, &until) == 0;
	pthread_mutex_unlock(&rig->mutex);
	assert_true(in_time);
}

/* ---- the clock ---- */

static int64_t wall_ms(const struct clock *clock)
{
	const struct rig *rig = CONTAINER_OF(clock, struct rig, clock);

	return clock_wall_ms(&clock_system) + atomic_load(&rig->ahead_ms);
}

static int64_t mono_ms(const struct clock *clock)
{
	(void)clock;
	return clock_mono_ms(&clock_system);
}

void rig_advance(struct rig *rig, int64_t ms)
{
	atomic_fetch_add(&rig->ahead_ms, ms);
}

/* ---- life ---- */

static void open_queue(struct rig *rig)
{
	char path[128];
	struct queue_options options = { .directory = path, .clock = &rig->clock };
	struct error err;

	snprintf(path, sizeof(path), "%s/queue", rig->directory);
	if (queue_open(&options, &rig->options.queue, &err) < 0)
		fail_msg("%s", err.text);
}

static struct maps *open_routes(const char *routes)
{
	struct slice rest = slice_from(routes), line;
	struct buf text = { 0 };
	struct maps *maps = NULL;
	struct error err;

	buf_append_string(&text, "inline:{ ");
	while (slice_next_word(&rest, "\n", &line))
		buf_printf(&text, "{ %.*s }, ", (int)line.len, line.ptr);
	buf_append_string(&text, "}");
	if (maps_open(buf_slice(&text), "/", &maps, &err) < 0)
		fail_msg("%s", err.text);
	buf_done(&text);
	return maps;
}

static void set_options(struct rig *rig)
{
	struct mta_options *o = &rig->options;
	struct tls_context_options tls = { 0 };
	struct error err;

	rig->clock = (struct clock){ wall_ms, mono_ms };
	rig->policy = (struct mta_policy){
		.check_sender = check_sender,
		.check_recipient = check_recipient,
		.is_local = is_local,
		.deliver = deliver,
	};
	*o = (struct mta_options){
		.hostname = "rig.example",
		.origin = "rig.example",
		.mail_name = "Posthouse",
		.clock = &rig->clock,
		.policy = &rig->policy,
		.policy_arg = rig,
		.services = rig->services,
		.workers = 1,
		.message_size_limit = 10 << 20,
		.recipient_limit = 1000,
		.session_timeout_s = RIG_PATIENCE_S,
		.hop_limit = 50,
		.hello = "rig.example",
		.connection_idle_ms = 5000,
		.connection_age_ms = 300000,
		.destination_concurrency = 20,
		.destination_recipients = 50,
		.minimal_backoff_s = 1,
		.maximal_backoff_s = 2,
		.maximal_lifetime_s = 3600,
		.bounce_lifetime_s = 3600,
		.double_bounce_recipient = "postmaster@rig.example",
		.memory_limit = 64 << 20,
		.transport = {
			.transport_maps = rig->maps,
			.default_transport = "error:5.4.6 no route",
			.tls.level = TLS_LEVEL_ENCRYPT,
			.is_local = is_local,
		},
	};
	if (tls_context_new_client(&tls, &o->client_tls, &err) < 0)
		fail_msg("%s", err.text);
}

static void bind_service(struct rig *rig)
{
	struct net_address any;
	struct error err;

	assert_true(net_address_parse(SLICE("127.0.0.1:0"), &any));
	rig->service.fd = listener_bind(&any, &rig->service.address, &err);
	assert_true(rig->service.fd >= 0);
	rig->services[rig->options.service_count++] = rig->service;
}

struct rig *rig_new(const char *format, ...)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	char routes[4096];
	va_list args;

	assert_non_null(rig);
	va_start(args, format);
	vsnprintf(routes, sizeof(routes), format, args);
	va_end(args);

	strcpy(rig->directory, "/tmp/posthouse-rig-XXXXXX");
	assert_non_null(mkdtemp(rig->directory));
	pthread_mutex_init(&rig->mutex, NULL);
	pthread_cond_init(&rig->changed, NULL);
	rig->local_code = 250;
	rig->maps = open_routes(routes);
	set_options(rig);
	open_log(rig);
	open_queue(rig);
	bind_service(rig);
	return rig;
}

struct mta_options *rig_options(struct rig *rig)
{
	return &rig->options;
}

static void on_stopped(void *arg)
{
	struct rig *rig = arg;

	pthread_mutex_lock(&rig->mutex);
	rig->is_stopped = true;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->mutex);
}

void rig_start(struct rig *rig)
{
	struct error err;

	rig->is_stopped = false;
	if (mta_new(&rig->options, &rig->mta, &err) < 0 ||
	    mta_start(rig->mta, on_stopped, rig, &err) < 0)
		fail_msg("%s", err.text);
}

struct old_routes {
	struct rig *rig;
	struct maps *maps;
};

static void on_released(void *arg)
{
	struct old_routes *old = arg;
	struct rig *rig = old->rig;

	maps_free(old->maps);
	free(old);
	pthread_mutex_lock(&rig->mutex);
	rig->released++;
	pthread_cond_broadcast(&rig->changed);
	pthread_mutex_unlock(&rig->mutex);
}

void rig_reload(struct rig *rig, const char *format, ...)
{
	struct old_routes *old = calloc(1, sizeof(*old));
	char routes[4096];
	struct error err;
	va_list args;

	assert_non_null(old);
	va_start(args, format);
	vsnprintf(routes, sizeof(routes), format, args);
	va_end(args);
	*old = (struct old_routes){ rig, rig->maps };
	rig->maps = open_routes(routes);
	rig->options.transport.transport_maps = rig->maps;
	if (mta_reload(rig->mta, &rig->options, on_released, old, &err) < 0)
		fail_msg("%s", err.text);
	if (rig->closing_fd)
		close(rig->closing_fd);
	rig->closing_fd = 0;
}

int rig_try_reload(struct rig *rig, struct error *err)
{
	struct old_routes *old = calloc(1, sizeof(*old));
	int r;

	assert_non_null(old);
	old->rig = rig;
	r = mta_reload(rig->mta, &rig->options, on_released, old, err);
	if (r < 0)
		free(old);
	return r;
}

unsigned int rig_released(struct rig *rig)
{
	unsigned int released;

	pthread_mutex_lock(&rig->mutex);
	released = rig->released;
	pthread_mutex_unlock(&rig->mutex);
	return released;
}

void rig_wait_released(struct rig *rig, unsigned int reloads)
{
	struct timespec until = deadline();
	bool in_time = true;

	pthread_mutex_lock(&rig->mutex);
	while (rig->released < reloads && in_time)
		in_time = pthread_cond_timedwait(&rig->changed, &rig->mutex, &until) == 0;
	pthread_mutex_unlock(&rig->mutex);
	assert_true(in_time);
}

void rig_open_port(struct rig *rig, bool close_others)
{
	if (close_others) {
		assert_int_equal(rig->options.service_count, 1);
		rig->closing_fd = rig->services[0].fd;
		rig->options.service_count = 0;
	}
	bind_service(rig);
}

void rig_stop_begin(struct rig *rig, int64_t grace_ms)
{
	rig_stop_in_turn(rig, grace_ms, grace_ms);
}

void rig_stop_in_turn(struct rig *rig, int64_t grace_ms, int64_t answer_ms)
{
	mta_stop(rig->mta, grace_ms, answer_ms);
}

void rig_stop_wait(struct rig *rig)
{
	struct timespec until = deadline();
	bool in_time = true;

	pthread_mutex_lock(&rig->mutex);
	while (!rig->is_stopped && in_time)
		in_time = pthread_cond_timedwait(&rig->changed, &rig->mutex, &until) == 0;
	pthread_mutex_unlock(&rig->mutex);
	if (!in_time) {
		fprintf(stderr, "the mta does not stop\n%.*s", (int)buf_len(&rig->log),
			buf_slice(&rig->log).ptr);
		abort(); /* its threads would run on into the next test */
	}
	mta_free(rig->mta);
	rig->mta = NULL;
}

void rig_stop(struct rig *rig, int64_t grace_ms)
{
	rig_stop_begin(rig, grace_ms);
	rig_stop_wait(rig);
}

void rig_restart(struct rig *rig)
{
	assert_null(rig->mta);
	queue_close(rig->options.queue);
	open_queue(rig);
	rig_start(rig);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void rig_free(struct rig *rig)
{
	rig_open_gate();
	if (rig->mta)
		rig_stop(rig, 0);
	queue_close(rig->options.queue);
	for (unsigned int i = 0; i < rig->options.service_count; i++)
		close(rig->services[i].fd);
	tls_context_unref(rig->options.client_tls);
	maps_free(rig->maps);
	log_close(rig->options.log);
	pthread_join(rig->log_thread, NULL);
	close(rig->log_fd);
	buf_done(&rig->log);
	nftw(rig->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	pthread_cond_destroy(&rig->changed);
	pthread_mutex_destroy(&rig->mutex);
	free(rig);
}

static int remove_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return kind == FTW_F ? remove(path) : 0;
}

static int truncate_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	return kind == FTW_F ? truncate(path, 0) : 0;
}

static void each_body(struct rig *rig, int (*visit)(const char *path, const struct stat *st,
						    int kind, struct FTW *ftw))
{
	char path[128];

	snprintf(path, sizeof(path), "%s/queue/bodies", rig->directory);
	assert_int_equal(nftw(path, visit, 16, FTW_PHYS), 0);
}

void rig_remove_bodies(struct rig *rig)
{
	each_body(rig, remove_file);
}

void rig_truncate_bodies(struct rig *rig)
{
	each_body(rig, truncate_file);
}

int64_t rig_queued(struct rig *rig)
{
	struct queue_counts counts;

	queue_counts(rig->options.queue, &counts);
	return counts.messages;
}

void rig_wait_queued(struct rig *rig, int64_t messages)
{
	struct timespec until = deadline(), now;

	/* The queue tells nobody; the log line that comes with a change may come before it. */
	do {
		if (rig_queued(rig) == messages)
			return;
		poll(NULL, 0, 1);
		clock_gettime(CLOCK_REALTIME, &now);
	} while (now.tv_sec < until.tv_sec);
	fail_msg("%lld messages are queued, expected %lld", (long long)rig_queued(rig),
		 (long long)messages);
}

struct mta *rig_mta(struct rig *rig)
{
	return rig->mta;
}

/* ---- clients ---- */

static void set_small_buffers(int fd)
{
	int size = 4096;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

void rig_set_small_buffers(struct rig *rig)
{
	set_small_buffers(rig->service.fd); /* connections inherit them */
	rig->has_small_buffers = true;
}

int client_connect(struct rig *rig)
{
	const struct net_address *address = &rig->service.address;
	struct timeval patience = { .tv_sec = RIG_PATIENCE_S };
	int fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (rig->has_small_buffers)
		set_small_buffers(fd);
	assert_int_equal(connect(fd, &address->sa, address->len), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

void client_send_bytes(int fd, const void *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

void client_send(int fd, const char *text)
{
	client_send_bytes(fd, text, strlen(text));
}

/* Byte by byte: what follows stays in the socket for the next call. */
static bool read_line(int fd, char *out, size_t size)
{
	size_t len = 0;

	while (len + 1 < size && recv(fd, out + len, 1, 0) == 1)
		if (out[len++] == '\n') {
			out[len] = '\0';
			return true;
		}
	out[len] = '\0';
	return false;
}

const char *client_expect(int fd, const char *start)
{
	static _Thread_local char line[2048];

	do {
		if (!read_line(fd, line, sizeof(line)))
			fail_msg("expected %s, got \"%s\" and the end", start, line);
	} while (line[3] == '-');
	if (strncmp(line, start, strlen(start)) != 0)
		fail_msg("expected %s, got %s", start, line);
	return line;
}

void client_expect_end(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, 0), 0);
	close(fd);
}

void client_begin(int fd, const char *recipients)
{
	struct slice rest = slice_from(recipients), word;
	char line[512];

	client_expect(fd, "220 ");
	client_send(fd, "EHLO client.example\r\n");
	client_expect(fd, "250 ");
	client_send(fd, "MAIL FROM:<alice@client.example>\r\n");
	client_expect(fd, "250 ");
	while (slice_next_word(&rest, " ", &word)) {
		snprintf(line, sizeof(line), "RCPT TO:<%.*s>\r\n", (int)word.len, word.ptr);
		client_send(fd, line);
		client_expect(fd, "250 ");
	}
	client_send(fd, "DATA\r\n");
	client_expect(fd, "354 ");
}

void rig_submit(struct rig *rig, const char *recipients)
{
	int fd = client_connect(rig);

	client_begin(fd, recipients);
	client_send(fd, "Subject: a test\r\n\r\nhello\r\n.\r\n");
	client_expect(fd, "250 2.0.0 Ok: queued as ");
	client_send(fd, "QUIT\r\n");
	client_expect(fd, "221 ");
	client_expect_end(fd);
}

void rig_submit_large(struct rig *rig, const char *recipients, size_t size)
{
	static const char line[] =
		"01234567890123456789012345678901234567890123456789012345678901\r\n";
	struct buf text = { 0 };
	int fd = client_connect(rig);

	buf_append_string(&text, "Subject: a large test\r\n\r\n");
	while (buf_len(&text) < size)
		buf_append(&text, line, sizeof(line) - 1);
	buf_append_string(&text, ".\r\n");
	client_begin(fd, recipients);
	client_send_bytes(fd, buf_slice(&text).ptr, buf_len(&text));
	buf_done(&text);
	client_expect(fd, "250 2.0.0 Ok: queued as ");
	close(fd);
}
