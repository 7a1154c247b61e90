/* lock - the file holds the process id of its owner, for people; the lock itself is flock's */
#include "queue/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"

static int set_busy(int fd, const char *path, struct error *err)
{
	char pid[16] = "";
	ssize_t len = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[len > 0 ? len : 0] = '\0';
	pid[strspn(pid, "0123456789")] = '\0';
	return error_set(err, -EBUSY, "%s: the queue is in use by process %s", path,
			 pid[0] ? pid : "(unknown)");
}

int queue_lock(const char *path, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	int result;

	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			       ? set_busy(fd, path, err)
			       : error_set(err, -errno, "%s: %s", path, strerror(errno));

	/* A full disk must not keep a queue from being opened: the number is only for people. */
	if (ftruncate(fd, 0) == 0)
		(void)!dprintf(fd, "%ld\n", (long)getpid());

	result = fd;
	fd = -1;
	return result;
}

void queue_unlock(int fd)
{
	if (fd < 0)
		return;
	(void)!ftruncate(fd, 0);
	close(fd);
}
