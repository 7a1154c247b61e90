/*
 * members - what stands on the right-hand side of an alias (aliases(5), virtual(5))
 *
 * Members are separated by commas, semicolons or white space; comments in
 * parentheses, and the words in front of <user@domain>, mean nothing.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"

enum member_kind {
	MEMBER_ADDRESS, /* "user", "user@domain", "@domain"; not checked */
	MEMBER_INCLUDE, /* a file with more of them, behind ":include:" */
	MEMBER_FILE,	/* to append to */
	MEMBER_COMMAND, /* to pipe into */
};

struct member {
	enum member_kind kind;
	const char *text; /* in the arena; without the ":include:" or "|" in front */
};

/* Take the next one from the front of the list: 1; 0: there is none; or an error: a quote is not closed. */
int members_next(struct slice *rest, struct arena *arena, struct member *ret, struct error *err);

/* 0, or an error that says why it is of no use here: -ENOTSUP for files and commands. */
int member_check(const struct member *member, struct error *err);

/* An address, "user" completed with the origin (NULL: left as it is), in the arena; NULL: it is none. */
const char *member_address(const char *text, const char *origin, struct arena *arena);
