/*
 * carrier - the process that writes into mailboxes which are not the server's own
 *
 * A server that was root gives that away, and could then write neither into
 * homes that only their owners may enter nor mail that belongs to the owner
 * whom virtual_uid_maps names. So before, it forks a process that stays root,
 * and can do nothing but this: it takes mails over a socket pair and writes each
 * into a Maildir, as its owner, where the rights that it was told at the
 * fork allow that. Nothing that comes over the socket widens them.
 *
 * It ends with the server, whatever ends that. If it ends itself, no mail is
 * lost: all that would be for it fails for now, until the server is restarted.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "edge/mail_text.h"

struct carrier;

/* Strings are the caller's, and of use during carrier_start() alone. */
struct carrier_rights {
	const char *hostname;	  /* in the names of mails */
	const char *mailbox_base; /* virtual_mailbox_base; NULL: no mailboxes but in homes */
	uid_t minimum_uid;	  /* no owner has a lesser one, nor 0 */
	uid_t only_uid;		  /* of mailboxes below the base; 0: any from the minimum on */
	gid_t only_gid;		  /* the same for groups; never 0 */
	const char *home_mailbox; /* below the home of a system account; NULL: no homes */
};

/*
 * Fork it; as root, with no other thread. forget() is called in the new
 * process, to wipe what the caller knows. *ret_carrier is the caller's.
 */
int carrier_start(const struct carrier_rights *rights, void (*forget)(void *arg), void *arg,
		  struct carrier **ret_carrier, struct error *err);

/* Tell it to end, and wait for that. NULL is fine. */
void carrier_stop(struct carrier *carrier);

struct carrier_mail {
	const char *user; /* into the home of this system account; NULL: into path below the base */
	const char *path;
	uid_t uid; /* of the mailbox at path */
	gid_t gid;
	uint64_t limit_bytes; /* quota; 0: none */
	struct mail_text text;

	int result; /* 0, or an error as of maildir_commit(): -EPERM where its rights end */
	struct error error;
};

/*
 * Deliver mails, at most MAILDIR_COMMIT_MAX; each gets its result, which is 0 when the mail is on the disk. From any
 * thread: they take turns. Blocks.
 */
void carrier_deliver(struct carrier *carrier, struct carrier_mail *mails, size_t count);
