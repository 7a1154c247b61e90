/*
 * Names in the drop directory are whatever an account of this host has given
 * them, and what they stand for can change at any time. So a file is renamed
 * before it is looked at, into a directory that is the server's alone: from
 * there nobody else can take it away or put another in its place. Its owner
 * may still write to it, or have it open; drop.c reads it once.
 *
 * The new name is the id of the message, and both directories are synced
 * before the queue gets it. Whatever crashes then, the queue or its ledger
 * knows the id if it got the message, and the file only has to go; else it is
 * taken again, as a new message.
 */
#include "mta/intake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/escape.h"
#include "mta/completion.h"
#include "mta/drop.h"
#include "mta/maillog.h"
#include "mta/recipients.h"
#include "mta/trace.h"
#include "queue/reader.h"
#include "smtp/address.h"

#define STALE_S	  86400 /* from then on nobody still writes a file */
#define READ_SIZE 65536

struct places {
	const struct mta_options *options;
	int drop, taken, bad;
	gid_t gid;	     /* of the files that belong there */
	int64_t first, last; /* ids that files got in this round are between */
};

static void warn(const struct places *p, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void warn(const struct places *p, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_write(p->options->log, "pickup", LOG_LEVEL_WARNING, "%s", text);
}

/* ---- the directories ---- */

/* One that is ours alone, made where it is absent. */
static int open_inner(struct places *p, const char *name, int *ret_fd, struct error *err)
{
	struct stat st;

	if (mkdirat(p->drop, name, 0700) < 0 && errno != EEXIST)
		return error_set(err, -errno, "%s/%s: %s", p->options->drop_directory, name,
				 strerror(errno));
	*ret_fd = openat(p->drop, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd < 0 || fstat(*ret_fd, &st) < 0)
		return error_set(err, -errno, "%s/%s: %s", p->options->drop_directory, name,
				 strerror(errno));
	if (st.st_uid != geteuid() || (st.st_mode & 077))
		return error_set(err, -EPERM,
				 "%s/%s: must belong to the server's account, with mode 0700",
				 p->options->drop_directory, name);
	return 0;
}

static void close_places(struct places *p)
{
	if (p->drop >= 0)
		close(p->drop);
	if (p->taken >= 0)
		close(p->taken);
	if (p->bad >= 0)
		close(p->bad);
}

static int open_places(struct places *p, const struct mta_options *options, struct error *err)
{
	struct stat st;
	int r;

	*p = (struct places){ .options = options, .drop = -1, .taken = -1, .bad = -1 };
	p->drop = open(options->drop_directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (p->drop < 0 || fstat(p->drop, &st) < 0)
		return error_set(err, -errno, "%s: %s", options->drop_directory, strerror(errno));
	p->gid = st.st_gid;
	if (st.st_uid != geteuid())
		return error_set(err, -EPERM, "%s: must belong to the server's account",
				 options->drop_directory);
	r = open_inner(p, DROP_TAKEN, &p->taken, err);
	return r == 0 ? open_inner(p, DROP_BAD, &p->bad, err) : r;
}

/* ---- one file ---- */

static void put_aside(struct places *p, const char *shown, const char *taken, const char *why)
{
	char name[NAME_MAX];
	int r = -1;

	/* Names are ids, and no id is used twice; what is there all the same is not to be lost. */
	for (unsigned int i = 0; i < 10 && r < 0; i++) {
		struct stat st;

		snprintf(name, sizeof(name), i ? "%s.%u" : "%s", taken, i);
		if (fstatat(p->bad, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
			r = renameat(p->taken, taken, p->bad, name);
	}
	if (r == 0)
		warn(p, "%s: %s; put aside as %s/" DROP_BAD "/%s", shown, why,
		     p->options->drop_directory, name);
	else
		warn(p, "%s: %s; and it could not be put aside: %s", shown, why, strerror(errno));
}

static void add_received(struct queue_message *m, const struct mta_options *o, uid_t uid)
{
	char date[TIME_RFC5322_SIZE];
	struct buf out = { 0 };

	buf_printf(&out, "Received: by %s (%s, from userid %lu)\r\n\tid %s; %s\r\n", o->hostname,
		   o->mail_name, (unsigned long)uid, m->name, time_rfc5322(m->arrived_ms, date));
	queue_body_append(m->body, buf_slice(&out));
	buf_done(&out);
}

/* What is being read, and what becomes of it. */
struct reading {
	const struct mta_options *options;
	struct queue_message *message;
	struct drop_envelope envelope;
	struct completion completion;
	struct trace_scanner scanner;
	struct buf in, out;
	bool has_8bit;
};

static int keep(struct reading *g, struct error *err)
{
	struct slice bytes = buf_slice(&g->out);
	int r = 0;

	trace_scan(&g->scanner, bytes);
	for (size_t i = 0; i < bytes.len && !g->has_8bit; i++)
		g->has_8bit = bytes.ptr[i] & 0x80;
	queue_body_append(g->message->body, bytes);
	buf_clear(&g->out);
	if (queue_body_must_spill(g->message->body))
		r = queue_body_spill(g->message->body, err);
	return r;
}

static int read_piece(struct reading *g, int fd, uint64_t *left, struct error *err)
{
	size_t want = *left < READ_SIZE ? (size_t)*left : READ_SIZE;
	ssize_t n;

	buf_clear(&g->in);
	n = read(fd, buf_reserve(&g->in, want), want);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0)
		return error_set(err, -errno, "cannot be read: %s", strerror(errno));
	if (n == 0) {
		error_set(err, -EINVAL, "it became shorter while it was read");
		return DROP_BAD_FILE;
	}
	buf_commit(&g->in, (size_t)n);
	*left -= (uint64_t)n;
	if (g->envelope.is_relayed)
		buf_append_slice(&g->out, buf_slice(&g->in));
	else
		completion_input(&g->completion, buf_slice(&g->in), &g->out);
	return keep(g, err);
}

/* The file may be of any bytes, if it is not sendmail that has made it. */
static bool has_lines(struct slice s, char *last)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '\0' || (c == '\n') != (*last == '\r'))
			return false;
		*last = c;
	}
	return true;
}

