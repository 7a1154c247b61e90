/*
 * drop - a message in the drop directory, as `sendmail` leaves it for the server
 *
 * Any account of this host may put files into the directory (mode 3733, of the
 * server's account and group): they get the server's group, so that with mode
 * 0640 nobody but the server can read them; nobody can list them, and nobody
 * but their owner and the server can remove them. docs/sendmail.md has more.
 *
 * A writer is of no use to an attacker, as it runs with the rights of whoever
 * has called it. A reader trusts nothing of a file but its owner.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "smtp/dsn.h"

#define DROP_DIRECTORY	    "maildrop" /* in the queue_directory */
#define DROP_DIRECTORY_MODE 03733
#define DROP_TAKEN	    "taken" /* in there, the server's alone: what it works on */
#define DROP_BAD	    "bad"   /* and what it could make nothing of */
#define DROP_NAME_SIZE	    24
#define DROP_RECIPIENTS_MAX 10000 /* of one file */

/* Strings hold no control bytes; addresses are such as smtp/address.h has. */
struct drop_envelope {
	const char *sender;	 /* "": null reverse-path */
	const char *full_name;	 /* of the sender, for a From field; "": not known */
	const char *envelope_id; /* ENVID, decoded; "" */
	enum smtp_return returning;
	unsigned int notify; /* of all recipients; enum smtp_notify, or-ed; 0: not given */
	bool body_8bit;
	bool is_relayed; /* -G: nothing that the header lacks is to be added */
	const char **recipients;
	size_t recipient_count;
};

struct drop_writer;

/* Begin a file: the message follows in pieces, in lines that end in CRLF. Blocks, as all here. */
int drop_create(const char *directory, const struct drop_envelope *envelope,
		struct drop_writer **ret_writer, struct error *err);
int drop_write(struct drop_writer *w, struct slice bytes, struct error *err);

/* When this returns 0 the message is on stable storage, and the server may take it. */
int drop_commit(struct drop_writer *w, char ret_name[DROP_NAME_SIZE], struct error *err);
void drop_free(struct drop_writer *w); /* what was not committed is removed; NULL is fine */
DEFINE_CLEANUP(struct drop_writer *, drop_free);

enum drop_outcome {
	DROP_BAD_FILE = 1, /* no message of ours, and never will be; err says why */
	DROP_NOT_NOW,	   /* its owner keeps it from being read (a lease): try again */
};

/*
 * Open a file of a directory to which nobody but us has access, and read its
 * envelope. What cannot be a file that a writer has made is BAD_FILE: no
 * regular file, other names (hard links), of another group than gid, a size
 * that is not the one it claims, too many recipients, or a message larger than
 * max_bytes (0: no limit). On 0 *ret_fd stands where the *ret_size bytes of the message begin.
 */
int drop_open(int directory, const char *name, gid_t gid, uint64_t max_bytes, struct arena *arena,
	      struct drop_envelope *ret, uid_t *ret_uid, int *ret_fd, uint64_t *ret_size,
	      struct error *err);
