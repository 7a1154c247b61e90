/*
 * A mailbox is looked up again at each attempt: maps may have changed while the
 * message waited. What is delivered together is written first, one after
 * another, and then committed together (edge/maildir.h).
 */
#include "edge/internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/memory.h"
#include "base/parse.h"
#include "edge/carrier.h"
#include "edge/mail_text.h"
#include "edge/maildir.h"
#include "edge/maildir_quota.h"

/* One recipient of those that are delivered together. */
struct post {
	const struct mta_local_delivery *delivery;
	const char *path; /* below virtual_mailbox_base, or below the home */
	const char *user; /* of the home; NULL: below the base */
	uid_t uid;	  /* of the mailbox below the base */
	gid_t gid;
};

/* ---- whose mailbox it is ---- */

/* A number that an address has in virtual_uid_maps or virtual_gid_maps. */
static int find_number(struct edge *edge, struct maps *maps, const char *name, const char *address,
		       uint64_t *ret, struct error *err)
{
	struct arena arena = { 0 };
	struct map_result found;
	struct edge_key key;
	bool is_bare;
	int r;

	edge_key_read(edge, address, &arena, &key);
	r = edge_find_key(edge, maps, &key, &arena, &found, &is_bare, err);
	if (r < 0)
		error_prefix(err, "%s", name);
	else if (r == MAP_NOT_FOUND)
		r = error_set(err, -EINVAL, "%s does not have %s", name, address);
	else if (!parse_uint(slice_from(found.value), UINT32_MAX - 1, ret) || *ret == 0)
		r = error_set(err, -EINVAL, "%s: %s: expected a number above 0", found.source,
			      found.value);
	else
		r = 0;
	arena_done(&arena);
	return r;
}

/* Without such maps all mailboxes are the server's own. */
static int find_owner(struct edge *edge, const char *address, struct post *post, struct error *err)
{
	const struct edge_writing *w = &edge->options.writing;
	uint64_t uid, gid;
	int r;

	post->uid = geteuid();
	post->gid = getegid();
	if (!w->uid_maps || !w->gid_maps)
		return 0;
	r = find_number(edge, w->uid_maps, "virtual_uid_maps", address, &uid, err);
	if (r == 0)
		r = find_number(edge, w->gid_maps, "virtual_gid_maps", address, &gid, err);
	if (r < 0)
		return r;
	if (uid < w->minimum_uid)
		return error_set(err, -EINVAL, "user %llu is below virtual_minimum_uid, %lu",
				 (unsigned long long)uid, (unsigned long)w->minimum_uid);
	post->uid = (uid_t)uid;
	post->gid = (gid_t)gid;
	return 0;
}

/* Ours to write: its files are then of our user and group. */
static bool is_ours(const struct post *post)
{
	return !post->user && post->uid == geteuid() && post->gid == getegid();
}

bool edge_seems_full(struct edge *edge, const char *address, const struct edge_mailbox *mailbox,
		     uint64_t size)
{
	const struct edge_options *o = &edge->options;
	struct post post = { .user = mailbox->user };
	struct error err;
	char path[PATH_MAX];

	if (mailbox->kind != EDGE_MAILBOX_VIRTUAL || o->writing.mailbox_limit == 0 ||
	    !maildir_path_is_safe(mailbox->path) || find_owner(edge, address, &post, &err) < 0 ||
	    !is_ours(&post))
		return false;
	snprintf(path, sizeof(path), "%s/%s", o->mailbox_base, mailbox->path);
	return maildir_quota_peek(path, MAX(size, 1), o->writing.mailbox_limit) == MAILDIR_FULL;
}

/* False: its recipient has a status, and there is nothing to write. */
static bool address_post(struct edge *edge, const struct mta_local_delivery *delivery,
			 struct arena *arena, struct post *ret)
{
	const char *address = delivery->recipient->address;
	struct smtp_status *status = delivery->ret_status;
	struct edge_mailbox found;
	struct error err;
	int r = edge_find_mailbox(edge, address, arena, &found, &err);

	if (r < 0) {
		smtp_status_set(status, 451, ESC(4, 3, 0), "mailbox lookup: %s", err.text);
		return false;
	}
	if (r == MAP_NOT_FOUND) {
		smtp_status_set(status, 550, ESC(5, 1, 1), "unknown user: \"%s\"", address);
		return false;
	}
	if (!maildir_path_is_safe(found.path)) {
		smtp_status_set(
			status, 451, ESC(4, 3, 5),
			"mailbox path \"%s\" must lie below virtual_mailbox_base and end in /",
			found.path);
		return false;
	}
	*ret = (struct post){ .delivery = delivery, .path = found.path };
	if (found.kind == EDGE_MAILBOX_HOME)
		ret->user = found.user;
	else if (find_owner(edge, address, ret, &err) < 0)
		smtp_status_set(status, 451, ESC(4, 3, 5), "%s", err.text);
	else
		return true;
	return ret->user != NULL;
}

/* ---- what is written ---- */

static void make_text(const struct mta_local_delivery *delivery, struct buf *header,
		      struct mail_text *ret)
{
	const struct queue_recipient *r = delivery->recipient;

