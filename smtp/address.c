/*
 * address - a path is cut out of the command first, with an eye on quotes
 * only, and what was between the brackets is judged afterwards
 *
 * The local part is taken as RFC 5321 section 4.1.2 has it, but dots may stand
 * anywhere (".a", "a..b" exist), and the domain may hold underscores. What
 * other programs would read as a comment, a list or a route is malformed. UTF-8
 * stands where a letter may (RFC 6531 section 3.3): it is checked for the whole
 * path first, and the rest looks at single bytes.
 */
#include "smtp/address.h"

#include "base/utf8.h"
#include "smtp/domain.h"

#define DOMAIN_MAX 255 /* RFC 5321 section 4.5.3.1.2 */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_beyond_ascii(char c)
{
	return (unsigned char)c >= 0x80;
}

/* RFC 5322 section 3.2.3, and the dot. */
static bool is_atom_char(char c)
{
	return is_alnum(c) || is_beyond_ascii(c) ||
	       (c != '\0' && strchr(".!#$%&'*+-/=?^_`{|}~", c));
}

static bool is_printable(char c)
{
	return (c >= ' ' && c <= '~') || is_beyond_ascii(c);
}

/* What is not ASCII is well-formed UTF-8, and no control character. */
static bool is_text(struct slice s)
{
	while (s.len > 0) {
		uint32_t code;
		size_t n = 1;

		if (is_beyond_ascii(*s.ptr)) {
			n = utf8_sequence(s, &code);
			if (n == 0 || utf8_is_control(code))
				return false;
		}
		s = slice_skip(s, n);
	}
	return true;
}

static struct slice skip_blanks(struct slice s)
{
	while (s.len > 0 && is_blank(*s.ptr))
		s = slice_skip(s, 1);
	return s;
}

static struct slice trim_blanks(struct slice s)
{
	s = skip_blanks(s);
	while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* Length of the quoted string at the front of s, quotes included; 0 when it has no end. */
static size_t quoted_len(struct slice s)
{
	for (size_t i = 1; i < s.len; i++) {
		if (s.ptr[i] == '\\')
			i++;
		else if (s.ptr[i] == '"')
			return i + 1;
	}
	return 0;
}

/*
 * Cut off the path. *ret_path is what is inside of the brackets, or the whole
 * word where there are none; false when brackets or quotes have no end, or
 * something stands right behind them.
 */
static bool cut_path(struct slice *rest, bool *ret_bracketed, struct slice *ret_path)
{
	struct slice s = skip_blanks(*rest);
	bool bracketed = s.len > 0 && *s.ptr == '<';
	size_t i = bracketed ? 1 : 0;

	while (i < s.len && (bracketed ? s.ptr[i] != '>' : !is_blank(s.ptr[i]))) {
		size_t n = s.ptr[i] == '"' ? quoted_len(slice_skip(s, i)) : 1;

		if (n == 0)
			return false;
		i += n;
	}

	if (bracketed) {
		if (i == s.len)
			return false;
		*ret_path = trim_blanks(slice_of(s.ptr + 1, i - 1));
		i++;
		if (i < s.len && !is_blank(s.ptr[i]))
			return false;
	} else {
		*ret_path = slice_first(s, i);
	}
	*ret_bracketed = bracketed;
	*rest = skip_blanks(slice_skip(s, i));
	return true;
}

/* "@relay,@relay2:a@b" is "a@b": source routes are ignored (RFC 5321 appendix C). */
static bool skip_route(struct slice *path)
{
	size_t colon;

	if (path->len == 0 || *path->ptr != '@')
		return true;
	colon = slice_find(*path, ':');
	if (colon == path->len)
		return false;
	*path = slice_skip(*path, colon + 1);
	return path->len > 0;
}

static bool is_local_part(struct slice s)
{
	if (s.len == 0)
		return false;
	if (*s.ptr == '"') {
		if (quoted_len(s) != s.len)
			return false;
		for (size_t i = 0; i < s.len; i++)
			if (!is_printable(s.ptr[i]))
				return false;
		return true;
	}
	for (size_t i = 0; i < s.len; i++)
		if (!is_atom_char(s.ptr[i]))
			return false;
	return true;
}

static bool is_address_literal(struct slice s)
{
	if (s.len < 3 || s.ptr[0] != '[' || s.ptr[s.len - 1] != ']')
		return false;
	for (size_t i = 1; i < s.len - 1; i++)
		if (!is_alnum(s.ptr[i]) && s.ptr[i] != ':' && s.ptr[i] != '.' && s.ptr[i] != '-')
			return false;
	return true;
}

static bool is_domain(struct slice s)
{
	char before = '.';

	if (s.len > 0 && *s.ptr == '[')
		return is_address_literal(s);
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '.' ? before == '.'
				    : !is_alnum(s.ptr[i]) && !is_beyond_ascii(s.ptr[i]) &&
					      s.ptr[i] != '-' && s.ptr[i] != '_')
			return false;
		before = s.ptr[i];
	}
	return before != '.';
}

/* Where the '@' is that ends the local part; s.len when there is none. */
static size_t find_at(struct slice s)
{
	size_t quoted = s.len > 0 && *s.ptr == '"' ? quoted_len(s) : 0;

	return quoted + slice_find(slice_skip(s, quoted), '@');
}

static enum smtp_path_outcome check_address(struct slice path, const char *append_domain,
					    struct slice *ret_local, struct slice *ret_domain)
{
	size_t at = find_at(path);
	struct slice domain;

