/*
 * What Dovecot offers is heard by every connection that is made, and remembered
 * for all. But the first client is told before the first connection is made, so
 * it is asked for at the start, and when the socket has become another, as it
 * does when Dovecot starts.
 */
#include "edge/dovecot_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memory.h"
#include "maps/map.h"
#include "net/unix.h"

#define ASK_LIMIT_MS 2000

struct dovecot_auth *dovecot_auth_new(const struct dovecot_auth_options *options)
{
	struct dovecot_auth *auth = memory_zeroed(sizeof(*auth));

	auth->options = *options;
	if (auth->options.answer_limit_ms == 0)
		auth->options.answer_limit_ms = 30 * 1000;
	auth->references = 1;
	pthread_mutex_init(&auth->lock, NULL);
	list_init(&auth->connections);
	return auth;
}

void dovecot_auth_unref(struct dovecot_auth *auth)
{
	if (atomic_fetch_sub(&auth->references, 1) > 1)
		return;
	pthread_mutex_destroy(&auth->lock);
	free(auth);
}

void dovecot_auth_free(struct dovecot_auth *auth)
{
	if (auth)
		dovecot_auth_unref(auth);
}

/* ---- what it offers ---- */

/* RFC 4422 section 3.1 */
static bool is_mechanism_name(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!memchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", name.ptr[i], 38))
			return false;
	return name.len > 0 && name.len <= 20;
}

/*
 * Of no use are those that make everybody welcome, those that are for Dovecot's
 * own programs, and those that need what Dovecot cannot be told of a session:
 * its certificate, and its channel binding.
 */
static bool is_of_use(const struct dovecot_line *line)
{
	static const struct slice plus = { "-PLUS", 5 };
	struct slice name = line->word;

	return is_mechanism_name(name) && !dovecot_line_has(line, "anonymous") &&
	       !dovecot_line_has(line, "private") && !slice_equal(name, SLICE("EXTERNAL")) &&
	       !(name.len > plus.len && slice_equal(slice_skip(name, name.len - plus.len), plus));
}

bool dovecot_offer_has(const struct dovecot_offer *offer, const char *mechanism)
{
	struct slice rest = slice_from(offer->mechanisms), word;

	while (slice_next_word(&rest, " ", &word))
		if (slice_equal_nocase(word, slice_from(mechanism)))
			return true;
	return false;
}

static void add_mechanism(struct dovecot_offer *offer, struct slice name)
{
	size_t len = strlen(offer->mechanisms), left = sizeof(offer->mechanisms) - len;

	if (name.len + 2 <= left)
		snprintf(offer->mechanisms + len, left, "%s%.*s", len > 0 ? " " : "", (int)name.len,
			 name.ptr);
}

int dovecot_offer_take(struct dovecot_offer *offer, const struct dovecot_line *line,
		       struct error *err)
{
	if (line->command == DOVECOT_VERSION && line->number != 1)
		return error_set(err, -EPROTO,
				 "it speaks version %u of the auth protocol, and we know 1",
				 line->number);
	if (line->command == DOVECOT_VERSION)
		offer->has_version = true;
	else if (line->command == DOVECOT_MECH && is_of_use(line))
		add_mechanism(offer, line->word);
	else if (line->command == DOVECOT_DONE && !offer->has_version)
		return error_set(err, -EPROTO, "it does not say which auth protocol it speaks");
	else if (line->command == DOVECOT_DONE)
		offer->is_complete = true;
	return 0;
}

bool dovecot_auth_learn(struct dovecot_auth *auth, const struct dovecot_offer *offer)
{
	bool is_news;

	pthread_mutex_lock(&auth->lock);
	is_news =
		!auth->offer.is_complete || strcmp(auth->offer.mechanisms, offer->mechanisms) != 0;
	auth->offer = *offer;
	pthread_mutex_unlock(&auth->lock);
	return is_news;
}

