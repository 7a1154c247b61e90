/*
 * mailq, sendmail -bp - the queue in the layout of Postfix's, which scripts
 * and monitoring read. `posthouse queue list` tells more.
 */
#include "cli/sendmail.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

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

static void print_head(struct mailq *q, const struct queue_message *m)
{
	time_t arrived = (time_t)(m->arrived_ms / 1000);
	char id[QUEUE_ID_SIZE + 2], when[32];
	struct tm tm;

	localtime_r(&arrived, &tm);
	strftime(when, sizeof(when), "%a %b %e %H:%M:%S", &tm);
	snprintf(id, sizeof(id), "%s%c", m->name, mark_of(q, m));
	buf_printf(&q->out, "%-11s %7" PRIu64 " %-20s ", id, m->size, when);
	if (m->sender[0])
		cli_format_text(&q->out, m->sender);
	else
		buf_append_string(&q->out, "MAILER-DAEMON");
	buf_append_string(&q->out, "\n");
}

/* Recipients that wait for the same reason stand together, as they were given. */
static void print_recipient(struct mailq *q, const struct queue_recipient *r, const char *before)
{
	int padding = REASON_WIDTH - (int)strlen(r->reason);

	if (r->reason[0] && (!before || strcmp(before, r->reason) != 0)) {
		buf_printf(&q->out, "%*s(", padding > 0 ? padding : 0, "");
		cli_format_text(&q->out, r->reason);
		buf_append_string(&q->out, ")\n");
	}
	buf_printf(&q->out, "%41s", "");
	cli_format_text(&q->out, r->address);
	buf_append_string(&q->out, "\n");
}

static int print_message(void *arg, const struct queue_message *m)
{
	struct mailq *q = arg;

	if (q->messages++ == 0)
		buf_append_string(&q->out, "-Queue ID-  --Size-- ----Arrival Time---- "
					   "-Sender/Recipient-------\n");
	q->bytes += m->size;
	print_head(q, m);
	for (unsigned int i = 0; i < m->recipient_count; i++)
		print_recipient(q, &m->recipients[i], i ? m->recipients[i - 1].reason : NULL);
	buf_append_string(&q->out, "\n");
	cli_print(&q->out);
	return ferror(stdout) ? 1 : 0;
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
