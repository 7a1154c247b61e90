/* lock - one process at a time has a queue open; the kernel forgets the lock when it dies */
#pragma once

#include "base/error.h"

/* Lock the file at path, creating it. Returns its descriptor; -EBUSY says who has it. */
int queue_lock(const char *path, struct error *err);

/* The file stays: removing it would race with the next process that locks it. */
void queue_unlock(int fd);
