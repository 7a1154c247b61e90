/* status_text - one screen that says what is wrong first */
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "cli/cli.h"
#include "cli/status.h"

#define HOP_WIDTH_MAX  40 /* a longer one pushes the rest of its line aside */
#define FILE_WIDTH_MAX 48
#define DAY_CHARS      10
#define DAY_S	       86400
#define SOON_DAYS      CONFIG_EXPIRES_SOON_DAYS

static void pad(struct buf *out, size_t from, size_t width)
{
	while (buf_len(out) - from < width)
		buf_append_string(out, " ");
	buf_append_string(out, "  ");
}

static void put_day(struct buf *out, int64_t time_s)
{
	char text[TIME_RFC3339_SIZE];

	buf_append(out, time_rfc3339(time_s * 1000, text), DAY_CHARS);
}

static void put_ago(struct buf *out, const struct status *s, int64_t time_ms)
{
	if (time_ms == 0) {
		buf_append_string(out, "-");
		return;
	}
	cli_format_duration(out, (s->now_ms - time_ms) / 1000);
	buf_append_string(out, " ago");
}

static void put_head(struct buf *out, const struct status *s)
{
	char started[TIME_RFC3339_SIZE];

	cli_format_text(out, s->mode);
	buf_append_string(out, ", version ");
	cli_format_text(out, s->version);
	buf_printf(out, ", pid %" PRId64 ", up ", s->pid);
	cli_format_duration(out, (s->now_ms - s->started_ms) / 1000);
	buf_printf(out, ", since %s\nconnections: %" PRId64 " in, %" PRId64 " out\n",
		   time_rfc3339(s->started_ms, started), s->connections_in, s->connections_out);
	if (s->messages == 0) {
		buf_append_string(out, "queue: empty\n");
		return;
	}
	buf_printf(out, "queue: %" PRId64 " message%s, %" PRId64 " recipient%s, ", s->messages,
		   s->messages == 1 ? "" : "s", s->recipients, s->recipients == 1 ? "" : "s");
	cli_format_size(out, (uint64_t)s->bytes);
	buf_append_string(out, ", oldest ");
	cli_format_duration(out, (s->now_ms - s->oldest_ms) / 1000);
	if (s->held > 0)
		buf_printf(out, ", %" PRId64 " held", s->held);
	buf_append_string(out, "\n");
}

/* ---- next hops ---- */

static size_t hop_width(const struct status *s, size_t shown)
{
	size_t width = strlen("NEXT HOP");
	struct buf text = { 0 };

	for (size_t i = 0; i < shown; i++) {
		cli_format_text(&text, s->hops.list[i]->next_hop);
		width = MAX(width, MIN(buf_len(&text), HOP_WIDTH_MAX));
		buf_clear(&text);
	}
	buf_done(&text);
	return width;
}

static const char *tls_text(const json_t *tls, const char *name)
{
	const char *value = json_string_value(json_object_get(tls, name));

	return value ? value : "";
}

/* "TLSv1.3, verified by ca"; "none!" where mail goes in the clear. */
static void put_tls(struct buf *out, const struct hop *hop)
{
	bool is_verified = json_is_true(json_object_get(hop->tls, "verified"));

	if (!hop->tls)
		buf_append_string(out, "-");
	else if (strcmp(tls_text(hop->tls, "mode"), "none") == 0)
		buf_append_string(out, "none: in the clear");
	else
		buf_printf(out, "%s, %s", tls_text(hop->tls, "protocol"),
			   is_verified ? "verified" : "not verified");
	if (is_verified && tls_text(hop->tls, "verified_by")[0])
		buf_printf(out, " by %s", tls_text(hop->tls, "verified_by"));
}

static void put_peer_expiry(struct buf *out, const struct status *s, const struct hop *hop)
{
	int64_t left_s = hop->peer_not_after_s - s->now_ms / 1000;

	if (hop->peer_not_after_s == 0 || left_s >= SOON_DAYS * DAY_S)
		return;
	buf_printf(out, "    its certificate %s on ", left_s < 0 ? "has expired" : "expires");
	put_day(out, hop->peer_not_after_s);
	buf_append_string(out, "\n");
}

static void put_hop(struct buf *out, const struct status *s, const struct hop *hop, size_t width)
{
	size_t from = buf_len(out);

	cli_format_text(out, hop->next_hop);
	pad(out, from, width);
	from = buf_len(out);
	buf_append_string(out, hop_state_name(hop_state(hop)));
	pad(out, from, strlen("unknown"));
	if (s->is_queue_known)
		buf_printf(out, "%8" PRId64 "  ", hop->queued);
	else
		buf_printf(out, "%8s  ", "?");
	from = buf_len(out);
	put_ago(out, s, hop->last_success_ms);
	pad(out, from, strlen("LAST SUCCESS"));
	put_tls(out, hop);
	buf_append_string(out, "\n");
	hop_text_trouble(out, hop, s->now_ms);
	put_peer_expiry(out, s, hop);
}

static void put_hops(struct buf *out, const struct status *s)
{
	size_t shown = MIN(s->hops.count, STATUS_HOPS_SHOWN), width = hop_width(s, shown);

	if (shown == 0) {
		buf_append_string(out, "\nNo next hop was used yet.\n");
		return;
	}
	buf_printf(out, "\n%-*s  STATE      QUEUED  LAST SUCCESS  TLS\n", (int)width, "NEXT HOP");
	for (size_t i = 0; i < shown; i++)
		put_hop(out, s, s->hops.list[i], width);
	if (s->hops.count > shown) {
		size_t down = 0;

		for (size_t i = shown; i < s->hops.count; i++)
			down += s->hops.list[i]->is_down;
		buf_printf(out, "and %zu more, %zu of them down; --json has them all\n",
			   s->hops.count - shown, down);
	}
}

/* ---- certificates ---- */

static void put_certificate(struct buf *out, const struct status_certificate *c, size_t width)
{
	size_t from = buf_len(out);

	cli_format_text(out, c->file);
	pad(out, from, width);
	if (c->days_left < 0)
		buf_append_string(out, "EXPIRED on ");
	else
		buf_printf(out, "%" PRId64 " day%s left, until ", c->days_left,
			   c->days_left == 1 ? "" : "s");
	put_day(out, c->not_after_s);
	buf_append_string(out, "  ");
	cli_format_text(out, c->subject);
	if (c->days_left < SOON_DAYS)
		buf_append_string(out, "  RENEW");
	buf_append_string(out, "\n");
}

static void put_certificates(struct buf *out, const struct status *s)
{
	size_t width = 0;

	if (s->certificate_count == 0 && s->problem_count == 0)
		return;
	buf_append_string(out, "\nCERTIFICATES\n");
	for (size_t i = 0; i < s->problem_count; i++) {
		buf_append_string(out, "CHANGED, NOT IN USE: ");
		cli_format_text(out, s->problems[i]);
		buf_append_string(out, "\n");
	}
	for (size_t i = 0; i < s->certificate_count; i++)
		width = MAX(width, MIN(strlen(s->certificates[i].file), FILE_WIDTH_MAX));
	for (size_t i = 0; i < s->certificate_count; i++)
		put_certificate(out, &s->certificates[i], width);
}

void status_text(const struct status *s, struct buf *out)
{
	put_head(out, s);
	put_hops(out, s);
	put_certificates(out, s);
}
