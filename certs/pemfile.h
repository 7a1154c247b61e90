/* pemfile - the bytes of a file with certificates or keys, wiped when freed */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"
#include "base/slice.h"
#include "certs/certificate.h"
#include "certs/pem.h"

struct pemfile {
	char *bytes;
	size_t len;
};

/* Errors name the file and say why. */
int pemfile_read(const char *path, struct pemfile *ret_file, struct error *err);
int pemfile_copy(struct slice text, struct pemfile *ret_file, struct error *err);
void pemfile_done(struct pemfile *file);

static inline struct slice pemfile_text(const struct pemfile *file)
{
	return slice_of(file->bytes, file->len);
}

/* The first private key in it, a part of its bytes; path is for the error. */
int pemfile_find_key(const struct pemfile *file, const char *path, struct slice *ret_pem,
		     struct error *err);

/* Whether there is another private key behind this one. */
bool pemfile_has_more_keys(const struct pemfile *file, struct slice key_pem);

/*
 * Hand over each certificate in the file, in order; what they point to lives
 * for the call only. Stops at the first negative return, which it returns;
 * that there is none is an error, too.
 */
int pemfile_certificates(const char *path,
			 int (*take)(void *arg, const struct pem_block *block,
				     const struct certs_certificate *certificate,
				     struct error *err),
			 void *arg, struct error *err);
