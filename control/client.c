/* client - a blocking socket with time limits; lines are collected in one buffer */
#include "control/client.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/buf.h"
#include "base/memory.h"
#include "control/request.h"
#include "net/unix.h"

#define PATIENCE_MS 120000 /* one transaction over all of a large queue takes its time */
#define LINE_MAX    ((size_t)64 << 20) /* a server that sends more in one line is none of ours */
#define READ_SIZE   65536

struct control_client {
	int fd;
	char *path;
	struct buf input;
	int exit_code;
};

int control_connect(const char *path, int patience_ms, struct control_client **ret_client,
		    struct error *err)
{
	int wait_ms = patience_ms > 0 ? patience_ms : PATIENCE_MS;
	struct timeval limit = { .tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000 };
	struct control_client *c;
	int fd = unix_connect(path, err);

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return CONTROL_NO_SERVER;
	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	c = memory_zeroed(sizeof(*c));
	c->fd = fd;
	c->path = slice_strdup(slice_from(path));
	*ret_client = c;
	return 0;
}

void control_client_close(struct control_client *c)
{
	if (!c)
		return;
	close(c->fd);
	buf_done(&c->input);
	free(c->path);
	free(c);
}

static int fail(const struct control_client *c, int number, struct error *err)
{
	if (number == EAGAIN || number == EWOULDBLOCK)
		return error_set(err, -EAGAIN, "%s: the server does not answer", c->path);
	return error_set(err, -number, "%s: %s", c->path, strerror(number));
}

static int append_bytes(const char *bytes, size_t len, void *out)
{
	buf_append(out, bytes, len);
	return 0;
}

/* A server that refuses may have closed before it read all: what it said is still to be read. */
static int send_all(const struct control_client *c, struct buf *out, struct error *err)
{
	while (buf_len(out) > 0) {
		ssize_t n = send(c->fd, buf_slice(out).ptr, buf_len(out), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return 0;
		if (n < 0)
			return fail(c, errno, err);
		buf_consume(out, (size_t)n);
	}
	return 0;
}

int control_send(struct control_client *c, json_t *request, struct error *err)
{
	struct buf out = { 0 };
	int r = json_dump_callback(request, append_bytes, &out, JSON_COMPACT);

	json_decref(request);
	if (r < 0)
		r = error_set(err, -EINVAL, "the request cannot be written as JSON");
	else if (buf_len(&out) > CONTROL_REQUEST_MAX)
		r = error_set(err, -E2BIG, "too much for one request");
	buf_append_string(&out, "\n");
	if (r == 0)
		r = send_all(c, &out, err);
	buf_done(&out);
	return r;
}

static int read_more(struct control_client *c, struct error *err)
{
	ssize_t n;

	if (buf_len(&c->input) > LINE_MAX)
		return error_set(err, -EPROTO, "%s: the answer is too long", c->path);
	do
		n = recv(c->fd, buf_reserve(&c->input, READ_SIZE), READ_SIZE, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != ECONNRESET)
		return fail(c, errno, err);
	if (n <= 0)
		return error_set(err, -EAGAIN, "%s: the server went away before it had answered",
				 c->path);
	buf_commit(&c->input, (size_t)n);
	return 0;
}

static int judge(struct control_client *c, json_t *object, struct error *err)
{
	const char *words = json_string_value(json_object_get(object, "error"));

	if (words) {
		c->exit_code = (int)json_integer_value(json_object_get(object, "exit"));
		error_set(err, -EPROTO, "%s", words);
		return CONTROL_FAILED;
	}
	return json_is_true(json_object_get(object, "done")) ? CONTROL_DONE : 0;
}

int control_receive(struct control_client *c, json_t **ret_object, struct error *err)
{
	size_t searched = 0, len;
	json_t *object;
	int r;

	for (;;) {
		struct slice bytes = buf_slice(&c->input);

		len = searched + slice_find(slice_skip(bytes, searched), '\n');
		if (len < bytes.len)
			break;
		searched = bytes.len;
		r = read_more(c, err);
		if (r < 0)
			return r;
	}
	object = json_loadb(buf_slice(&c->input).ptr, len, 0, NULL);
	buf_consume(&c->input, len + 1);
	if (!json_is_object(object)) {
		json_decref(object);
		return error_set(err, -EPROTO, "%s: the answer is not understood", c->path);
	}
	r = judge(c, object, err);
	if (r == CONTROL_FAILED)
		json_decref(object);
	else
		*ret_object = object;
	return r;
}

int control_client_exit(const struct control_client *c)
{
	return c->exit_code;
}
