/*
 * The server's side. Mails are sent one after another, so a body is in the
 * socket's buffer at most; while one thread does that, others wait for their
 * turn, as the carrier has one thread only.
 */
#include "edge/carrier.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/memory.h"
#include "edge/carrier_frame.h"

/* The life of the new process. What the server knows, keys above all, is no business of it. */
static void live(int fd, const struct carrier_rights *rights, void (*forget)(void *arg), void *arg)
{
	struct carrier_rights own = *rights;
	struct arena arena = { 0 };

	own.hostname = arena_strdup(&arena, rights->hostname);
	own.mailbox_base = arena_strdup(&arena, rights->mailbox_base);
	own.home_mailbox = arena_strdup(&arena, rights->home_mailbox);
	forget(arg);
	carrier_run(fd, &own);
	arena_done(&arena);
	_exit(EXIT_SUCCESS);
}

int carrier_start(const struct carrier_rights *rights, void (*forget)(void *arg), void *arg,
		  struct carrier **ret_carrier, struct error *err)
{
	struct carrier *carrier;
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return error_set(err, -errno, "socketpair: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		error_set(err, -errno, "fork: %s", strerror(errno));
		close(fds[0]);
		close(fds[1]);
		return err->code;
	}
	if (pid == 0)
		live(fds[1], rights, forget, arg);
	close(fds[1]);
	carrier = memory_zeroed(sizeof(*carrier));
	carrier->fd = fds[0];
	carrier->pid = pid;
	pthread_mutex_init(&carrier->mutex, NULL);
	*ret_carrier = carrier;
	return 0;
}

void carrier_stop(struct carrier *carrier)
{
	if (!carrier)
		return;
	close(carrier->fd);
	while (waitpid(carrier->pid, NULL, 0) < 0 && errno == EINTR)
		;
	pthread_mutex_destroy(&carrier->mutex);
	free(carrier);
}

static int send_piece(void *arg, struct slice piece, struct error *err)
{
	const struct carrier_frame frame = { .kind = CARRIER_DATA };
	struct carrier *carrier = arg;
	int r = 0;

	while (piece.len > 0 && r == 0) {
		r = carrier_send(carrier->fd, &frame, slice_first(piece, CARRIER_TEXT_MAX));
		piece = slice_skip(piece, CARRIER_TEXT_MAX);
	}
	if (r == 0)
		return 0;
	carrier->is_broken = true;
	return error_set(err, r, "cannot send it: %s", strerror(-r));
}

static void send_frame(struct carrier *carrier, const struct carrier_frame *frame,
		       struct slice text)
{
	if (!carrier->is_broken && carrier_send(carrier->fd, frame, text) < 0)
		carrier->is_broken = true;
}

static void send_mail(struct carrier *carrier, struct carrier_mail *mail)
{
	struct carrier_frame frame = {
		.kind = mail->user ? CARRIER_MAIL_HOME : CARRIER_MAIL_VIRTUAL,
		.uid = mail->uid,
		.gid = mail->gid,
		.limit_bytes = mail->limit_bytes,
	};

	const char *place = mail->user ? mail->user : mail->path;
	bool is_long = strlen(place) >= PATH_MAX;

	/* The carrier would take it for none of ours, and end: it gets a mail that it refuses. */
	mail->result = 0;
	if (is_long)
		mail->result = error_set(&mail->error, -ENAMETOOLONG,
					 "the name of the mailbox has %zu bytes", strlen(place));
	send_frame(carrier, &frame, is_long ? SLICE("") : slice_from(place));
	if (carrier->is_broken || is_long)
		return;
	mail->result = mail_text_read(&mail->text, send_piece, carrier, &mail->error);
	if (mail->result < 0)
		send_frame(carrier, &(struct carrier_frame){ .kind = CARRIER_FAIL }, SLICE(""));
}

/* A mail that could not be read has its own error, which is worth more. */
static void receive_result(struct carrier *carrier, struct carrier_mail *mail)
{
	char text[CARRIER_TEXT_MAX];
	struct carrier_frame frame;
	size_t len;

	if (carrier_receive(carrier->fd, &frame, text, &len) < 0 || frame.kind != CARRIER_RESULT ||
	    frame.result > 0) {
		carrier->is_broken = true;
		return;
	}
	if (frame.result < 0 && mail->result == 0)
		mail->result = error_set(&mail->error, frame.result, "%.*s", (int)len, text);
}

void carrier_deliver(struct carrier *carrier, struct carrier_mail *mails, size_t count)
{
	pthread_mutex_lock(&carrier->mutex);
	for (size_t i = 0; i < count; i++)
		send_mail(carrier, &mails[i]);
	send_frame(carrier, &(struct carrier_frame){ .kind = CARRIER_COMMIT }, SLICE(""));
	for (size_t i = 0; i < count && !carrier->is_broken; i++)
		receive_result(carrier, &mails[i]);
	if (carrier->is_broken)
		for (size_t i = 0; i < count; i++)
			mails[i].result = error_set(&mails[i].error, -EPIPE,
						    "the process that writes into others' "
						    "mailboxes has ended: restart the server");
	pthread_mutex_unlock(&carrier->mutex);
}
