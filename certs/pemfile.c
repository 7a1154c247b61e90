/*
 * pemfile - read into one block of the file's size: a buffer that grows would
 * leave parts of a private key behind in freed memory
 */
#include "certs/pemfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/escape.h"

#define SIZE_LIMIT (8 << 20) /* all CAs of the world are 250 KiB */

static int read_all(int fd, const char *path, struct pemfile *file, size_t size, struct error *err)
{
	while (file->len < size) {
		ssize_t n = read(fd, file->bytes + file->len, size - file->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, -errno, "%s: %s", path, strerror(errno));
		if (n == 0)
			break;
		file->len += (size_t)n;
	}
	return 0;
}

int pemfile_read(const char *path, struct pemfile *ret_file, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	struct pemfile file = { 0 };
	struct stat st;
	int r;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s: not a regular file", path);
	if (st.st_size > SIZE_LIMIT)
		return error_set(err, -EFBIG, "%s: too large for certificates and keys", path);

	file.bytes = malloc((size_t)st.st_size + 1);
	if (!file.bytes)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	r = read_all(fd, path, &file, (size_t)st.st_size, err);
	if (r < 0) {
		pemfile_done(&file);
		return r;
	}
	*ret_file = file;
	return 0;
}

int pemfile_copy(struct slice text, struct pemfile *ret_file, struct error *err)
{
	char *bytes = malloc(text.len + 1);

	if (!bytes)
		return error_set(err, -ENOMEM, "out of memory");
	memcpy(bytes, text.ptr, text.len);
	*ret_file = (struct pemfile){ .bytes = bytes, .len = text.len };
	return 0;
}

void pemfile_done(struct pemfile *file)
{
	if (file->bytes)
		explicit_bzero(file->bytes, file->len);
	free(file->bytes);
	*file = (struct pemfile){ 0 };
}

static bool is_certificate(const struct pem_block *block)
{
	return slice_equal(block->label, SLICE("CERTIFICATE")) ||
	       slice_equal(block->label, SLICE("X509 CERTIFICATE"));
}

/* Says what is there instead, for people who gave the wrong file. */
static int no_certificate(const char *path, struct slice text, struct error *err)
{
	struct pem_block block;
	char label[64];

	if (pem_next(&text, &block))
		return error_set(err, -EINVAL, "%s: holds a %s, but no certificate", path,
				 escape_cstr(block.label, label, sizeof(label)));
	return error_set(err, -EINVAL, "%s: no certificate in PEM form in it", path);
}

static int take_certificates(struct slice text,
			     int (*take)(void *arg, const struct pem_block *block,
					 const struct certs_certificate *certificate,
					 struct error *err),
			     void *arg, unsigned int *ret_count, struct error *err)
{
	struct certs_certificate certificate;
	struct pem_block block;
	struct buf der = { 0 };
	int r = 0;

	while (r == 0 && pem_next(&text, &block)) {
		if (!is_certificate(&block))
			continue;
		++*ret_count;
		buf_clear(&der);
		if (pem_decode(&block, &der))
			r = certs_certificate_parse(buf_slice(&der), &certificate, err);
		else
			r = error_set(err, -EBADMSG, "damaged base64");
		if (r == 0)
			r = take(arg, &block, &certificate, err);
	}
	buf_done(&der);
	return r;
}

int pemfile_certificates(const char *path,
			 int (*take)(void *arg, const struct pem_block *block,
				     const struct certs_certificate *certificate,
				     struct error *err),
			 void *arg, struct error *err)
{
	struct pemfile file;
	unsigned int count = 0;
	int r;

	r = pemfile_read(path, &file, err);
	if (r < 0)
		return r;
	r = take_certificates(pemfile_text(&file), take, arg, &count, err);
	if (r < 0)
		error_prefix(err, "%s: certificate %u in it", path, count);
	else if (count == 0)
		r = no_certificate(path, pemfile_text(&file), err);
	pemfile_done(&file);
	return r;
}

/* "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY". */
static bool is_private_key(const struct pem_block *block)
{
	struct slice tail = SLICE("PRIVATE KEY");

	return block->label.len >= tail.len &&
	       slice_equal(slice_skip(block->label, block->label.len - tail.len), tail);
}

int pemfile_find_key(const struct pemfile *file, const char *path, struct slice *ret_pem,
		     struct error *err)
{
	struct slice rest = pemfile_text(file);
	struct pem_block block;

	while (pem_next(&rest, &block)) {
		if (!is_private_key(&block))
			continue;
		if (block.is_encrypted)
			return error_set(err, -EINVAL,
					 "%s: the private key is locked with a passphrase, which "
					 "nobody could type at a restart; store it without one",
					 path);
		*ret_pem = block.text;
		return 0;
	}
	return error_set(err, -EINVAL, "%s: no private key in PEM form in it", path);
}

bool pemfile_has_more_keys(const struct pemfile *file, struct slice key_pem)
{
	struct slice rest = pemfile_text(file);
	struct pem_block block;

	rest = slice_skip(rest, (size_t)(key_pem.ptr + key_pem.len - rest.ptr));
	while (pem_next(&rest, &block))
		if (is_private_key(&block))
			return true;
	return false;
}
