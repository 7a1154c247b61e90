/*
 * maildir_quota - how full a Maildir is, by its file maildirsize (Maildir++)
 *
 * The file is shared with Dovecot's "quota = maildir" and others: a line
 * "LIMITS" (1073741824S), then lines "BYTES COUNT" that add up. Whoever
 * delivers or removes appends a line; whoever finds no file, a long one, or
 * one that says "full" and may be out of date, counts the mails and writes it
 * anew. All folders count, Trash too, as they do for Dovecot.
 *
 * The limit that counts is the one given here, whatever the file says.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

enum maildir_quota_outcome {
	MAILDIR_FULL = 1,
};

/* Only a file with no more bytes, and a count no older, is taken at its word about a full mailbox. */
#define MAILDIR_QUOTA_BYTES   5120
#define MAILDIR_QUOTA_STALE_S (15 * 60)

/*
 * May a mail of so many bytes be added to the Maildir that dir is open on, as
 * it is less than the limit then, or just that? Counts the mails where the
 * file cannot tell. Blocks. Returns 0, MAILDIR_FULL, or an error.
 */
int maildir_quota_check(int dir, uint64_t bytes, uint64_t limit_bytes, struct error *err);

/*
 * Is there no room for that many bytes, for all that the file says? Never
 * counts; unless the file is sure, says 0. Reads some 5 KiB. path is the Maildir's.
 */
int maildir_quota_peek(const char *path, uint64_t bytes, uint64_t limit_bytes);

/*
 * So much came, after the mail is there. Without a file nothing is done; nor does it
 * matter much if it fails, as such files are counted anew.
 */
void maildir_quota_add(int dir, uint64_t bytes);
