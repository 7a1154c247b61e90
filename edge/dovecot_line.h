/*
 * dovecot_line - what Dovecot's auth server writes, line by line
 *
 * Fields are separated by tabs: a command, what it needs, and then "name" or
 * "name=value". Bytes that would end a line or a field are escaped by ^A.
 * Nothing in here is trusted: a line that is none is an error, and a value is
 * had as a C string or not at all.
 *
 * https://doc.dovecot.org/2.3/developer_manual/design/auth_protocol/
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum dovecot_command {
	DOVECOT_OTHER, /* to be ignored: there may be new ones at any time */
	DOVECOT_VERSION,
	DOVECOT_MECH,
	DOVECOT_DONE,
	DOVECOT_OK,
	DOVECOT_FAIL,
	DOVECOT_CONT,
};

struct dovecot_line {
	enum dovecot_command command;
	uint32_t number;    /* VERSION: the major one; OK, FAIL, CONT: whose this is */
	struct slice word;  /* MECH: its name; CONT: the challenge in base64 */
	struct slice names; /* OK, FAIL, MECH: the "name" and "name=value", still escaped */
};

/* line is without its end, and stays the owner of what is in *ret. -EPROTO where it is none. */
int dovecot_line_parse(struct slice line, struct dovecot_line *ret, struct error *err);

bool dovecot_line_has(const struct dovecot_line *line, const char *name);

/* The value, unescaped. False, and out is "": it is not there, does not fit, or holds a NUL. */
bool dovecot_line_value(const struct dovecot_line *line, const char *name, char *out,
			size_t out_size);
