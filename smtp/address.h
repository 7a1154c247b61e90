/*
 * address - mailboxes and paths of the envelope (RFC 5321 section 4.1.2)
 *
 * Everywhere outside this file an envelope address is a C string: "" for the
 * null reverse-path, else local-part@domain, without brackets, source route
 * or control characters; the local part stays as it was written, quotes included.
 * Both parts may be UTF-8 (RFC 6531 section 3.3); whether that is allowed is for
 * the caller to know, who asks smtp_address_is_ascii().
 */
#pragma once

#include "base/arena.h"
#include "base/slice.h"

/*
 * 64 + 1 + 255 octets, RFC 5321 section 4.5.3.1. The 64 of a local part are no
 * limit of their own: the same section asks to take more where one can, Postfix
 * does, and addresses that carry another one (VERP, SRS, BATV) need it.
 */
#define SMTP_ADDRESS_MAX 320

enum smtp_path_outcome {
	SMTP_PATH_OK = 0,
	SMTP_PATH_MALFORMED = 1,
	SMTP_PATH_TOO_LONG,
};

/*
 * Take a path from the front of *args: "<a@b>", "<>", "<@relay:a@b>", and as
 * people type by hand "a@b" or "a". A missing domain is completed with
 * append_domain (NULL: left as it is; "<Postmaster>" is an ordinary such
 * case, RFC 5321 section 4.5.1). On SMTP_PATH_OK *args is what follows
 * (parameters) and *ret is a string in the arena; otherwise both are unchanged.
 */
enum smtp_path_outcome smtp_path_parse(struct slice *args, const char *append_domain,
				       struct arena *arena, const char **ret);

/* The part behind the last '@'; empty when there is none. */
struct slice smtp_address_domain(const char *address);
struct slice smtp_address_local(const char *address);

bool smtp_address_is_ascii(const char *address);

/*
 * For look-ups: ASCII letters in lower case, in the local part, too; a domain
 * with letters beyond ASCII as DNS has it (smtp/domain.h), where it can be one.
 */
char *smtp_address_fold(struct arena *arena, const char *address);

/*
 * One mailbox can be written in many ways: "bob"@x is bob@x (RFC 5321 section
 * 4.1.2). plain() takes the quotes and backslashes off the local part, for
 * comparisons; quoted() puts them back where they are needed, and nowhere else.
 * Without a domain an address stays as it is.
 */
char *smtp_address_plain(struct arena *arena, const char *address);
char *smtp_address_quoted(struct arena *arena, const char *plain);

/*
 * A plain address without the extension of its local part, which begins with
 * the first of the delimiters: "bob+lists@x" is "bob@x". NULL when it has none.
 * As in Postfix, nothing is left without a local part, postmaster,
 * mailer-daemon and double-bounce are never split, and with "-" among the
 * delimiters owner-LIST and LIST-request are not.
 */
char *smtp_address_without_extension(struct arena *arena, const char *plain,
				     const char *delimiters);
