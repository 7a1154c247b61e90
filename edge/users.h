/*
 * users - accounts of the system, as mydestination's local parts name them
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

/*
 * Whether there is an account of this name: MAP_FOUND, with its name in the
 * arena, MAP_NOT_FOUND, or an error, when nobody can tell. Blocks: the system's
 * sources (nsswitch.conf) may be on another host.
 */
int users_find(const char *name, struct arena *arena, const char **ret_name, struct error *err);
