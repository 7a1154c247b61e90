#include "mta/test_peer.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "mta/test_rig.h"

#define CONNECTIONS_MAX 256

struct connection {
	struct peer *peer;
	const char *script;
	pthread_t thread;
	int fd; /* -1: closed */
	struct buf input;
};

struct peer {
	const char *const *scripts;
	const char *only_script;
	unsigned int script_count;
	int listener;
	uint16_t port;
	pthread_t thread;

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct connection connections[CONNECTIONS_MAX];
	unsigned int count, messages;
	unsigned int let_go; /* calls of peer_let_go() */
	bool closing;
	struct buf seen;
	bool may_be_idle;  /* QUIT instead of MAIL is no departure */
	char trouble[512]; /* the first departure from a script */
};

static void changed(struct peer *p)
{
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
}

/* More input; false at its end. */
static bool receive(struct connection *c)
{
	char bytes[65536];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

	if (n <= 0)
		return false;
	buf_append(&c->input, bytes, (size_t)n);
	pthread_mutex_lock(&c->peer->mutex);
	buf_append(&c->peer->seen, bytes, (size_t)n);
	changed(c->peer);
	return true;
}

static bool read_line(struct connection *c, char *out, size_t size)
{
	struct slice input = buf_slice(&c->input);
	size_t n;

	while ((n = slice_find(input, '\n')) == input.len) {
		if (!receive(c))
			return false;
		input = buf_slice(&c->input);
	}
	snprintf(out, size, "%.*s", (int)slice_trim(slice_first(input, n)).len, input.ptr);
	buf_consume(&c->input, n + 1);
	return true;
}

static void trouble(struct connection *c, const char *step, const char *got)
{
	struct peer *p = c->peer;

	pthread_mutex_lock(&p->mutex);
	if (!p->trouble[0] && !p->closing)
		snprintf(p->trouble, sizeof(p->trouble), "\"%.100s\": got \"%.300s\"", step, got);
	changed(p);
}

static bool expect_line(struct connection *c, const char *wanted, const char *step)
{
	char line[1024];

	if (!read_line(c, line, sizeof(line))) {
		trouble(c, step, "(end)");
		return false;
	}
	if (strncmp(line, wanted, strlen(wanted)) == 0)
		return true;
	if (!c->peer->may_be_idle || strcmp(line, "QUIT") != 0 || strncmp(wanted, "MAIL", 4) != 0)
		trouble(c, step, line);
	return false;
}

static bool read_message(struct connection *c)
{
	char line[1024];

	do {
		if (!read_line(c, line, sizeof(line))) {
			trouble(c, "B", "(end)");
			return false;
		}
	} while (strcmp(line, ".") != 0);
	pthread_mutex_lock(&c->peer->mutex);
	c->peer->messages++;
	changed(c->peer);
	return true;
}

static bool read_chunk(struct connection *c, const char *step)
{
	char line[1024];
	unsigned long len;

	if (!read_line(c, line, sizeof(line)) || sscanf(line, "BDAT %lu", &len) != 1) {
		trouble(c, step, "something else");
		return false;
	}
	while (buf_len(&c->input) < len)
		if (!receive(c))
			return false;
	buf_consume(&c->input, len);
	pthread_mutex_lock(&c->peer->mutex);
	c->peer->messages += strstr(line, " LAST") != NULL;
	changed(c->peer);
	return true;
}

static bool wait_to_go_on(struct peer *p, unsigned int calls)
{
	pthread_mutex_lock(&p->mutex);
	while (p->let_go < calls && !p->closing)
		pthread_cond_wait(&p->changed, &p->mutex);
	pthread_mutex_unlock(&p->mutex);
	return true;
}

static bool send_bytes(struct connection *c, struct slice bytes)
{
	return send(c->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL) == (ssize_t)bytes.len;
}

static bool send_line(struct connection *c, const char *text)
{
	struct buf line = { 0 };
	bool sent;

	buf_printf(&line, "%s\r\n", text);
	sent = send_bytes(c, buf_slice(&line));
	buf_done(&line);
	return sent;
}

/* In one segment. */
static bool send_lines(struct connection *c, const char *text)
{
	struct buf lines = { 0 };
	bool sent;

	for (; *text; text++)
		buf_append(&lines, *text == '|' ? "\r\n" : text, *text == '|' ? 2 : 1);
	sent = send_bytes(c, buf_slice(&lines));
	buf_done(&lines);
	return sent;
}

static bool take_mail(struct connection *c)
{
	char line[1024];

	while (read_line(c, line, sizeof(line))) {
		if (strncmp(line, "QUIT", 4) == 0)
			return send_line(c, "221 bye");
		if (strncmp(line, "DATA", 4) == 0 && (!send_line(c, "354 go") || !read_message(c)))
			return false;
		if (!send_line(c, "250 ok"))
			return false;
	}
	return false;
}

static bool reset(struct connection *c)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	return false;
}

static bool play_step(struct connection *c, const char *step)
{
	const char *text = step[1] ? step + 2 : "";

	switch (step[0]) {
	case 'S':
		return send_line(c, text);
	case 's':
		return send_lines(c, text);
	case 'C':
		return expect_line(c, text, step);
	case 'B':
		return read_message(c);
	case 'K':
		return read_chunk(c, step);
	case 'T':
		return wait_to_go_on(c->peer, 1);
	case 'W':
		return wait_to_go_on(c->peer, 2);
	case '*':
		return take_mail(c);
	case 'H':
		while (receive(c))
			;
		return false;
	default:
		return reset(c);
	}
}

