/*
 * The carrier's own side: one thread, no event loop. Root's rights are cut down
 * to becoming others (CAP_SETUID, CAP_SETGID), and it never touches a file but
 * as the owner of the mailbox: it acts with his user and primary group as
 * effective ones. The real and the saved user stay root, so he can neither
 * signal nor trace it, nor does a FUSE file system of his let it in.
 *
 * Names of accounts are looked up here, so the server cannot say where a home is.
 */
#include "edge/carrier_frame.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/capability.h>
#include <sys/prctl.h>
#endif

#include "base/arena.h"
#include "base/macros.h"
#include "base/memory.h"
#include "edge/maildir.h"

struct process {
	const struct carrier_rights *rights;
	int fd;
	uid_t uid; /* whom we act as now */
	gid_t gid;
	atomic_uint counter;
	struct arena arena; /* of the mails that are open; strings of their places */
	struct maildir_mail mails[MAILDIR_COMMIT_MAX];
	size_t count;
	char text[CARRIER_TEXT_MAX + 1];
};

/* ---- who we are ---- */

/* First back to root, which alone may become somebody. */
static int become(struct process *p, uid_t uid, gid_t gid)
{
	if (p->uid == uid && p->gid == gid)
		return 0;
	p->uid = 0;
	if (seteuid(0) < 0 || setgroups(1, &gid) < 0 || setegid(gid) < 0 || seteuid(uid) < 0)
		return -errno;
	p->uid = uid;
	p->gid = gid;
	return 0;
}

static int become_owner(void *arg, const struct maildir_mail *mail, struct error *err)
{
	int r = become(arg, mail->uid, mail->gid);

	return r < 0 ? error_set(err, r, "cannot become user %lu: %s", (unsigned long)mail->uid,
				 strerror(-r))
		     : 0;
}

/* Of root's rights these two are needed; without them it is just another account. */
static void cut_rights(void)
{
#ifdef __linux__
	const uint32_t kept = 1u << CAP_SETUID | 1u << CAP_SETGID;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { { .effective = kept, .permitted = kept } };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "posthouse-mail", 0, 0, 0);
	if (syscall(SYS_capset, &header, sets) < 0)
		_exit(EXIT_FAILURE);
#endif
}

/* All but standard error and the socket, which is the next one then. Returns it. */
static int close_others(int kept)
{
	const int fd = STDERR_FILENO + 1;

	if (kept != fd && dup2(kept, fd) < 0)
		_exit(EXIT_FAILURE);
	closefrom(fd + 1);
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	return fd;
}

/* ---- what is asked for ---- */

static int check_owner(const struct process *p, uid_t uid, gid_t gid, struct error *err)
{
	if (uid == 0 || uid < p->rights->minimum_uid || uid == (uid_t)-1)
		return error_set(
			err, -EPERM,
			"mailboxes of user %lu are not written: virtual_minimum_uid is %lu",
			(unsigned long)uid, (unsigned long)p->rights->minimum_uid);
	if (gid == 0 || gid == (gid_t)-1)
		return error_set(err, -EPERM, "mailboxes of group %lu are not written",
				 (unsigned long)gid);
	return 0;
}

static int place_in_home(struct process *p, const char *user, struct maildir_mail *mail,
			 struct maildir_place *ret, struct error *err)
{
	const struct passwd *account;

	if (!p->rights->home_mailbox)
		return error_set(err, -EPERM, "there was no home_mailbox at the start");
	errno = 0;
	account = getpwnam(user);
	if (!account)
		return error_set(err, errno ? -errno : -ENOENT, "user %s: %s", user,
				 errno ? strerror(errno) : "there is no such account");
	if (account->pw_dir[0] != '/')
		return error_set(err, -ENOENT, "user %s has no home", user);
	mail->uid = account->pw_uid;
	mail->gid = account->pw_gid;
	ret->base = arena_strdup(&p->arena, account->pw_dir);
	ret->path = p->rights->home_mailbox;
	ret->is_home = true;
	return check_owner(p, mail->uid, mail->gid, err);
}

static int place_below_base(struct process *p, const struct carrier_frame *frame,
			    struct maildir_mail *mail, struct maildir_place *ret, struct error *err)
{
	const struct carrier_rights *rights = p->rights;