	buf_clear(header);
	buf_printf(header, "Return-Path: <%s>\nX-Original-To: %s\nDelivered-To: %s\n",
		   delivery->message->sender, r->original, r->address);
	*ret = (struct mail_text){
		.header = buf_slice(header),
		.body = delivery->body,
		.is_binary = delivery->message->body_binary,
	};
}

static void set_status(struct smtp_status *ret, int result, const struct error *err)
{
	if (result == 0)
		smtp_status_set(ret, 250, ESC(2, 0, 0), "delivered to maildir");
	else if (result == -ENOSPC)
		smtp_status_set(ret, 452, ESC(4, 3, 1), "%s", err->text);
	else if (result == -EDQUOT)
		smtp_status_set(ret, 452, ESC(4, 2, 2), "%s", err->text);
	else if (result == -EPERM)
		smtp_status_set(ret, 451, ESC(4, 3, 5), "%s", err->text);
	else
		smtp_status_set(ret, 451, ESC(4, 3, 0), "%s", err->text);
}

static int write_piece(void *arg, struct slice piece, struct error *err)
{
	struct maildir_mail *mail = arg;

	maildir_write(mail, piece);
	if (mail->result < 0)
		*err = mail->error;
	return mail->result;
}

static void write_mail(struct edge *edge, const struct post *post, struct buf *header,
		       struct maildir_mail *mail)
{
	const struct maildir_place place = {
		.base = edge->options.mailbox_base,
		.path = post->path,
		.limit_bytes = edge->options.writing.mailbox_limit,
	};
	struct mail_text text;
	struct error err;

	make_text(post->delivery, header, &text);
	maildir_begin(mail, &place, edge->options.hostname, &edge->maildir_counter);
	if (mail->result == 0 && mail_text_read(&text, write_piece, mail, &err) < 0)
		maildir_fail(mail, &err);
}

static void write_ours(struct edge *edge, const struct post *posts, size_t count)
{
	static const struct maildir_commit as_ourselves = { .become = NULL };
	struct maildir_mail *mails = memory_zeroed(count * sizeof(*mails));
	struct buf header = { 0 };

	for (size_t i = 0; i < count; i++)
		write_mail(edge, &posts[i], &header, &mails[i]);
	maildir_commit(mails, count, &as_ourselves);
	for (size_t i = 0; i < count; i++)
		set_status(posts[i].delivery->ret_status, mails[i].result, &mails[i].error);
	buf_done(&header);
	free(mails);
}

/* ---- mailboxes of others ---- */

static void have_carried(struct edge *edge, const struct post *posts, size_t count)
{
	const struct edge_writing *w = &edge->options.writing;
	struct carrier_mail *mails = memory_zeroed(count * sizeof(*mails));
	struct buf *headers = memory_zeroed(count * sizeof(*headers));

	for (size_t i = 0; i < count; i++) {
		mails[i] = (struct carrier_mail){
			.user = posts[i].user,
			.path = posts[i].path,
			.uid = posts[i].uid,
			.gid = posts[i].gid,
			.limit_bytes = posts[i].user ? w->home_limit : w->mailbox_limit,
		};
		make_text(posts[i].delivery, &headers[i], &mails[i].text);
	}
	carrier_deliver(w->carrier, mails, count);
	for (size_t i = 0; i < count; i++) {
		set_status(posts[i].delivery->ret_status, mails[i].result, &mails[i].error);
		buf_done(&headers[i]);
	}
	free(headers);
	free(mails);
}

static void refuse_others(const struct post *posts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (posts[i].user)
			smtp_status_set(posts[i].delivery->ret_status, 451, ESC(4, 3, 5),
					"only a server that was started as root can write into "
					"the home of %s",
					posts[i].user);
		else
			smtp_status_set(posts[i].delivery->ret_status, 451, ESC(4, 3, 5),
					"only a server that was started as root can write a "
					"mailbox of user %lu and group %lu",
					(unsigned long)posts[i].uid, (unsigned long)posts[i].gid);
}

/* Ours come first: others' may lie on file systems that keep us waiting. */
static void deliver_some(struct edge *edge, const struct mta_local_delivery *deliveries,
			 size_t count)
{
	struct post ours[MAILDIR_COMMIT_MAX], others[MAILDIR_COMMIT_MAX], post;
	struct arena arena = { 0 };
	size_t our_count = 0, other_count = 0;

	for (size_t i = 0; i < count; i++) {
		if (!address_post(edge, &deliveries[i], &arena, &post))
			continue;
		if (is_ours(&post))
			ours[our_count++] = post;
		else
			others[other_count++] = post;
	}
	if (our_count > 0)
		write_ours(edge, ours, our_count);
	if (other_count > 0 && edge->options.writing.carrier)
		have_carried(edge, others, other_count);
	else
		refuse_others(others, other_count);
	arena_done(&arena);
}

void edge_deliver(void *arg, const struct mta_local_delivery *deliveries, size_t count)
{
	while (count > 0) {
		size_t n = MIN(count, MAILDIR_COMMIT_MAX);

		deliver_some(arg, deliveries, n);
		deliveries += n;
		count -= n;
	}
}
