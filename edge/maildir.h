/*
 * maildir - messages into Maildirs, safe on a crash at any point, several at once
 *
 * A mail is begun, written, and committed together with others: tmp/NAME is
 * written and synced, renamed into new/, and new/ is synced. Where a mail's
 * result is 0 after maildir_commit() it survives a power cut, and a reader
 * never sees half of one. Names hold time, process, a counter and the host,
 * and end in ",S=SIZE", as quotas are counted by (edge/maildir_quota.h).
 *
 * All of it blocks. Errors stay with the mail that they happened to: whatever
 * is done to it after that does nothing.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/slice.h"

#define MAILDIR_NAME_SIZE  256 /* NAME_MAX and a NUL */
#define MAILDIR_COMMIT_MAX 64  /* mails together; each has four descriptors open */

struct maildir_place {
	const char *base; /* absolute; exists */
	const char *path; /* below base, checked by maildir_path_is_safe(); made when missing */
	bool is_home;	  /* base belongs to who owns the mailbox, and so do the links below it */
	uint64_t limit_bytes; /* quota; 0: none */
};

struct maildir_mail {
	struct maildir_place place; /* the caller's; strings outlive the mail */
	uid_t uid;		    /* for whoever becomes its owner; no business of maildir's */
	gid_t gid;

	int result; /* 0 so far, or an error: -EDQUOT where the mailbox is full */
	struct error error;

	/* maildir's, from begin to commit */
	int dir, tmp, new, file;
	uint64_t size;
	bool is_renamed;
	char name[MAILDIR_NAME_SIZE], final[MAILDIR_NAME_SIZE];
};

/* Relative, without "." or ".." or empty parts, or control characters; ends in '/'. */
bool maildir_path_is_safe(const char *path);

/*
 * Open a mail in tmp/, making what is missing of the Maildir. counter: makes
 * names unique, shared by all threads. The rest of *mail may be anything.
 */
void maildir_begin(struct maildir_mail *mail, const struct maildir_place *place,
		   const char *hostname, atomic_uint *counter);

void maildir_write(struct maildir_mail *mail, struct slice bytes);

/* Instead of maildir_begin(): it is not to be written at all. */
void maildir_refuse(struct maildir_mail *mail, const struct error *err);

/* Not this one, as something else went wrong: err becomes its result, unless it has one. */
void maildir_fail(struct maildir_mail *mail, const struct error *err);

struct maildir_commit {
	/*
	 * Called before what depends on whose process this is. NULL: the mailboxes
	 * are our own, and other threads write to them at the same time.
	 */
	int (*become)(void *arg, const struct maildir_mail *mail, struct error *err);
	void *arg;
};

/* At most MAILDIR_COMMIT_MAX. Each mail is closed and has its result. */
void maildir_commit(struct maildir_mail *mails, size_t count, const struct maildir_commit *how);
