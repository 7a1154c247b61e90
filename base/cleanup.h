/*
 * cleanup - release local variables when they leave scope
 *
 *	CLEANUP(free_strp) char *line = NULL;
 *
 * Each type with x_free() or x_close() offers x_freep() or x_closep() for
 * this, made by DEFINE_CLEANUP. Set the variable to NULL to hand it over.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))

#define DEFINE_CLEANUP(type, function)                                                             \
	static inline void function##p(type *thing)                                                \
	{                                                                                          \
		if (*thing)                                                                        \
			function(*thing);                                                          \
	}                                                                                          \
	struct cleanup_needs_semicolon

static inline void free_strp(char **string)
{
	free(*string);
}

static inline void close_filep(FILE **file)
{
	if (*file)
		fclose(*file);
}

/* For descriptors: initialize with -1. */
static inline void close_fdp(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
