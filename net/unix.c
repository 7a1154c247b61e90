/*
 * unix - a path that does not fit into an address is reached by its directory:
 * /proc/self/fd/N/NAME is short.
 */
#include "net/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"

/* *directory_fd is open while the address is used; -1 where it is not needed. */
static int make_address(const char *path, struct sockaddr_un *ret, int *ret_directory_fd)
{
	const char *name = strrchr(path, '/');
	CLEANUP(free_strp) char *directory = NULL;
	int len;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_directory_fd = -1;
	if (strlen(path) < sizeof(ret->sun_path)) {
		strcpy(ret->sun_path, path);
		return 0;
	}
	if (!name || name == path)
		return -ENAMETOOLONG;
	directory = strndup(path, (size_t)(name - path));
	if (!directory)
		return -ENOMEM;
	*ret_directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_directory_fd < 0)
		return -errno;
	len = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d%s",
		       *ret_directory_fd, name);
	return (size_t)len < sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
}

/* In this order: before listen() a connection is refused, whatever the mode is. */
static int bind_socket(int fd, const struct sockaddr_un *address, const char *path, mode_t mode)
{
	int r;

	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	if (chmod(path, mode) == 0 && listen(fd, SOMAXCONN) == 0)
		return 0;
	r = -errno;
	unlink(path);
	return r;
}

int unix_listen(const char *path, mode_t mode, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1, directory_fd = -1;
	struct sockaddr_un address;
	int r = make_address(path, &address, &directory_fd);

	if (r == 0) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		r = fd < 0 ? -errno : bind_socket(fd, &address, path, mode);
	}
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	r = fd;
	fd = -1;
	return r;
}

static int connect_socket(const char *path, int flags, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1, directory_fd = -1;
	struct sockaddr_un address;
	int r = make_address(path, &address, &directory_fd);

	if (r == 0) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
		if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
			r = -errno;
	}
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	r = fd;
	fd = -1;
	return r;
}

int unix_connect(const char *path, struct error *err)
{
	return connect_socket(path, 0, err);
}

int unix_connect_at_once(const char *path, struct error *err)
{
	return connect_socket(path, SOCK_NONBLOCK, err);
}
