/*
 * log - a line is put together on the stack and leaves in one piece
 *
 * Reopening puts the new file under the old descriptor with dup3(), so that
 * threads which are writing need no lock; nor is a descriptor that they may
 * have in hand ever closed before the log is. syslog(3) keeps one ident for the
 * process, while ours changes with the program: there a mutex keeps the two
 * calls together.
 *
 * Lines that could not be written (a full disk) are counted, and the first one
 * that can be is led by one that says how many there were.
 */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define LINE_SIZE  8192
#define STAMP_SIZE 16
#define TOO_LONG   "..."

struct log {
	atomic_int fd; /* lines go there: file_fd or standard error; -1: syslog */
	int file_fd;   /* ours, once there was a file; else -1 */
	char *path;    /* NULL: no file */
	char *hostname;
	atomic_uint lost;   /* lines since the last that could be written */
	atomic_bool is_cut; /* the last of them was begun */
	pthread_mutex_t syslog_lock;
	char syslog_ident[64]; /* syslog keeps a pointer to it */
};

static const struct {
	const char *prefix;
	int priority;
} levels[] = {
	[LOG_LEVEL_INFO] = { "", LOG_INFO },
	[LOG_LEVEL_WARNING] = { "warning: ", LOG_WARNING },
	[LOG_LEVEL_ERROR] = { "error: ", LOG_ERR },
	[LOG_LEVEL_FATAL] = { "fatal: ", LOG_CRIT },
};

static int open_file(const char *path, struct error *err)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);

	if (fd < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	return fd;
}

/* Returns a descriptor of ours that the file is open under. */
static int open_under(const struct log *log, const char *path, struct error *err)
{
	CLEANUP(close_fdp) int fd = open_file(path, err);
	int own;

	if (fd < 0)
		return fd;
	if (log->file_fd >= 0) {
		own = dup3(fd, log->file_fd, O_CLOEXEC);
		return own < 0 ? error_set(err, -errno, "%s: %s", path, strerror(errno)) : own;
	}
	own = fd;
	fd = -1;
	return own;
}

static int open_destination(struct log *log, const char *destination, struct error *err)
{
	static const char file_prefix[] = "file:";
	const size_t prefix_len = sizeof(file_prefix) - 1;
	char *path = NULL;
	int fd = -1;

	if (strcmp(destination, "stderr") == 0) {
		fd = STDERR_FILENO;
	} else if (strncmp(destination, file_prefix, prefix_len) == 0 && destination[prefix_len]) {
		path = strdup(destination + prefix_len);
		if (!path)
			return error_set(err, -ENOMEM, "log: out of memory");
		fd = open_under(log, path, err);
		if (fd < 0) {
			free(path);
			return fd;
		}
		log->file_fd = fd;
	} else if (strcmp(destination, "syslog") != 0) {
		return error_set(err, -EINVAL,
				 "%s: unknown log destination; expected stderr, syslog, file:PATH",
				 destination);
	}
	atomic_store(&log->fd, fd);
	free(log->path);
	log->path = path;
	return 0;
}

DEFINE_CLEANUP(struct log *, log_close);

int log_open(const char *destination, const char *hostname, struct log **ret_log, struct error *err)
{
	CLEANUP(log_closep) struct log *log = calloc(1, sizeof(*log));
	int r;

	if (!log)
		return error_set(err, -ENOMEM, "log: out of memory");
	log->file_fd = -1;
	atomic_init(&log->fd, -1);
	pthread_mutex_init(&log->syslog_lock, NULL);
	log->hostname = strdup(hostname);
	if (!log->hostname)
		return error_set(err, -ENOMEM, "log: out of memory");
	r = open_destination(log, destination, err);
	if (r < 0)
		return r;

	*ret_log = log;
	log = NULL;
	return 0;
}

void log_close(struct log *log)
{
	if (!log)
		return;
	if (log->file_fd >= 0)
		close(log->file_fd);
	if (log->syslog_ident[0])
		closelog();
	pthread_mutex_destroy(&log->syslog_lock);
	free(log->path);
	free(log->hostname);
	free(log);
}

