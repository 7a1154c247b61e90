/*
 * A file is
 *	posthouse-drop 1 SIZE		the message's, in 20 digits, written last
 *	sender ADDRESS			nothing behind the space: the null reverse-path
 *	name FULL NAME			this and the next ones where there is something
 *	envid ENVID
 *	notify NOTIFY			as the parameters of RCPT and MAIL (RFC 3461)
 *	return RET
 *	body 8bit
 *	relayed
 *	recipient ADDRESS		at least one
 *					an empty line
 * and the message. Lines end in LF.
 *
 * It grows under a name with a dot in front, of which the server takes no
 * notice for a day. It is synced, gets its name, and is synced once more: the
 * directory cannot be opened for that by those who may not list it, but file
 * systems with a journal keep a rename with the file's inode.
 */
#include "mta/drop.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/parse.h"
#include "smtp/address.h"

#define MAGIC	     "posthouse-drop 1 "
#define SIZE_DIGITS  20
#define FILE_MODE    0640
#define ENVELOPE_MAX (4u << 20) /* room for DROP_RECIPIENTS_MAX */
#define READ_SIZE    65536

struct drop_writer {
	int directory, fd;
	char path[2 * DROP_NAME_SIZE]; /* the name with a dot, while it grows; "": there is none */
	char name[DROP_NAME_SIZE];
	uint64_t size;
	struct buf pending;
};

/* ---- writing ---- */

static int fail(int code, const char *what, struct error *err)
{
	return error_set(err, code, "%s: %s", what, strerror(-code));
}

static int write_all(int fd, struct slice bytes, struct error *err)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.ptr, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(-errno, "cannot write the message", err);
		bytes = slice_skip(bytes, (size_t)n);
	}
	return 0;
}

static int flush(struct drop_writer *w, struct error *err)
{
	int r = write_all(w->fd, buf_slice(&w->pending), err);

	buf_clear(&w->pending);
	return r;
}

