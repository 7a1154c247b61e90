/*
 * domain - libidn2 is asked only of what has letters beyond ASCII, or labels
 * that stand for such letters; all other domains are but put in lower case
 */
#include "smtp/domain.h"

#include <idn2.h>
#include <stdbool.h>
#include <string.h>

#include "base/utf8.h"

/* RFC 5890 section 2.3.2.1: what begins an A-label. */
#define A_PREFIX SLICE("xn--")

static char *lower(struct arena *arena, struct slice domain)
{
	char *copy = arena_slicedup(arena, domain);

	for (char *p = copy; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return copy;
}

static bool has_a_labels(struct slice domain)
{
	struct slice label;

	while (slice_next_word(&domain, ".", &label))
		if (slice_starts_nocase(label, A_PREFIX))
			return true;
	return false;
}

/*
 * The mapping takes characters away, and makes ASCII of others: a wide "@" or
 * "/" must not become one in an address that was parsed before.
 */
static bool is_plain(const char *domain)
{
	static const char valid[] = "abcdefghijklmnopqrstuvwxyz0123456789-_.";

	return domain[0] != '\0' && domain[0] != '.' && !strstr(domain, "..") &&
	       strspn(domain, valid) == strlen(domain);
}

/* What is no A-label although it looks like one is left as it is: somebody's name may be. */
char *smtp_domain_ascii(struct arena *arena, struct slice domain)
{
	bool is_ascii = utf8_is_ascii(domain);
	char *folded = lower(arena, domain), *found = NULL, *copy;

	if (is_ascii && !has_a_labels(domain))
		return folded;
	if (idn2_to_ascii_8z(folded, &found, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT) != IDN2_OK)
		return is_ascii ? folded : NULL;
	copy = lower(arena, slice_from(found));
	idn2_free(found);
	if (is_plain(copy))
		return copy;
	return is_ascii ? folded : NULL;
}

/* NULL where the way back leads elsewhere: such A-labels stand for nothing. */
static char *to_unicode(struct arena *arena, const char *domain)
{
	char *found = NULL, *copy, *back;

	if (idn2_to_unicode_8z8z(domain, &found, IDN2_NONTRANSITIONAL) != IDN2_OK)
		return NULL;
	copy = arena_strdup(arena, found);
	idn2_free(found);
	back = smtp_domain_ascii(arena, slice_from(copy));
	return back && strcmp(back, domain) == 0 ? copy : NULL;
}

char *smtp_domain_respell(struct arena *arena, struct slice key)
{
	struct slice head = SLICE(""), domain = key;
	const char *other;

	for (size_t i = 0; i < key.len; i++) {
		if (key.ptr[i] == '@') {
			head = slice_first(key, i + 1);
			domain = slice_skip(key, i + 1);
		}
	}
	if (head.len == 0 && key.len > 1 && key.ptr[0] == '.') {
		head = slice_first(key, 1);
		domain = slice_skip(key, 1);
	}
	if (!utf8_is_ascii(domain))
		other = smtp_domain_ascii(arena, domain);
	else if (has_a_labels(domain))
		other = to_unicode(arena, arena_slicedup(arena, domain));
	else
		return NULL;
	if (!other || slice_equal(slice_from(other), domain))
		return NULL;
	return arena_printf(arena, "%.*s%s", (int)head.len, head.ptr, other);
}
