/*
 * protocols - lists of TLS versions, in Postfix's words
 *
 * Whatever a list says, what comes out is the lowest version: 1.3 is always
 * there, 1.2 may be, and what is older never is (RFC 8996).
 */
#include <errno.h>

#include "base/escape.h"
#include "base/macros.h"
#include "tls/policy_internal.h"

static const char *const protocol_names[] = {
	"SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3",
};

#define PROTOCOL_1_2	 4 /* their places in that table */
#define PROTOCOL_1_3	 5
#define PROTOCOLS_ALL	 0x3fu
#define PROTOCOLS_SPACED ",:" TLS_WHITE_SPACE

/* What a list of protocols has said so far; sets are masks of protocol_names[]. */
struct protocols {
	unsigned int included, excluded;
	unsigned int at_least; /* place of the lower bound */
};

static int protocol_find(struct slice name, unsigned int *ret, struct error *err)
{
	const char *near;
	char shown[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(protocol_names); i++) {
		if (slice_equal_nocase(name, slice_from(protocol_names[i]))) {
			*ret = i;
			return 0;
		}
	}

	near = tls_did_you_mean(name, protocol_names, ARRAY_SIZE(protocol_names));
	return error_set(err, -EINVAL, "unknown protocol \"%s\"; " TLS_PROTOCOLS_VALID "%s%s%s",
			 escape_cstr(name, shown, sizeof(shown)), near ? " (did you mean " : "",
			 near ? near : "", near ? "?)" : "");
}

static int refuse_old(unsigned int protocol, struct error *err)
{
	/* RFC 8996 ends TLS 1.0 and 1.1; they can be asked for, but are not there. */
	return error_set(err, -EINVAL, "%s is not offered (RFC 8996); " TLS_PROTOCOLS_VALID,
			 protocol_names[protocol]);
}

static int refuse_without_1_3(struct error *err)
{
	return error_set(err, -EINVAL, "TLSv1.3 can't be switched off; " TLS_PROTOCOLS_VALID);
}

static int protocols_take(struct protocols *p, struct slice word, struct error *err)
{
	unsigned int protocol = PROTOCOL_1_2;
	bool exclude = false;
	char bound = '\0';
	int r;

	if (word.len > 2 && (word.ptr[0] == '>' || word.ptr[0] == '<') && word.ptr[1] == '=') {
		bound = word.ptr[0];
		word = slice_skip(word, 2);
	} else if (word.len > 1 && word.ptr[0] == '!') {
		exclude = true;
		word = slice_skip(word, 1);
	}
	r = protocol_find(word, &protocol, err);
	if (r < 0)
		return r;

	if (exclude) {
		p->excluded |= 1u << protocol;
		return 0;
	}
	if (bound == '<')
		return protocol == PROTOCOL_1_3 ? 0 : refuse_without_1_3(err);
	if (protocol < PROTOCOL_1_2)
		return refuse_old(protocol, err);
	if (bound == '>')
		p->at_least = MAX(p->at_least, protocol);
	else
		p->included |= 1u << protocol;
	return 0;
}

int tls_protocols_parse(struct slice text, enum tls_version *ret_min, struct error *err)
{
	struct protocols p = { .at_least = PROTOCOL_1_2 };
	unsigned int enabled;
	struct slice word;
	int r;

	while (slice_next_word(&text, PROTOCOLS_SPACED, &word)) {
		r = protocols_take(&p, word, err);
		if (r < 0)
			return r;
	}

	enabled = (p.included ? p.included : PROTOCOLS_ALL) & ~p.excluded;
	if (!(enabled & 1u << PROTOCOL_1_3))
		return refuse_without_1_3(err);
	*ret_min = p.at_least == PROTOCOL_1_3 || !(enabled & 1u << PROTOCOL_1_2) ? TLS_VERSION_1_3
										 : TLS_VERSION_1_2;
	return 0;
}