static void *play(void *arg)
{
	struct connection *c = arg;
	struct slice rest = slice_from(c->script), line;
	char step[4096];

	while (slice_next_word(&rest, "\n", &line) && slice_copy(line, step, sizeof(step)) &&
	       play_step(c, step))
		;
	pthread_mutex_lock(&c->peer->mutex);
	close(c->fd);
	c->fd = -1;
	changed(c->peer);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct peer *p = arg;
	int fd;

	while ((fd = accept(p->listener, NULL, NULL)) >= 0) {
		unsigned int i = p->count;
		struct connection *c = &p->connections[i];

		if (i == CONNECTIONS_MAX) {
			close(fd);
			continue;
		}
		*c = (struct connection){ .peer = p, .fd = fd };
		c->script = p->scripts[i < p->script_count ? i : p->script_count - 1];
		pthread_mutex_lock(&p->mutex);
		p->count++;
		pthread_create(&c->thread, NULL, play, c);
		changed(p);
	}
	return NULL;
}

struct peer *peer_new(const char *const *scripts, unsigned int count)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	struct peer *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->scripts = scripts;
	p->script_count = count;
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->changed, NULL);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(p->listener, 128), 0);
	assert_int_equal(getsockname(p->listener, (struct sockaddr *)&address, &len), 0);
	p->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&p->thread, NULL, accept_all, p), 0);
	return p;
}

struct peer *peer_play(const char *script)
{
	const char **scripts = malloc(sizeof(*scripts));
	struct peer *p;

	scripts[0] = script;
	p = peer_new(scripts, 1);
	p->only_script = script;
	return p;
}

void peer_allow_idle(struct peer *p)
{
	p->may_be_idle = true;
}

uint16_t peer_port(const struct peer *p)
{
	return p->port;
}

void peer_free(struct peer *p)
{
	char text[512];

	if (!p)
		return;
	pthread_mutex_lock(&p->mutex);
	p->closing = true;
	changed(p);
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
	for (unsigned int i = 0; i < p->count; i++) {
		pthread_mutex_lock(&p->mutex);
		if (p->connections[i].fd >= 0)
			shutdown(p->connections[i].fd, SHUT_RDWR);
		pthread_mutex_unlock(&p->mutex);
		pthread_join(p->connections[i].thread, NULL);
		buf_done(&p->connections[i].input);
	}
	snprintf(text, sizeof(text), "%s", p->trouble);
	if (p->only_script)
		free((void *)p->scripts);
	buf_done(&p->seen);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->mutex);
	free(p);
	if (text[0])
		fail_msg("a peer's script was not followed: %s", text);
}

void peer_let_go(struct peer *p)
{
	pthread_mutex_lock(&p->mutex);
	p->let_go++;
	changed(p);
}

void peer_set_small_buffers(struct peer *p)
{
	int size = 4096;

	setsockopt(p->listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

/* Until the condition, which is asked after each change, holds. */
static void wait_until(struct peer *p, bool (*holds)(const struct peer *p, const void *arg),
		       const void *arg, const char *what)
{
	struct timespec until;
	bool in_time = true;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += RIG_PATIENCE_S;
	pthread_mutex_lock(&p->mutex);
	while (!holds(p, arg) && in_time)
		in_time = pthread_cond_timedwait(&p->changed, &p->mutex, &until) == 0;
	pthread_mutex_unlock(&p->mutex);
	if (!in_time)
		fail_msg("a peer waited in vain for %s", what);
}

static bool has_connections(const struct peer *p, const void *arg)
{
	return p->count >= *(const unsigned int *)arg;
}

static bool has_ends(const struct peer *p, const void *arg)
{
	unsigned int ends = 0;

	for (unsigned int i = 0; i < p->count; i++)
		ends += p->connections[i].fd < 0;
	return ends >= *(const unsigned int *)arg;
}

static bool has_messages(const struct peer *p, const void *arg)
{
	return p->messages >= *(const unsigned int *)arg;
}

static bool has_text(const struct peer *p, const void *arg)
{
	struct slice seen = buf_slice(&p->seen);
	const char *text = arg;

	return seen.len > 0 && memmem(seen.ptr, seen.len, text, strlen(text));
}

void peer_wait_connections(struct peer *p, unsigned int count)
{
	wait_until(p, has_connections, &count, "connections");
}

void peer_wait_ends(struct peer *p, unsigned int count)
{
	wait_until(p, has_ends, &count, "ends");
}

void peer_wait_messages(struct peer *p, unsigned int count)
{
	wait_until(p, has_messages, &count, "messages");
}

static unsigned int get(struct peer *p, const unsigned int *what)
{
	unsigned int n;

	pthread_mutex_lock(&p->mutex);
	n = *what;
	pthread_mutex_unlock(&p->mutex);
	return n;
}

unsigned int peer_connections(struct peer *p)
{
	return get(p, &p->count);
}

unsigned int peer_messages(struct peer *p)
{
	return get(p, &p->messages);
}

bool peer_has_seen(struct peer *p, const char *text)
{
	bool found;

	pthread_mutex_lock(&p->mutex);
	found = has_text(p, text);
	pthread_mutex_unlock(&p->mutex);
	return found;
}

void peer_wait_seen(struct peer *p, const char *text)
{
	wait_until(p, has_text, text, text);
}
