/*
 * While the terminal does not echo, signals that would end or stop us are
 * waited for together with the input: the terminal is put right before they
 * take effect.
 */
#include "cli/password.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "base/cleanup.h"

static int refuse(struct error *err, const char *why)
{
	error_set(err, -EINVAL, "%s", why);
	return PASSWORD_REFUSED;
}

/* What was read of a line so far. A secret. */
struct line {
	char text[SCHEME_PASSWORD_MAX + 1];
	size_t len;
	bool is_too_long, has_nul;
};

/* False: the line has ended. */
static bool take_byte(struct line *line, char c)
{
	if (c == '\n')
		return false;
	if (c == '\0')
		line->has_nul = true;
	if (line->len < SCHEME_PASSWORD_MAX)
		line->text[line->len++] = c;
	else
		line->is_too_long = true;
	return true;
}

static int judge(struct line *line, char ret[SCHEME_PASSWORD_MAX + 1], struct error *err)
{
	int r = PASSWORD_READ;

	if (line->len > 0 && !line->is_too_long && line->text[line->len - 1] == '\r')
		line->len--; /* a line of a file from elsewhere */
	if (line->has_nul)
		r = refuse(err, "the password has a NUL byte");
	else if (line->is_too_long)
		r = refuse(err, "the password is longer than 255 bytes");
	else if (line->len == 0)
		r = refuse(err, "the password is empty");
	else
		snprintf(ret, SCHEME_PASSWORD_MAX + 1, "%.*s", (int)line->len, line->text);
	explicit_bzero(line, sizeof(*line));
	return r;
}

/* One byte at a time, so that the rest stays for whoever reads on. */
static int read_line(int fd, char ret[SCHEME_PASSWORD_MAX + 1], struct error *err)
{
	struct line line = { .len = 0 };
	ssize_t n;
	char c;

	do {
		n = read(fd, &c, 1);
	} while ((n < 0 && errno == EINTR) || (n == 1 && take_byte(&line, c)));
	if (n < 0)
		return error_set(err, -errno, "standard input: %s", strerror(errno));
	return judge(&line, ret, err);
}

/* ---- the terminal ---- */

struct quiet {
	int fd, signal_fd;
	struct termios before;
	sigset_t mask_before;
};

static void be_loud(struct quiet *q)
{
	tcsetattr(q->fd, TCSAFLUSH, &q->before);
	close(q->signal_fd);
	sigprocmask(SIG_SETMASK, &q->mask_before, NULL); /* what waits takes effect here */
}

static int be_quiet(struct quiet *q, struct error *err)
{
	struct termios silent;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGTSTP);
	if (tcgetattr(q->fd, &q->before) < 0)
		return error_set(err, -errno, "the terminal: %s", strerror(errno));
	q->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (q->signal_fd < 0)
		return error_set(err, -errno, "signalfd: %s", strerror(errno));
	sigprocmask(SIG_BLOCK, &signals, &q->mask_before);
	silent = q->before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	silent.c_lflag |= ECHONL;
	if (tcsetattr(q->fd, TCSAFLUSH, &silent) == 0)
		return 0;
	error_set(err, -errno, "the terminal: %s", strerror(errno));
	be_loud(q);
	return err->code;
}

/* Waits for input. False: a signal came first. */
static bool wait_for_input(const struct quiet *q)
{
	struct pollfd fds[] = { { q->fd, POLLIN, 0 }, { q->signal_fd, POLLIN, 0 } };

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	return !fds[1].revents;
}

static int ask_once(int fd, const char *again, const char *user, char ret[SCHEME_PASSWORD_MAX + 1],
		    struct error *err)
{
	struct quiet q = { .fd = fd };
	int r = be_quiet(&q, err);

	if (r < 0)
		return r;
	dprintf(fd, "%s password for %s: ", again, user);
	while (!wait_for_input(&q)) {
		/* Stopped and continued, or at the end of our time. */
		be_loud(&q);
		r = be_quiet(&q, err);
		if (r < 0)
			return r;
		dprintf(fd, "%s password for %s: ", again, user);
	}
	r = read_line(fd, ret, err);
	be_loud(&q);
	return r;
}

int password_read(const char *user, char ret[SCHEME_PASSWORD_MAX + 1], struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	char again[SCHEME_PASSWORD_MAX + 1];
	int r;

	if (!isatty(STDIN_FILENO))
		return read_line(STDIN_FILENO, ret, err);
	fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return error_set(err, -errno, "/dev/tty: %s", strerror(errno));
	r = ask_once(fd, "New", user, ret, err);
	if (r != PASSWORD_READ)
		return r;
	r = ask_once(fd, "Once more the", user, again, err);
	if (r == PASSWORD_READ && strcmp(ret, again) != 0)
		r = refuse(err, "the two passwords are not the same; nothing was changed");
	explicit_bzero(again, sizeof(again));
	return r;
}
