/*
 * aliases - files as aliases(5) has them: "name: value, value, ..."
 *
 * A name is a local part, in double quotes where it holds white space, a colon
 * or the like; the quotes are no part of it. What the values mean is for
 * others to say. Lines are continued and commented as in other files.
 */
#pragma once

#include "maps/map.h"
#include "maps/table.h"

/* As text_parse() (maps/text.h). */
int aliases_parse(char *text, size_t len, const char *name, map_report *report, void *arg,
		  struct table **ret_table, struct error *err);