int log_reopen(struct log *log, struct error *err)
{
	int fd = log->path ? open_under(log, log->path, err) : 0;

	return fd < 0 ? fd : 0;
}

int log_redirect(struct log *log, const char *destination, struct error *err)
{
	return open_destination(log, destination, err);
}

static size_t put_args(char *out, size_t size, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));
static size_t put(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* As vsnprintf, but returns how much there is in out, and shows that text was cut. */
static size_t put_args(char *out, size_t size, const char *format, va_list args)
{
	int len = vsnprintf(out, size, format, args);

	if (len < 0)
		len = 0;
	if ((size_t)len < size)
		return (size_t)len;
	memcpy(out + size - sizeof(TOO_LONG), TOO_LONG, sizeof(TOO_LONG));
	return size - 1;
}

static size_t put(char *out, size_t size, const char *format, ...)
{
	va_list args;
	size_t len;

	va_start(args, format);
	len = put_args(out, size, format, args);
	va_end(args);
	return len;
}

/* "Nov 21 07:12:01". Made anew for each line: 0.1 us, so a cache would not pay. */
static const char *stamp(char out[STAMP_SIZE])
{
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(out, STAMP_SIZE, "%b %e %H:%M:%S", &tm);
	return out;
}

/* A full disk must not stop mail. What is written in part is ended by whoever writes next. */
static bool write_all(struct log *log, int fd, const char *ptr, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, ptr + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (done > 0)
				atomic_store(&log->is_cut, true);
			return false;
		}
		done += (size_t)n;
	}
	return true;
}

static bool tell_lost(struct log *log, int fd, unsigned int lost)
{
	char line[LINE_SIZE], time_text[STAMP_SIZE];
	bool is_cut = atomic_exchange(&log->is_cut, false);
	size_t len;

	len = put(line, sizeof(line),
		  "%s%s %s posthouse[%ld]: warning: %u lines of this log could not be written\n",
		  is_cut ? "\n" : "", stamp(time_text), log->hostname, (long)getpid(), lost);
	if (write_all(log, fd, line, len))
		return true;
	if (is_cut)
		atomic_store(&log->is_cut, true);
	return false;
}

static void write_line(struct log *log, int fd, const char *line, size_t len)
{
	unsigned int lost = atomic_exchange(&log->lost, 0);

	if (lost > 0 && !tell_lost(log, fd, lost))
		atomic_fetch_add(&log->lost, lost + 1);
	else if (!write_all(log, fd, line, len))
		atomic_fetch_add(&log->lost, 1);
}

static void write_syslog(struct log *log, const char *program, int priority, const char *text)
{
	pthread_mutex_lock(&log->syslog_lock);
	snprintf(log->syslog_ident, sizeof(log->syslog_ident), "posthouse%s%s", program ? "/" : "",
		 program ? program : "");
	openlog(log->syslog_ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
	syslog(priority, "%s", text);
	pthread_mutex_unlock(&log->syslog_lock);
}

static void replace_controls(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

void log_write(struct log *log, const char *program, enum log_level level, const char *format, ...)
{
	const int saved_errno = errno;
	const int fd = log ? atomic_load(&log->fd) : -1;
	char line[LINE_SIZE], time_text[STAMP_SIZE];
	size_t start = 0, len; /* the text is behind start, the line feed behind len */
	va_list args;

	assert(level < ARRAY_SIZE(levels));
	if (!log)
		return;

	if (fd >= 0)
		start = put(line, LINE_SIZE / 2, "%s %s posthouse%s%s[%ld]: ", stamp(time_text),
			    log->hostname, program ? "/" : "", program ? program : "",
			    (long)getpid());
	len = start + put(line + start, LINE_SIZE / 2, "%s", levels[level].prefix);
	va_start(args, format);
	len += put_args(line + len, sizeof(line) - 1 - len, format, args);
	va_end(args);
	replace_controls(line + start);

	if (fd >= 0) {
		line[len++] = '\n';
		write_line(log, fd, line, len);
	} else {
		write_syslog(log, program, levels[level].priority, line);
	}
	errno = saved_errno;
}
