/*
 * unix - sockets that are files: who may talk to us is a matter of permissions
 *
 * A path may be longer than the 108 bytes of a socket's address where the
 * system has /proc; elsewhere that is -ENAMETOOLONG.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/*
 * Make a socket file of this mode, and listen. There must be no file of the
 * name: -EADDRINUSE. Nobody can connect before it has its mode. Returns a
 * descriptor for listener_new(), which the caller closes, or an error.
 */
int unix_listen(const char *path, mode_t mode, struct error *err);

/*
 * A blocking connection. Returns a descriptor or an error: -ENOENT where there
 * is no file, -ECONNREFUSED where nobody listens any more.
 */
int unix_connect(const char *path, struct error *err);

/*
 * The same without waiting: -EAGAIN where more connections wait to be accepted
 * than the one who listens has room for.
 */
int unix_connect_at_once(const char *path, struct error *err);