	if (!is_text(path))
		return SMTP_PATH_MALFORMED;
	if (!is_local_part(slice_first(path, at)))
		return SMTP_PATH_MALFORMED;
	if (at < path.len) {
		domain = slice_skip(path, at + 1);
		if (domain.len > 1 && domain.ptr[domain.len - 1] == '.')
			domain.len--; /* an absolute name means the same without its dot */
		if (!is_domain(domain))
			return SMTP_PATH_MALFORMED;
	} else {
		domain = slice_from(append_domain);
	}
	if (domain.len > DOMAIN_MAX || at + 1 + domain.len > SMTP_ADDRESS_MAX)
		return SMTP_PATH_TOO_LONG;

	*ret_local = slice_first(path, at);
	*ret_domain = domain;
	return SMTP_PATH_OK;
}

enum smtp_path_outcome smtp_path_parse(struct slice *args, const char *append_domain,
				       struct arena *arena, const char **ret)
{
	struct slice rest = *args, path, local, domain;
	enum smtp_path_outcome outcome;
	bool bracketed;
	char *address;

	if (!cut_path(&rest, &bracketed, &path))
		return SMTP_PATH_MALFORMED;
	if (path.len == 0) {
		if (!bracketed)
			return SMTP_PATH_MALFORMED;
		*ret = arena_strdup(arena, "");
		*args = rest;
		return SMTP_PATH_OK;
	}
	if (!skip_route(&path))
		return SMTP_PATH_MALFORMED;
	outcome = check_address(path, append_domain, &local, &domain);
	if (outcome != SMTP_PATH_OK)
		return outcome;

	address = arena_alloc(arena, local.len + 1 + domain.len + 1);
	memcpy(address, local.ptr, local.len);
	if (domain.len > 0) {
		address[local.len] = '@';
		memcpy(address + local.len + 1, domain.ptr, domain.len);
	}
	*ret = address;
	*args = rest;
	return SMTP_PATH_OK;
}

struct slice smtp_address_domain(const char *address)
{
	const char *at = strrchr(address, '@');

	/* No domain ends in a quote: "a@b" in quotes is a local part alone. */
	if (!at || at[strlen(at) - 1] == '"')
		return SLICE("");
	return slice_from(at + 1);
}

struct slice smtp_address_local(const char *address)
{
	struct slice domain = smtp_address_domain(address);

	if (domain.len == 0)
		return slice_from(address);
	return slice_of(address, (size_t)(domain.ptr - 1 - address));
}

bool smtp_address_is_ascii(const char *address)
{
	return utf8_is_ascii(slice_from(address));
}

char *smtp_address_fold(struct arena *arena, const char *address)
{
	struct slice domain = smtp_address_domain(address);
	const char *ascii = domain.len ? smtp_domain_ascii(arena, domain) : NULL;
	char *folded =
		ascii ? arena_printf(arena, "%.*s%s", (int)(domain.ptr - address), address, ascii)
		      : arena_strdup(arena, address);

	for (char *p = folded; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return folded;
}

char *smtp_address_plain(struct arena *arena, const char *address)
{
	size_t local_len = smtp_address_local(address).len, at = 0;
	char *plain = arena_strdup(arena, address);

	if (!address[local_len])
		return plain;
	for (size_t i = 0; i < local_len; i++) {
		if (address[i] == '"')
			continue;
		if (address[i] == '\\' && i + 1 < local_len)
			i++;
		plain[at++] = address[i];
	}
	memmove(plain + at, address + local_len, strlen(address + local_len) + 1);
	return plain;
}

/* A dot-string, where nothing has another meaning; what Postfix leaves alone, so do we. */
static bool needs_no_quotes(struct slice local)
{
	if (local.len == 0 || local.ptr[0] == '.' || local.ptr[local.len - 1] == '.')
		return false;
	for (size_t i = 0; i < local.len; i++) {
		unsigned char c = (unsigned char)local.ptr[i];

		if (c <= ' ' || c == 127 || strchr("()<>@,;:\\\"[]", c))
			return false;
		if (c == '.' && local.ptr[i + 1] == '.')
			return false;
	}
	return true;
}

char *smtp_address_quoted(struct arena *arena, const char *plain)
{
	const char *at = strrchr(plain, '@');
	struct slice local = slice_of(plain, at ? (size_t)(at - plain) : 0);
	char *quoted, *out;

	if (!at || needs_no_quotes(local))
		return arena_strdup(arena, plain);
	out = quoted = arena_alloc(arena, 2 * local.len + 2 + strlen(at) + 1);
	*out++ = '"';
	for (size_t i = 0; i < local.len; i++) {
		if (local.ptr[i] == '"' || local.ptr[i] == '\\')
			*out++ = '\\';
		*out++ = local.ptr[i];
	}
	*out++ = '"';
	strcpy(out, at);
	return quoted;
}

static bool ends_nocase(struct slice s, struct slice end)
{
	return s.len > end.len && slice_equal_nocase(slice_skip(s, s.len - end.len), end);
}

static bool is_never_split(struct slice local, const char *delimiters)
{
	if (slice_equal_nocase(local, SLICE("postmaster")) ||
	    slice_equal_nocase(local, SLICE("mailer-daemon")) ||
	    slice_equal_nocase(local, SLICE("double-bounce")))
		return true;
	return strchr(delimiters, '-') && (slice_starts_nocase(local, SLICE("owner-")) ||
					   ends_nocase(local, SLICE("-request")));
}

char *smtp_address_without_extension(struct arena *arena, const char *plain, const char *delimiters)
{
	const char *at = strrchr(plain, '@');
	size_t local_len = at ? (size_t)(at - plain) : strlen(plain), len;

	len = strcspn(plain, delimiters);
	if (len == 0 || len >= local_len || is_never_split(slice_of(plain, local_len), delimiters))
		return NULL;
	return arena_printf(arena, "%.*s%s", (int)len, plain, at ? at : "");
}