static int read_message(struct reading *g, int fd, uint64_t size, struct error *err)
{
	uint64_t left = size;
	char last = '\n';
	int r = 0;

	while (r == 0 && left > 0) {
		r = read_piece(g, fd, &left, err);
		if (r == 0 && !has_lines(buf_slice(&g->in), &last)) {
			error_set(err, -EINVAL, "it has a NUL, or a CR or LF that ends no line");
			r = DROP_BAD_FILE;
		}
	}
	if (r == 0 && last != '\n') {
		error_set(err, -EINVAL, "its last line has no end");
		r = DROP_BAD_FILE;
	}
	if (r == 0 && !g->envelope.is_relayed)
		completion_end(&g->completion, &g->out);
	if (r == 0)
		r = keep(g, err);
	trace_scan_end(&g->scanner);
	if (r == 0 && g->scanner.received_count > g->options->hop_limit) {
		error_set(err, -ELOOP, "too many hops: it has been here before");
		r = DROP_BAD_FILE;
	}
	return r == 0 ? queue_body_finish(g->message->body, err) : r;
}

static int add_recipients(struct reading *g, struct error *err)
{
	struct smtp_status status;

	for (size_t i = 0; i < g->envelope.recipient_count; i++) {
		const char *address = g->envelope.recipients[i];
		struct smtp_rcpt rcpt = {
			.recipient = address,
			.original = address,
			.orcpt = "",
			.notify = g->envelope.notify,
		};

		recipients_add(g->options, g->message, &rcpt, &status);
		if (smtp_status_class(&status) != SMTP_DELIVERED)
			return error_set(err, -EAGAIN, "%s", status.text);
	}
	return 0;
}

static bool needs_utf8(const struct drop_envelope *e)
{
	if (!smtp_address_is_ascii(e->sender))
		return true;
	for (size_t i = 0; i < e->recipient_count; i++)
		if (!smtp_address_is_ascii(e->recipients[i]))
			return true;
	return false;
}

