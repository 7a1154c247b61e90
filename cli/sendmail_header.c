/* Fields with recipients are collected until they end, as an address may be folded. */
#include "cli/sendmail_header.h"

#include <errno.h>

#include "base/escape.h"
#include "base/macros.h"
#include "smtp/address.h"
#include "smtp/address_list.h"

/* ---- addresses ---- */

static void add_address(struct sendmail_addresses *a, const char *address)
{
	if ((a->count & (a->count - 1)) == 0) { /* 0 and the powers of two: full */
		const char **more =
			arena_alloc(&a->arena, sizeof(*more) * (a->count ? a->count * 2 : 1));

		if (a->count > 0)
			memcpy(more, a->list, a->count * sizeof(*more));
		a->list = more;
	}
	a->list[a->count++] = address;
}

static void note_bad(struct sendmail_addresses *a, struct slice text)
{
	char shown[200];

	if (a->error.code == 0)
		error_set(&a->error, -EINVAL, "%s: not an address",
			  escape_cstr(text, shown, sizeof(shown)));
}

void sendmail_addresses_add(struct sendmail_addresses *a, struct slice text, const char *origin)
{
	struct address_list_item item;

	while (address_list_next(&text, &item)) {
		const char *address = NULL, *path;
		struct slice rest;

		path = arena_printf(&a->arena, "<%s>", address_list_address(&a->arena, item.text));
		rest = slice_from(path);
		if (item.is_broken ||
		    smtp_path_parse(&rest, origin, &a->arena, &address) != SMTP_PATH_OK ||
		    rest.len > 0 || address[0] == '\0')
			note_bad(a, item.text);
		else
			add_address(a, address);
	}
}

void sendmail_addresses_done(struct sendmail_addresses *a)
{
	arena_done(&a->arena);
}

/* ---- fields ---- */

enum field_kind {
	FIELD_OTHER,
	FIELD_TO,	  /* To, Cc */
	FIELD_BCC,	  /* is left out */
	FIELD_RESENT_TO,  /* Resent-To, Resent-Cc */
	FIELD_RESENT_BCC, /* is left out */
};

static enum field_kind kind_of(struct slice name)
{
	static const struct {
		const char *name;
		enum field_kind kind;
	} kinds[] = {
		{ "To", FIELD_TO },
		{ "Cc", FIELD_TO },
		{ "Bcc", FIELD_BCC },
		{ "Resent-To", FIELD_RESENT_TO },
		{ "Resent-Cc", FIELD_RESENT_TO },
		{ "Resent-Bcc", FIELD_RESENT_BCC },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (slice_equal_nocase(name, slice_from(kinds[i].name)))
			return kinds[i].kind;
	return FIELD_OTHER;
}

static bool is_left_out(const struct sendmail_header *h)
{
	return h->kind == FIELD_BCC || h->kind == FIELD_RESENT_BCC;
}

static void end_field(struct sendmail_header *h)
{
	struct slice field = buf_slice(&h->field);
	bool is_resent = h->kind == FIELD_RESENT_TO || h->kind == FIELD_RESENT_BCC;

	if (field.len > 0)
		sendmail_addresses_add(is_resent ? &h->resent : &h->normal,
				       header_field_body(field), h->origin);
	h->is_resent |= is_resent;
	h->kind = FIELD_OTHER;
	buf_clear(&h->field);
}

static void start_field(struct sendmail_header *h, struct slice line)
{
	struct slice name = header_field_name(line);

	end_field(h);
	if (h->takes_recipients)
		h->kind = kind_of(name);
	h->received_count += slice_equal_nocase(name, SLICE("Received"));
}

static void see_line(struct sendmail_header *h, enum header_line kind, struct slice line)
{
	if (kind == HEADER_FIELD)
		start_field(h, line);
	if (kind == HEADER_END || kind == HEADER_BROKEN) {
		end_field(h);
		h->is_over = true;
	}
	if (h->kind != FIELD_OTHER)
		buf_append_slice(&h->field, line);
	if (!is_left_out(h))
		buf_append_slice(&h->text, line);
}

void sendmail_header_input(struct sendmail_header *h, struct slice *bytes)
{
	enum header_line kind;
	struct slice line;

	while ((kind = header_next_line(&h->reader, bytes, &line)) != 0)
		see_line(h, kind, line);
}

void sendmail_header_end(struct sendmail_header *h)
{
	struct slice line;
	enum header_line kind = header_last_line(&h->reader, &line);

	if (kind)
		see_line(h, kind, line);
	end_field(h);
	h->is_over = true;
}

const struct sendmail_addresses *sendmail_header_recipients(const struct sendmail_header *h)
{
	return h->is_resent ? &h->resent : &h->normal;
}

void sendmail_header_done(struct sendmail_header *h)
{
	header_reader_done(&h->reader);
	buf_done(&h->field);
	buf_done(&h->text);
	sendmail_addresses_done(&h->normal);
	sendmail_addresses_done(&h->resent);
}
