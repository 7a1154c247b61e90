/*
 * Names are compared as peers do: DNS names without regard to case, addresses
 * by what they mean and not by how they are written.
 */
#include "cli/renewal.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/slice.h"
#include "certs/authority.h"
#include "certs/pemfile.h"

struct reading {
	struct arena *arena;
	struct buf names; /* const char *, one behind the other */
	bool has_leaf;
};

static int add(struct reading *reading, const char *name, struct error *err)
{
	int r = certs_name_check(name, err);

	if (r == 0)
		buf_append(&reading->names, &name, sizeof(name));
	return r;
}

static const char *text_of(const struct certs_name *name, struct arena *arena)
{
	char address[INET6_ADDRSTRLEN];

	if (name->type == CERTS_NAME_DNS)
		return arena_slicedup(arena, name->text);
	inet_ntop(name->text.len == sizeof(struct in_addr) ? AF_INET : AF_INET6, name->text.ptr,
		  address, sizeof(address));
	return arena_strdup(arena, address);
}

/* Most common names are no host's, and then nobody is reached by them. */
static void add_common_name(struct reading *reading, struct slice subject)
{
	struct slice name;

	if (certs_common_name(subject, &name) && !memchr(name.ptr, '\0', name.len))
		add(reading, arena_slicedup(reading->arena, name), NULL);
}

static int take(void *arg, const struct pem_block *block,
		const struct certs_certificate *certificate, struct error *err)
{
	struct reading *reading = arg;
	struct slice cursor = certificate->alt_names;
	struct certs_name name;
	int r = 0;

	(void)block;
	if (reading->has_leaf)
		return 0;
	reading->has_leaf = true;
	while (r == 0 && certs_next_name(&cursor, &name))
		r = add(reading, text_of(&name, reading->arena), err);
	if (r == 0 && buf_len(&reading->names) == 0)
		add_common_name(reading, certificate->subject);
	return r;
}

int renewal_read(const char *cert_file, struct arena *arena, struct renewal_names *ret,
		 struct error *err)
{
	struct reading reading = { .arena = arena };
	int r = pemfile_certificates(cert_file, take, &reading, err);
	struct slice all = buf_slice(&reading.names);
	const char **names;

	if (r == 0) {
		ret->count = (unsigned int)(all.len / sizeof(*names));
		ret->names = names = arena_alloc(arena, all.len);
		if (all.len > 0)
			memcpy(names, all.ptr, all.len);
	}
	buf_done(&reading.names);
	return r;
}

static bool is_same(const char *a, const char *b)
{
	unsigned char a_bytes[sizeof(struct in6_addr)], b_bytes[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET6, a, a_bytes) == 1 && inet_pton(AF_INET6, b, b_bytes) == 1)
		return memcmp(a_bytes, b_bytes, sizeof(a_bytes)) == 0;
	return slice_equal_nocase(slice_from(a), slice_from(b));
}

static bool is_among(const struct renewal_names *names, const char *name)
{
	for (unsigned int i = 0; i < names->count; i++)
		if (is_same(names->names[i], name))
			return true;
	return false;
}

struct renewal_names renewal_keep(const char *first, const struct renewal_names *old,
				  struct arena *arena)
{
	const char **names = arena_alloc(arena, (old->count + 1) * sizeof(*names));
	unsigned int count = 0;

	names[count++] = first;
	for (unsigned int i = 0; i < old->count; i++)
		if (!is_same(old->names[i], first))
			names[count++] = old->names[i];
	return (struct renewal_names){ names, count };
}

unsigned int renewal_lost(const struct renewal_names *old, const struct renewal_names *new_names,
			  struct buf *out)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < old->count; i++)
		if (!is_among(new_names, old->names[i]))
			buf_printf(out, "%s%s", count++ > 0 ? ", " : "", old->names[i]);
	return count;
}
