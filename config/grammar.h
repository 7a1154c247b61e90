/*
 * grammar - the lines of a configuration file, in Postfix's syntax
 *
 *	name = value
 *		a line that starts with white space continues the one before
 *	# a comment line, which may stand between continued lines too
 *
 * What the names and values mean is not known here.
 */
#pragma once

#include "base/slice.h"

struct config_grammar_events {
	/* value is trimmed and continued lines are joined by one space; valid during the call. */
	void (*setting)(void *arg, unsigned int line, struct slice name, struct slice value);

	/* A physical line that continues the setting above it, trimmed. May be NULL. */
	void (*continued)(void *arg, unsigned int line, struct slice content);

	/* A line that is none of the above; reading goes on behind it. */
	void (*fault)(void *arg, unsigned int line, const char *text);
};

/* Read all of text. Lines are counted from 1; a setting has the line of its name. */
void config_grammar_read(struct slice text, const struct config_grammar_events *events, void *arg);
