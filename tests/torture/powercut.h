/*
 * powercut - what powercut_libc.c calls when the program calls libc
 *
 * Arguments and results are those of the system calls. powercut.c tells how it works.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#pragma GCC visibility push(hidden)

int powercut_open(int at, const char *path, int flags, mode_t mode);
int powercut_mkdir(int at, const char *path, mode_t mode);
int powercut_unlink(int at, const char *path, int flags);
int powercut_rename(int at1, const char *path1, int at2, const char *path2);

/* offset -1: where the descriptor stands. */
ssize_t powercut_write(int fd, const void *bytes, size_t len, off_t offset);
ssize_t powercut_writev(int fd, const struct iovec *parts, int count, off_t offset);
int powercut_truncate(int fd, off_t size);
int powercut_allocate(int fd, int mode, off_t offset, off_t len);
int powercut_sync(int fd, long number); /* of the system call */

/* The descriptor is about to be closed. */
void powercut_forget(int fd);

/* End the program if this is watched: we could not remember what is about to happen to it. */
void powercut_refuse(int fd, const char *what);
void powercut_refuse_name(int at, const char *path, const char *what);

_Noreturn void powercut_give_up(const char *what);

#pragma GCC visibility pop
