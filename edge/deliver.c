/* A mailbox is looked up again at each attempt: maps may have changed while the message waited. */
#include "edge/internal.h"

#include <errno.h>

#include "edge/maildir.h"

static void write_mailbox(struct edge *edge, const struct mta_local_delivery *delivery,
			  const char *path, struct smtp_status *ret)
{
	const struct queue_recipient *r = delivery->recipient;
	struct buf header = { 0 };
	struct maildir_delivery d = {
		.base = edge->options.mailbox_base,
		.path = path,
		.hostname = edge->options.hostname,
		.body = delivery->body,
		.is_binary = delivery->message->body_binary,
	};
	struct error err;
	int result;

	buf_printf(&header, "Return-Path: <%s>\nX-Original-To: %s\nDelivered-To: %s\n",
		   delivery->message->sender, r->original, r->address);
	d.header = buf_slice(&header);
	result = maildir_deliver(&d, &edge->maildir_counter, &err);
	buf_done(&header);

	if (result == 0)
		smtp_status_set(ret, 250, ESC(2, 0, 0), "delivered to maildir");
	else if (result == -ENOSPC)
		smtp_status_set(ret, 452, ESC(4, 3, 1), "%s", err.text);
	else if (result == -EDQUOT)
		smtp_status_set(ret, 452, ESC(4, 2, 2), "%s", err.text);
	else
		smtp_status_set(ret, 451, ESC(4, 3, 0), "%s", err.text);
}

static void deliver_one(struct edge *edge, const struct mta_local_delivery *delivery)
{
	struct smtp_status *ret = delivery->ret_status;
	struct arena arena = { 0 };
	struct edge_mailbox found;
	struct error err;
	int r = edge_find_mailbox(edge, delivery->recipient->address, &arena, &found, &err);

	if (r < 0)
		smtp_status_set(ret, 451, ESC(4, 3, 0), "mailbox lookup: %s", err.text);
	else if (r == MAP_NOT_FOUND)
		smtp_status_set(ret, 550, ESC(5, 1, 1), "unknown user: \"%s\"",
				delivery->recipient->address);
	else if (!maildir_path_is_safe(found.path))
		smtp_status_set(
			ret, 451, ESC(4, 3, 5),
			"mailbox path \"%s\" must lie below virtual_mailbox_base and end in /",
			found.path);
	else
		write_mailbox(edge, delivery, found.path, ret);
	arena_done(&arena);
}

void edge_deliver(void *arg, const struct mta_local_delivery *deliveries, size_t count)
{
	for (size_t i = 0; i < count; i++)
		deliver_one(arg, &deliveries[i]);
}
