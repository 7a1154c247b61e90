/* powercut_libc - our functions in the place of libc's; powercut.c tells what for */
#undef _FILE_OFFSET_BITS /* both names of a function are ours, open() and open64() */
#include "powercut.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* clang-format off */
#define MODE_OF(flags, mode)								\
	mode_t mode = 0;								\
	if ((flags) & (O_CREAT | O_TMPFILE)) {						\
		va_list args;								\
		va_start(args, flags);							\
		mode = va_arg(args, mode_t);						\
		va_end(args);								\
	}
/* clang-format on */

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int at, const char *path, int flags);
int __openat64_2(int at, const char *path, int flags);

int open(const char *path, int flags, ...)
{
	MODE_OF(flags, mode)
	return powercut_open(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	MODE_OF(flags, mode)
	return powercut_open(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
	MODE_OF(flags, mode)
	return powercut_open(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
	MODE_OF(flags, mode)
	return powercut_open(at, path, flags, mode);
}

int __open_2(const char *path, int flags)
{
	return powercut_open(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return powercut_open(AT_FDCWD, path, flags, 0);
}

int __openat_2(int at, const char *path, int flags)
{
	return powercut_open(at, path, flags, 0);
}

int __openat64_2(int at, const char *path, int flags)
{
	return powercut_open(at, path, flags, 0);
}

int creat(const char *path, mode_t mode)
{
	return powercut_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int close(int fd)
{
	powercut_forget(fd);
	return (int)syscall(SYS_close, fd);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	return powercut_write(fd, bytes, len, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	return powercut_write(fd, bytes, len, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
	return powercut_write(fd, bytes, len, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	return powercut_writev(fd, parts, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	return powercut_writev(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
	return powercut_writev(fd, parts, count, offset);
}

int ftruncate(int fd, off_t size)
{
	return powercut_truncate(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
	return powercut_truncate(fd, size);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return powercut_allocate(fd, mode, offset, len);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
	return powercut_allocate(fd, mode, offset, len);
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
	return powercut_allocate(fd, 0, offset, len) < 0 ? errno : 0;
}

int posix_fallocate64(int fd, off64_t offset, off64_t len)
{
	return powercut_allocate(fd, 0, offset, len) < 0 ? errno : 0;
}

int fsync(int fd)
{
	return powercut_sync(fd, SYS_fsync);
}

int fdatasync(int fd)
{
	return powercut_sync(fd, SYS_fdatasync);
}

int mkdir(const char *path, mode_t mode)
{
	return powercut_mkdir(AT_FDCWD, path, mode);
}

int mkdirat(int at, const char *path, mode_t mode)
{
	return powercut_mkdir(at, path, mode);
}

int unlink(const char *path)
{
	return powercut_unlink(AT_FDCWD, path, 0);
}

int unlinkat(int at, const char *path, int flags)
{
	return powercut_unlink(at, path, flags);
}

int rmdir(const char *path)
{
	return powercut_unlink(AT_FDCWD, path, AT_REMOVEDIR);
}

int rename(const char *from, const char *to)
{
	return powercut_rename(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int at1, const char *from, int at2, const char *to)
{
	return powercut_rename(at1, from, at2, to);
}

/* ---- what nobody uses: should that change, we must learn it ---- */

void *mmap64(void *address, size_t len, int protection, int flags, int fd, off64_t offset)
{
	if (protection & PROT_WRITE && flags & MAP_SHARED)
		powercut_refuse(fd, "mmap");
	/* NOLINTNEXTLINE: the system call returns the address as a number */
	return (void *)syscall(SYS_mmap, address, len, protection, flags, fd, offset);
}

void *mmap(void *address, size_t len, int protection, int flags, int fd, off_t offset)
{
	return mmap64(address, len, protection, flags, fd, offset);
}

int link(const char *from, const char *to)
{
	return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int at1, const char *from, int at2, const char *to, int flags)
{
	powercut_refuse_name(at2, to, "link");
	return (int)syscall(SYS_linkat, at1, from, at2, to, flags);
}

int symlink(const char *target, const char *path)
{
	powercut_refuse_name(AT_FDCWD, path, "symlink");
	return (int)syscall(SYS_symlinkat, target, AT_FDCWD, path);
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t len)
{
	powercut_refuse(out, "sendfile");
	return syscall(SYS_sendfile, out, in, offset, len);
}

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t len,
			unsigned int flags)
{
	powercut_refuse(out, "copy_file_range");
	return syscall(SYS_copy_file_range, in, in_at, out, out_at, len, flags);
}

void sync(void)
{
	powercut_give_up("sync");
}

int syncfs(int fd)
{
	return powercut_sync(fd, SYS_syncfs);
}