void dovecot_auth_mechanisms(struct dovecot_auth *auth, char ret[LOGIN_MECHANISMS_SIZE])
{
	pthread_mutex_lock(&auth->lock);
	strcpy(ret, auth->offer.is_complete ? auth->offer.mechanisms : "PLAIN LOGIN");
	pthread_mutex_unlock(&auth->lock);
}

/* ---- asking ---- */

int dovecot_take_line(struct slice *input, struct slice *ret_line, struct error *err)
{
	struct slice line = slice_first(*input, slice_find(*input, '\n'));

	if (line.len > DOVECOT_LINE_MAX)
		return error_set(err, -EPROTO,
				 "not the auth protocol of Dovecot: a line of more "
				 "than 16384 bytes");
	if (line.len == input->len)
		return 0;
	*ret_line = line;
	*input = slice_skip(*input, line.len + 1);
	return 1;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* More of what it says, at the end of input. */
static int receive(int fd, int64_t deadline_ms, struct buf *input, struct error *err)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };
	int64_t left_ms = deadline_ms - now_ms();
	ssize_t n;

	if (left_ms <= 0 || poll(&wanted, 1, (int)left_ms) == 0)
		return error_set(err, -ETIMEDOUT, "no word within %d s", ASK_LIMIT_MS / 1000);
	n = recv(fd, buf_reserve(input, 4096), 4096, MSG_DONTWAIT);
	if (n == 0)
		return error_set(err, -ECONNRESET, "it has closed the connection");
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return error_set(err, -errno, "%s", strerror(errno));
	buf_commit(input, n > 0 ? (size_t)n : 0);
	return 0;
}

static int take_offer(struct buf *input, struct dovecot_offer *offer, struct error *err)
{
	struct slice rest = buf_slice(input), text;
	struct dovecot_line line;
	int r;

	while ((r = dovecot_take_line(&rest, &text, err)) > 0 && !offer->is_complete) {
		r = dovecot_line_parse(text, &line, err);
		if (r == 0)
			r = dovecot_offer_take(offer, &line, err);
		if (r < 0)
			return r;
	}
	buf_consume(input, buf_len(input) - rest.len);
	return r < 0 ? r : 0;
}

static int hear_offer(int fd, struct dovecot_offer *offer, struct error *err)
{
	int64_t deadline_ms = now_ms() + ASK_LIMIT_MS;
	struct buf input = { 0 };
	int r = 0;

	while (r == 0 && !offer->is_complete) {
		r = receive(fd, deadline_ms, &input, err);
		if (r == 0)
			r = take_offer(&input, offer, err);
	}
	buf_done(&input);
	return r;
}

/* It speaks first, and needs to hear nothing of somebody who only listens. */
static int ask(struct dovecot_auth *auth, struct dovecot_offer *offer, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	int r;

	fd = unix_connect_at_once(auth->options.path, err);
	if (fd < 0)
		return fd;
	r = hear_offer(fd, offer, err);
	if (r < 0)
		error_prefix(err, "%s", auth->options.path);
	return r;
}

static bool is_same_socket(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void look(const struct dovecot_auth *auth, struct stat *ret)
{
	if (stat(auth->options.path, ret) < 0)
		*ret = (struct stat){ 0 };
}

int dovecot_auth_ask(struct dovecot_auth *auth, struct error *err)
{
	struct dovecot_offer offer = { 0 };
	int r;

	look(auth, &auth->asked);
	r = ask(auth, &offer, err);
	if (r < 0)
		return r;
	return dovecot_auth_learn(auth, &offer) ? 0 : MAP_NOT_CHANGED;
}

int dovecot_auth_refresh(struct dovecot_auth *auth, struct error *err)
{
	struct stat now;

	look(auth, &now);
	if (is_same_socket(&now, &auth->asked))
		return MAP_NOT_CHANGED;
	/* One that is away is told of by the logins that it fails. */
	if (now.st_ino == 0) {
		auth->asked = now;
		return MAP_NOT_CHANGED;
	}
	return dovecot_auth_ask(auth, err);
}