static void set_envelope(struct reading *g, uid_t uid)
{
	struct queue_message *m = g->message;
	const struct completion_options completion = {
		.origin = g->options->origin,
		.hostname = g->options->hostname,
		.id = m->name,
		.sender = g->envelope.sender,
		.full_name = g->envelope.full_name,
		.now_ms = m->arrived_ms,
	};

	m->sender = arena_strdup(&m->arena, g->envelope.sender);
	m->envelope_id = arena_strdup(&m->arena, g->envelope.envelope_id);
	m->returning = g->envelope.returning;
	m->origin.protocol = "local";
	m->origin.auth_user = arena_printf(&m->arena, "uid=%lu", (unsigned long)uid);
	completion_init(&g->completion, &completion);
}

static int read_file(struct reading *g, struct places *p, const char *name, struct arena *arena,
		     uid_t *ret_uid, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	uint64_t size;
	int r = drop_open(p->taken, name, p->gid, p->options->message_size_limit, arena,
			  &g->envelope, ret_uid, &fd, &size, err);

	if (r != 0)
		return r;
	set_envelope(g, *ret_uid);
	add_received(g->message, p->options, *ret_uid);
	r = add_recipients(g, err);
	if (r == 0)
		r = read_message(g, fd, size, err);
	if (r != 0)
		return r;
	g->message->size = queue_body_size(g->message->body);
	g->message->body_8bit = g->envelope.body_8bit || g->has_8bit;
	g->message->smtputf8 = g->scanner.has_8bit && needs_utf8(&g->envelope);
	return 0;
}

/* ---- rounds ---- */

/* The file taken/NAME, where m->name is NAME, becomes an item; m is used up. */
static void take(struct places *p, struct intake *ret, const char *shown, struct queue_message *m)
{
	struct reading g = { .options = p->options, .message = m };
	struct arena arena = { 0 };
	struct error err = { 0 };
	uid_t uid = 0;
	int r = read_file(&g, p, m->name, &arena, &uid, &err);

	completion_done(&g.completion);
	trace_scanner_done(&g.scanner);
	buf_done(&g.in);
	buf_done(&g.out);
	arena_done(&arena);
	if (r == 0 && m->recipient_count > 0) {
		ret->items[ret->count++] = (struct intake_item){ m, m->id, uid, false };
		return;
	}
	if (r == 0) {
		warn(p, "%s: from=<%s>: its recipients are aliases of nobody: dropped", shown,
		     m->sender);
		unlinkat(p->taken, m->name, 0);
	} else if (r == DROP_BAD_FILE) {
		put_aside(p, shown, m->name, err.text);
	} else {
		ret->has_delay = true;
		if (ret->has_waited_long)
			warn(p, "%s: %s; it is tried again", shown, err.text);
	}
	queue_message_free(m);
}

static void show_name(const struct places *p, const char *name, char *out, size_t size)
{
	char escaped[128];

	snprintf(out, size, "%s/%s", p->options->drop_directory,
		 escape_cstr(slice_from(name), escaped, sizeof(escaped)));
}

/* Empty ones can go, others are their owner's, and the log has better uses. */
static void meet_directory(struct places *p, const struct intake *ret, const char *name)
{
	char shown[512];

	if (strcmp(name, DROP_TAKEN) == 0 || strcmp(name, DROP_BAD) == 0 ||
	    unlinkat(p->drop, name, AT_REMOVEDIR) == 0 || !ret->has_waited_long)
		return;
	show_name(p, name, shown, sizeof(shown));
	warn(p, "%s: a directory, which does not belong there and cannot be removed: %s", shown,
	     strerror(errno));
}

