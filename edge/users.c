/* getpwnam_r() tells "no such user" in as many ways as there are sources; POSIX has the list. */
#include "edge/users.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/memory.h"
#include "maps/map.h"

#define NAME_MAX_BYTES	256
#define RECORD_SIZE_MAX (1u << 20)

static bool can_be_name(const char *name)
{
	return name[0] && strlen(name) <= NAME_MAX_BYTES && !strpbrk(name, "/: \t\r\n");
}

static bool means_nobody(int error)
{
	return error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

int users_find(const char *name, struct arena *arena, const char **ret_name, struct error *err)
{
	CLEANUP(free_strp) char *memory = NULL;
	struct passwd record, *found = NULL;
	int error = ERANGE;

	if (!can_be_name(name))
		return MAP_NOT_FOUND;
	for (size_t size = 1024; error == ERANGE && size <= RECORD_SIZE_MAX; size *= 4) {
		memory = memory_grow(memory, size);
		error = getpwnam_r(name, &record, memory, size, &found);
	}
	if (found) {
		*ret_name = arena_strdup(arena, found->pw_name);
		return MAP_FOUND;
	}
	if (error == 0 || means_nobody(error))
		return MAP_NOT_FOUND;
	return error_set(err, -error, "accounts of the system: %s", strerror(error));
}
