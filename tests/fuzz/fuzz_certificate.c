/*
 * fuzz_certificate - a certificate as a peer sends it, and its names
 *
 * Whatever the parser takes has its fields inside of what was given, and
 * texts for people that hold no control characters.
 */
#include <string.h>

#include "certs/certificate.h"
#include "tests/fuzz/fuzz.h"

static bool is_inside(struct slice part, struct slice whole)
{
	return part.len == 0 ||
	       (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void check_text(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	MUST(len < size);
	for (size_t i = 0; i < len; i++)
		MUST((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

static void check_names(const struct certs_certificate *c)
{
	struct slice cursor = c->alt_names, common_name;
	struct certs_name name;
	char text[40];

	while (certs_next_name(&cursor, &name)) {
		MUST(is_inside(name.text, c->alt_names) && name.text.len > 0);
		if (name.type == CERTS_NAME_DNS)
			MUST(!memchr(name.text.ptr, '\0', name.text.len));
		else
			MUST(name.text.len == 4 || name.text.len == 16);
	}
	if (certs_common_name(c->subject, &common_name))
		MUST(is_inside(common_name, c->subject));
	for (size_t size = 1; size <= sizeof(text); size++)
		check_text(certs_name_show(c->issuer, text, size), size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice der = slice_of((const char *)data, size);
	struct certs_certificate c;
	struct certs_info info;
	struct error err = { 0 };

	if (certs_certificate_parse(der, &c, &err) < 0) {
		MUST(err.code < 0 && err.text[0]);
		return 0;
	}
	MUST(is_inside(c.issuer, der) && is_inside(c.subject, der));
	MUST(is_inside(c.public_key, der) && is_inside(c.alt_names, der));
	check_names(&c);
	certs_certificate_info(&c, &info);
	check_text(info.subject, sizeof(info.subject));
	MUST(strspn(info.sha256, "0123456789abcdef") == 64);
	return 0;
}