	mail->uid = frame->uid;
	mail->gid = frame->gid;
	if (!rights->mailbox_base || !maildir_path_is_safe(p->text))
		return error_set(err, -EPERM, "%s: must lie below virtual_mailbox_base", p->text);
	if ((rights->only_uid && rights->only_uid != mail->uid) ||
	    (rights->only_gid && rights->only_gid != mail->gid))
		return error_set(err, -EPERM,
				 "user %lu and group %lu are not those of virtual_uid_maps and "
				 "virtual_gid_maps",
				 (unsigned long)mail->uid, (unsigned long)mail->gid);
	ret->base = rights->mailbox_base;
	ret->path = arena_strdup(&p->arena, p->text);
	return check_owner(p, mail->uid, mail->gid, err);
}

static void begin(struct process *p, const struct carrier_frame *frame)
{
	struct maildir_mail *mail = &p->mails[p->count++];
	struct maildir_place place = { .limit_bytes = frame->limit_bytes };
	struct error err;
	int r = frame->kind == CARRIER_MAIL_HOME ? place_in_home(p, p->text, mail, &place, &err)
						 : place_below_base(p, frame, mail, &place, &err);

	if (r == 0)
		r = become_owner(p, mail, &err);
	if (r == 0)
		maildir_begin(mail, &place, p->rights->hostname, &p->counter);
	else
		maildir_refuse(mail, &err);
}

/* ---- what is done ---- */

static void commit(struct process *p)
{
	maildir_commit(p->mails, p->count,
		       &(struct maildir_commit){ .become = become_owner, .arg = p });
}

static void fail_last(struct process *p, int code)
{
	struct error err;

	error_set(&err, code, "the mail has no end");
	maildir_fail(&p->mails[p->count - 1], &err);
}

/* False: the server is gone. */
static bool report(struct process *p)
{
	bool is_sent = true;

	for (size_t i = 0; i < p->count && is_sent; i++) {
		const struct maildir_mail *mail = &p->mails[i];
		const struct carrier_frame frame = { .kind = CARRIER_RESULT,
						     .result = mail->result };

		is_sent = carrier_send(p->fd, &frame,
				       slice_from(mail->result < 0 ? mail->error.text : "")) == 0;
	}
	p->count = 0;
	arena_reset(&p->arena);
	return is_sent;
}

static bool take(struct process *p, const struct carrier_frame *frame, size_t len)
{
	p->text[len] = '\0';
	switch (frame->kind) {
	case CARRIER_MAIL_HOME:
	case CARRIER_MAIL_VIRTUAL:
		if (p->count == MAILDIR_COMMIT_MAX || len >= PATH_MAX || strlen(p->text) != len)
			return false;
		begin(p, frame);
		return true;
	case CARRIER_DATA:
	case CARRIER_FAIL:
		if (p->count == 0)
			return false;
		if (frame->kind == CARRIER_FAIL)
			fail_last(p, -EIO);
		else
			maildir_write(&p->mails[p->count - 1], slice_of(p->text, len));
		return true;
	case CARRIER_COMMIT:
		commit(p);
		return report(p);
	}
	return false;
}

/* What is open was never asked to be committed. */
static void abandon(struct process *p)
{
	for (; p->count > 0; p->count--) {
		fail_last(p, -ECONNRESET);
		maildir_commit(&p->mails[p->count - 1], 1,
			       &(struct maildir_commit){ .become = become_owner, .arg = p });
	}
}

void carrier_run(int fd, const struct carrier_rights *rights)
{
	static const int ignored[] = { SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT };
	struct process *p = memory_zeroed(sizeof(*p));
	struct carrier_frame frame;
	size_t len;

	/* It ends with the server, who may still have mail for it after a SIGTERM to all. */
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	fd = close_others(fd);
	/* Who links to /proc/self/cwd in his home would get past doors that are closed to him. */
	if (chdir("/") < 0)
		_exit(EXIT_FAILURE);
	cut_rights();
	umask(0077);
	p->rights = rights;
	p->fd = fd;
	p->gid = getegid();
	while (carrier_receive(fd, &frame, p->text, &len) == 0 && take(p, &frame, len))
		;
	abandon(p);
	arena_done(&p->arena);
	free(p);
}
