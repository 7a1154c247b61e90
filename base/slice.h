/*
 * slice - bytes that somebody else owns
 *
 * Bytes from the wire are slices, not C strings: mail may hold NUL. A slice is
 * passed by value and is valid as long as its owner says.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
	const char *ptr; /* may be NULL when len is 0 */
	size_t len;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){ "" literal, sizeof(literal) - 1 })

static inline struct slice slice_from(const char *string)
{
	return (struct slice){ string, string ? strlen(string) : 0 };
}

static inline struct slice slice_of(const char *ptr, size_t len)
{
	return (struct slice){ ptr, len };
}

/* What is behind the first n bytes; empty when there are no more. */
static inline struct slice slice_skip(struct slice s, size_t n)
{
	return n >= s.len ? (struct slice){ s.ptr ? s.ptr + s.len : NULL, 0 }
			  : (struct slice){ s.ptr + n, s.len - n };
}

static inline struct slice slice_first(struct slice s, size_t n)
{
	return (struct slice){ s.ptr, n < s.len ? n : s.len };
}

bool slice_equal(struct slice a, struct slice b);
bool slice_equal_nocase(struct slice a, struct slice b); /* ASCII letters only */
bool slice_starts_nocase(struct slice s, struct slice prefix);

/* Offset of the first c, or s.len. */
size_t slice_find(struct slice s, char c);

/* Without leading and trailing space, tab, CR and LF. */
struct slice slice_trim(struct slice s);

/*
 * Take the next word, ended by any character of separators, from the front of
 * *rest, and the one separator that ends it. Separators before it are skipped.
 * Returns false when none is left.
 */
bool slice_next_word(struct slice *rest, const char *separators, struct slice *ret_word);

/* Copies to out as a C string. False, and out is "", if it does not fit or holds a NUL. */
bool slice_copy(struct slice s, char *out, size_t out_size);

/* A malloc'ed C string, NULL when out of memory; bytes behind a NUL are out of reach of strlen. */
char *slice_strdup(struct slice s);
