/*
 * file_watch - hear of it when a file has changed, or what is in a directory
 *
 * A hint and no more: several changes may be told as one, a file system on the
 * network may tell nothing, and what is watched is the file that had the name
 * in the beginning. So whoever depends on it looks now and then as well.
 */
#pragma once

#include "net/loop.h"

struct file_watch;

/* changed() is called on the loop. The account must be able to read path. */
int file_watch_new(struct loop *loop, const char *path, void (*changed)(void *arg), void *arg,
		   struct file_watch **ret_watch, struct error *err);
void file_watch_free(struct file_watch *watch); /* NULL is fine; safe inside changed() */