static void meet_new(struct places *p, struct intake *ret, const char *name)
{
	struct queue_message *m;
	struct stat st;
	char shown[512];

	if (name[0] == '.' && !ret->sweeps)
		return; /* there may be a million of them */
	if (fstatat(p->drop, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return; /* it has just gone */
	if (S_ISDIR(st.st_mode)) {
		meet_directory(p, ret, name);
		return;
	}
	if (name[0] == '.') {
		if (st.st_ctime < clock_wall_ms(p->options->clock) / 1000 - STALE_S)
			unlinkat(p->drop, name, 0);
		return;
	}
	show_name(p, name, shown, sizeof(shown));
	m = queue_message_new(p->options->queue);
	if (renameat(p->drop, name, p->taken, m->name) < 0) {
		if (errno != ENOENT && ret->has_waited_long)
			warn(p, "%s: cannot be taken: %s", shown, strerror(errno));
		queue_message_free(m);
		return;
	}
	ret->files++;
	take(p, ret, shown, m);
}

static int found(void *arg, const struct queue_ledger_entry *entry)
{
	(void)arg;
	(void)entry;
	return 1;
}

/* Whether the queue has, or had, the message of this id: 1, 0, or an error. */
static int is_known(const struct places *p, int64_t id, struct error *err)
{
	CLEANUP(queue_reader_closep) struct queue_reader *reader = NULL;
	struct queue_message *m = NULL;
	int r = queue_reader_open(queue_directory(p->options->queue), &reader, err);

	if (r == 0)
		r = queue_reader_load(reader, id, &m, err);
	queue_message_free(m);
	if (r == QUEUE_READER_NOT_FOUND)
		return queue_reader_history(reader, id, found, NULL, err);
	return r < 0 ? r : 1;
}

static void meet_taken(struct places *p, struct intake *ret, const char *name)
{
	struct queue_message *m;
	char shown[512];
	struct error err;
	int64_t id = 0;
	int known;

	show_name(p, name, shown, sizeof(shown));
	if (!queue_id_parse(name, &id)) {
		put_aside(p, shown, name, "it has no name that the server gives");
		return;
	}
	if (id > p->first && id <= p->last)
		return; /* renamed in this round */
	known = is_known(p, id, &err);
	if (known < 0) {
		ret->has_delay = true;
		if (ret->has_waited_long)
			warn(p, "%s: %s; it is tried again", shown, err.text);
		return;
	}
	if (known) {
		unlinkat(p->taken, name, 0);
		return;
	}
	m = queue_message_new(p->options->queue);
	p->last = m->id;
	if (renameat(p->taken, name, p->taken, m->name) == 0)
		take(p, ret, shown, m);
	else
		queue_message_free(m);
}

static int64_t next_id(const struct places *p)
{
	struct queue_message *m = queue_message_new(p->options->queue);
	int64_t id = m->id;

	queue_message_free(m);
	return id;
}

static int each_name(struct places *p, enum intake_kind kind, struct intake *ret, struct error *err)
{
	int fd = openat(kind == INTAKE_NEW ? p->drop : p->taken, ".",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	if (!directory) {
		if (fd >= 0)
			close(fd);
		return error_set(err, -errno, "%s: %s", p->options->drop_directory,
				 strerror(errno));
	}
	p->first = p->last = next_id(p);
	while ((entry = readdir(directory)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (ret->count == INTAKE_MAX || ret->files == INTAKE_FILES_MAX) {
			ret->has_more = true;
			break;
		}
		if (kind == INTAKE_NEW)
			meet_new(p, ret, entry->d_name);
		else
			meet_taken(p, ret, entry->d_name);
	}
	closedir(directory);
	return 0;
}

int intake_collect(const struct mta_options *options, enum intake_kind kind, struct intake *ret,
		   struct error *err)
{
	struct places places;
	int r = open_places(&places, options, err);

	if (r == 0)
		r = each_name(&places, kind, ret, err);
	/* In this order a file may be in both after a power cut, and never in none. */
	if (r == 0 && ret->count > 0 && (fsync(places.taken) < 0 || fsync(places.drop) < 0))
		r = error_set(err, -errno, "%s: %s", options->drop_directory, strerror(errno));
	close_places(&places);
	return r;
}

void intake_remove(const struct mta_options *options, const struct intake *intake)
{
	struct places places;
	struct error err;

	if (open_places(&places, options, &err) == 0)
		for (unsigned int i = 0; i < intake->count; i++) {
			char name[QUEUE_ID_SIZE];

			queue_id_format(intake->items[i].id, name);
			if (intake->items[i].is_stored)
				unlinkat(places.taken, name, 0);
		}
	close_places(&places);
}

void intake_done(struct intake *intake)
{
	for (unsigned int i = 0; i < intake->count; i++)
		queue_message_free(intake->items[i].message);
	intake->count = 0;
}