static int make_name(struct drop_writer *w, struct error *err)
{
	uint64_t random[2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return fail(-errno, "no random bytes", err);
	snprintf(w->name, sizeof(w->name), "%016" PRIx64 "%06x", random[0],
		 (unsigned int)(random[1] & 0xffffff));
	snprintf(w->path, sizeof(w->path), ".%s", w->name);
	return 0;
}

static int make_file(struct drop_writer *w, const char *directory, struct error *err)
{
	/* It lies in a directory of the server's account, which is not to lead root elsewhere. */
	w->directory = open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (w->directory < 0)
		return fail(-errno, directory, err);
	if (make_name(w, err) < 0)
		return err->code;
	w->fd = openat(w->directory, w->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	if (w->fd < 0) {
		w->path[0] = '\0';
		return fail(-errno, directory, err);
	}
	return 0;
}

static void format_envelope(struct buf *out, const struct drop_envelope *e)
{
	buf_printf(out, MAGIC "%0*d\nsender %s\n", SIZE_DIGITS, 0, e->sender);
	if (e->full_name[0])
		buf_printf(out, "name %s\n", e->full_name);
	if (e->envelope_id[0])
		buf_printf(out, "envid %s\n", e->envelope_id);
	if (e->notify) {
		buf_append_string(out, "notify ");
		smtp_notify_format(e->notify, out);
		buf_append_string(out, "\n");
	}
	if (e->returning != SMTP_RETURN_DEFAULT)
		buf_printf(out, "return %s\n", e->returning == SMTP_RETURN_FULL ? "FULL" : "HDRS");
	if (e->body_8bit)
		buf_append_string(out, "body 8bit\n");
	if (e->is_relayed)
		buf_append_string(out, "relayed\n");
	for (size_t i = 0; i < e->recipient_count; i++)
		buf_printf(out, "recipient %s\n", e->recipients[i]);
	buf_append_string(out, "\n");
}

int drop_create(const char *directory, const struct drop_envelope *envelope,
		struct drop_writer **ret_writer, struct error *err)
{
	struct drop_writer *w = memory_zeroed(sizeof(*w));
	struct error unheard;
	int r;

	w->directory = w->fd = -1;
	r = make_file(w, directory, err ? err : &unheard);
	if (r < 0) {
		drop_free(w);
		return r;
	}
	format_envelope(&w->pending, envelope);
	*ret_writer = w;
	return 0;
}

int drop_write(struct drop_writer *w, struct slice bytes, struct error *err)
{
	w->size += bytes.len;
	buf_append_slice(&w->pending, bytes);
	return buf_len(&w->pending) < READ_SIZE ? 0 : flush(w, err);
}

static int write_size(struct drop_writer *w, struct error *err)
{
	char digits[SIZE_DIGITS + 1];

	snprintf(digits, sizeof(digits), "%0*" PRIu64, SIZE_DIGITS, w->size);
	if (pwrite(w->fd, digits, SIZE_DIGITS, sizeof(MAGIC) - 1) != SIZE_DIGITS)
		return fail(errno ? -errno : -EIO, "cannot write the message", err);
	return 0;
}

int drop_commit(struct drop_writer *w, char ret_name[DROP_NAME_SIZE], struct error *err)
{
	int r = flush(w, err);

	if (r == 0)
		r = write_size(w, err);
	if (r < 0)
		return r;
	/* The umask of whoever calls is not ours to trust in. */
	if (fchmod(w->fd, FILE_MODE) < 0 || fsync(w->fd) < 0 ||
	    renameat(w->directory, w->path, w->directory, w->name) < 0)
		return fail(-errno, "cannot store the message", err);
	w->path[0] = '\0';
	if (fsync(w->fd) < 0) {
		r = fail(-errno, "cannot store the message", err);
		unlinkat(w->directory, w->name, 0);
		return r;
	}
	memcpy(ret_name, w->name, DROP_NAME_SIZE);
	return 0;
}

void drop_free(struct drop_writer *w)
{
	if (!w)
		return;
	if (w->path[0])
		unlinkat(w->directory, w->path, 0);
	if (w->fd >= 0)
		close(w->fd);
	if (w->directory >= 0)
		close(w->directory);
	buf_done(&w->pending);
	free(w);
}

/* ---- reading ---- */

static int bad(struct error *err, const char *why)
{
	error_set(err, -EINVAL, "%s", why);
	return DROP_BAD_FILE;
}

static bool has_control_bytes(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 127)
			return true;
	return false;
}

/* NULL: none that an envelope can have. */
static const char *take_address(struct arena *arena, struct slice value)
{
	const char *address = NULL;

	if (smtp_path_parse(&value, NULL, arena, &address) != SMTP_PATH_OK || value.len > 0 ||
	    smtp_address_domain(address).len == 0)
		return NULL;
	return address;
}

static bool take_recipient(struct drop_envelope *e, struct arena *arena, struct slice value)
{
	const char *address = take_address(arena, value);
	size_t count = e->recipient_count;

	if (!address || count == DROP_RECIPIENTS_MAX)
		return false;
	if ((count & (count - 1)) == 0) { /* 0 and the powers of two: full */
		const char **more = arena_alloc(arena, sizeof(*more) * (count ? count * 2 : 1));

		if (count > 0)
			memcpy(more, e->recipients, count * sizeof(*more));
		e->recipients = more;
	}
	e->recipients[e->recipient_count++] = address;
	return true;
}

static bool take_line(struct drop_envelope *e, struct arena *arena, struct slice line)
{
	struct slice key = slice_first(line, slice_find(line, ' '));
	struct slice value = slice_skip(line, key.len + 1);

	if (has_control_bytes(line))
		return false;
	if (slice_equal(key, SLICE("sender")))
		return (e->sender = value.len ? take_address(arena, value) : "") != NULL;
	if (slice_equal(key, SLICE("recipient")))
		return take_recipient(e, arena, value);
	if (slice_equal(key, SLICE("name")))
		return (e->full_name = arena_slicedup(arena, value)) != NULL;
	if (slice_equal(key, SLICE("envid")) && value.len <= SMTP_ENVELOPE_ID_MAX)
		return (e->envelope_id = arena_slicedup(arena, value)) != NULL;
	if (slice_equal(key, SLICE("notify")))
		return smtp_notify_parse(value, &e->notify);
	if (slice_equal(key, SLICE("return")))
		return smtp_return_parse(value, &e->returning);
	if (slice_equal(line, SLICE("body 8bit")))
		return e->body_8bit = true;
	if (slice_equal(line, SLICE("relayed")))
		return e->is_relayed = true;
	return false;
}

/* Offset behind the empty line that ends the envelope; 0: it is not in there yet. */
static size_t envelope_len(struct slice s)
{
	const char *end = s.len > 0 ? memmem(s.ptr, s.len, "\n\n", 2) : NULL;

	return end ? (size_t)(end - s.ptr) + 2 : 0;
}

static int read_envelope(int fd, struct buf *in, size_t *ret_len, struct error *err)
{
	while ((*ret_len = envelope_len(buf_slice(in))) == 0 && buf_len(in) < ENVELOPE_MAX) {
		ssize_t n = read(fd, buf_reserve(in, READ_SIZE), READ_SIZE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(-errno, "cannot be read", err);
		if (n == 0)
			break;
		buf_commit(in, (size_t)n);
	}
	return *ret_len > 0 ? 0 : bad(err, "it has no envelope");
}

static int parse_envelope(struct slice text, struct arena *arena, struct drop_envelope *e,
			  uint64_t *ret_size, struct error *err)
{
	const size_t start = sizeof(MAGIC) - 1;
	struct slice line;

	*e = (struct drop_envelope){ .full_name = "", .envelope_id = "" };
	if (!slice_next_word(&text, "\n", &line) ||
	    !slice_equal(slice_first(line, start), SLICE(MAGIC)) ||
	    line.len != start + SIZE_DIGITS ||
	    !parse_uint(slice_skip(line, start), INT64_MAX, ret_size))
		return bad(err, "it is no message of sendmail's");
	while (slice_next_word(&text, "\n", &line))
		if (!take_line(e, arena, line))
			return bad(err, e->recipient_count == DROP_RECIPIENTS_MAX
						? "it has too many recipients"
						: "its envelope has a line that is not valid");
	if (!e->sender || e->recipient_count == 0)
		return bad(err, "its envelope has no sender or no recipients");
	return 0;
}

static int check_file(const struct stat *st, gid_t gid, struct error *err)
{
	if (!S_ISREG(st->st_mode))
		return bad(err, "it is not a regular file");
	if (st->st_nlink != 1)
		return bad(err, "it has other names (hard links)");
	if (st->st_gid != gid)
		return bad(err, "it does not belong to the group of the drop directory");
	return 0;
}

/* What its owner, or whoever made it, has brought about; else it is this host's trouble. */
static int judge_open(int code, struct error *err)
{
	switch (code) {
	case EWOULDBLOCK: /* O_NONBLOCK, and a lease of the owner's */
		error_set(err, -code, "its owner keeps it from being read");
		return DROP_NOT_NOW;
	case EACCES:
	case ELOOP:
	case ENXIO:
		error_set(err, -code, "cannot be opened: %s", strerror(code));
		return DROP_BAD_FILE;
	default:
		return fail(-code, "cannot be opened", err);
	}
}

static int open_file(int directory, const char *name, gid_t gid, struct stat *st, int *ret_fd,
		     struct error *err)
{
	int r;

	/* Before it is opened: that alone may be an event for a device. */
	if (fstatat(directory, name, st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(-errno, "cannot be looked at", err);
	r = check_file(st, gid, err);
	if (r != 0)
		return r;
	*ret_fd =
		openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (*ret_fd < 0)
		return judge_open(errno, err);
	if (fstat(*ret_fd, st) < 0)
		return fail(-errno, "cannot be looked at", err);
	return check_file(st, gid, err);
}

static int read_open(int fd, uint64_t max_bytes, const struct stat *st, struct arena *arena,
		     struct drop_envelope *ret, uint64_t *ret_size, struct error *err)
{
	struct buf in = { 0 };
	size_t len = 0;
	int r = read_envelope(fd, &in, &len, err);

	if (r == 0)
		r = parse_envelope(slice_first(buf_slice(&in), len), arena, ret, ret_size, err);
	buf_done(&in);
	if (r != 0)
		return r;
	if (max_bytes > 0 && *ret_size > max_bytes)
		return bad(err, "the message is larger than message_size_limit");
	if (*ret_size != (uint64_t)st->st_size - len)
		return bad(err, "its size is not the one that it had when it was written");
	if (lseek(fd, (off_t)len, SEEK_SET) < 0)
		return fail(-errno, "cannot be read", err);
	return 0;
}

int drop_open(int directory, const char *name, gid_t gid, uint64_t max_bytes, struct arena *arena,
	      struct drop_envelope *ret, uid_t *ret_uid, int *ret_fd, uint64_t *ret_size,
	      struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	struct stat st;
	int r;

	r = open_file(directory, name, gid, &st, &fd, err);
	if (r == 0)
		r = read_open(fd, max_bytes, &st, arena, ret, ret_size, err);
	if (r != 0)
		return r;
	*ret_uid = st.st_uid;
	*ret_fd = fd;
	fd = -1;
	return 0;
}
