/*
 * mailq, sendmail -bp - the queue in the layout of Postfix's, which scripts
 * and monitoring read. `posthouse queue list` tells more.
 */
#include "cli/sendmail.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "base/escape.h"
#include "cli/queue_view.h"

#define REASON_WIDTH 76

struct mailq {
	struct queue_view view;
	uint64_t messages, bytes;
	struct buf out;
};

static char mark_of(const struct mailq *q, const struct queue_message *m)
{
	bool is_held = true;

	for (unsigned int i = 0; i < m->recipient_count; i++) {
		if (queue_view_is_active(&q->view, m, &m->recipients[i]))
			return '*';
		is_held &= m->recipients[i].status == QUEUE_HELD;
	}
	return is_held ? '!' : ' ';
}

static void print_head(struct mailq *q, const char *id, uint64_t size, int64_t arrived_s,
		       const char *sender)
{
	time_t arrived = (time_t)arrived_s;
	char when[32];
	struct tm tm;

	if (q->messages++ == 0)
		buf_append_string(&q->out, "-Queue ID-  --Size-- ----Arrival Time---- "
					   "-Sender/Recipient-------\n");
	q->bytes += size;
	localtime_r(&arrived, &tm);
	strftime(when, sizeof(when), "%a %b %e %H:%M:%S", &tm);
	buf_printf(&q->out, "%-11s %7" PRIu64 " %-20s ", id, size, when);
	cli_format_text(&q->out, sender[0] ? sender : "MAILER-DAEMON");
	buf_append_string(&q->out, "\n");
}

static void print_reason(struct mailq *q, const char *reason)
{
	int padding = REASON_WIDTH - (int)strlen(reason);

	buf_printf(&q->out, "%*s(", padding > 0 ? padding : 0, "");
	cli_format_text(&q->out, reason);
	buf_append_string(&q->out, ")\n");
}

static void print_address(struct mailq *q, const char *address)
{
	buf_printf(&q->out, "%41s", "");
	cli_format_text(&q->out, address);
	buf_append_string(&q->out, "\n");
}

/* Recipients that wait for the same reason stand together, as they were given. */
static int print_message(void *arg, const struct queue_message *m)
{
	struct mailq *q = arg;
	char id[QUEUE_ID_SIZE + 2];

	snprintf(id, sizeof(id), "%s%c", m->name, mark_of(q, m));
	print_head(q, id, m->size, m->arrived_ms / 1000, m->sender);
	for (unsigned int i = 0; i < m->recipient_count; i++) {
		const struct queue_recipient *r = &m->recipients[i];

		if (r->reason[0] && (i == 0 || strcmp(r[-1].reason, r->reason) != 0))
			print_reason(q, r->reason);
		print_address(q, r->address);
	}
	buf_append_string(&q->out, "\n");
	cli_print(&q->out);
	return ferror(stdout) ? 1 : 0;
}

/* ---- what the server has not taken yet ---- */

static void print_file(struct mailq *q, int directory, const char *name, gid_t gid)
{
	struct arena arena = { 0 };
	struct drop_envelope e;
	char shown[128]; /* whoever has put it there may have given it any name */
	struct error err;
	struct stat st;
	uint64_t size;
	uid_t uid;
	int fd;

	if (drop_open(directory, name, gid, 0, &arena, &e, &uid, &fd, &size, &err) == 0) {
		escape_cstr(slice_from(name), shown, sizeof(shown));
		print_head(q, shown, size, fstat(fd, &st) == 0 ? st.st_mtime : 0, e.sender);
		print_reason(q, "waits for the server to take it");
		for (size_t i = 0; i < e.recipient_count; i++)
			print_address(q, e.recipients[i]);
		buf_append_string(&q->out, "\n");
		cli_print(&q->out);
		close(fd);
	}
	arena_done(&arena);
}

/* Whoever may not list it sees what he may see. */
static void print_dropped(struct mailq *q)
{
	const char *path = config_drop_directory(q->view.config);
	int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	struct stat st;

	if (!directory) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while (fstat(fd, &st) == 0 && (entry = readdir(directory)) != NULL)
		if (entry->d_name[0] != '.')
			print_file(q, fd, entry->d_name, st.st_gid);
	closedir(directory);
}

static int list(struct mailq *q)
{
	struct error err = { 0 };
	int r = 0;

	queue_view_ask_server(&q->view);
	if (q->view.reader)
		r = queue_reader_list(q->view.reader, NULL, print_message, q, &err);
	if (r < 0)
		return queue_view_fail(q->view.config, &err);
	print_dropped(q);
	if (q->messages == 0)
		buf_append_string(&q->out, "Mail queue is empty\n");
	else
		buf_printf(&q->out, "-- %" PRIu64 " Kbytes in %" PRIu64 " Request%s.\n",
			   q->bytes / 1024, q->messages, q->messages == 1 ? "" : "s");
	cli_print(&q->out);
	return CLI_DONE;
}

int sendmail_list(const struct config *config)
{
	struct mailq mailq = { .messages = 0 };
	int code = queue_view_open(&mailq.view, config);

	if (code == CLI_DONE)
		code = list(&mailq);
	queue_view_close(&mailq.view);
	buf_done(&mailq.out);
	return code;
}
