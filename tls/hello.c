/*
 * hello - a cursor that never passes its end, and fields in their order
 *
 * Records (RFC 8446 section 5.1) are put together first: a hello may be cut
 * into several, at any byte.
 */
#include "tls/hello.h"

#include <string.h>

#include "base/buf.h"
#include "base/macros.h"

#define RECORD_HEADER	 5
#define RECORD_HANDSHAKE 22
#define RECORD_MAX	 16384
#define CLIENT_HELLO	 1

enum extension {
	EXTENSION_SERVER_NAME = 0,
	EXTENSION_SIGNATURE_ALGORITHMS = 13,
	EXTENSION_ALPN = 16,
	EXTENSION_SUPPORTED_VERSIONS = 43,
	EXTENSION_PSK_MODES = 45,
};

/* What is said of keys: by signature algorithm, and in TLS 1.2 by cipher suite as well. */
struct abilities {
	bool has_algorithms; /* else it takes SHA-1, which we don't (RFC 5246 section 7.4.1.4.1) */
	bool algorithms[CERTS_KEY_KINDS];
	bool ecdsa_suites, rsa_suites, has_1_3;
};

/* Big-endian; false, with *s as it was, when there are not so many bytes. */
static bool take_number(struct slice *s, size_t size, size_t *ret)
{
	size_t value = 0;

	if (s->len < size)
		return false;
	for (size_t i = 0; i < size; i++)
		value = value << 8 | (unsigned char)s->ptr[i];
	*s = slice_skip(*s, size);
	*ret = value;
	return true;
}

/* A vector whose length is in so many bytes before it. */
static bool take_vector(struct slice *s, size_t length_size, struct slice *ret)
{
	struct slice rest = *s;
	size_t len;

	if (!take_number(&rest, length_size, &len) || rest.len < len)
		return false;
	*ret = slice_first(rest, len);
	*s = slice_skip(rest, len);
	return true;
}

/* Names that could not be those of hosts are nobody's. */
static bool copy_name(struct slice name, char out[256])
{
	if (name.len == 0 || name.len > 255)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-_.", c)) || !c)
			return false;
		out[i] = c;
	}
	out[name.len] = '\0';
	return true;
}

static void read_server_name(struct slice data, struct tls_hello *hello)
{
	struct slice list, name;
	size_t type;

	if (!take_vector(&data, 2, &list))
		return;
	while (take_number(&list, 1, &type) && take_vector(&list, 2, &name)) {
		if (type == 0) { /* host_name */
			if (!copy_name(name, hello->server_name))
				hello->server_name[0] = '\0';
			return;
		}
	}
}

static void read_alpn(struct slice data, struct tls_hello *hello)
{
	struct slice list, name;

	if (!take_vector(&data, 2, &list))
		return;
	while (take_vector(&list, 1, &name)) {
		hello->has_alpn = true;
		hello->has_smtp |= slice_equal(name, SLICE("smtp"));
	}
}

static void read_algorithms(struct slice data, struct abilities *abilities)
{
	struct slice list;
	size_t algorithm;

	if (!take_vector(&data, 2, &list))
		return;
	abilities->has_algorithms = true;
	while (take_number(&list, 2, &algorithm)) {
		switch (algorithm) {
		case 0x0403: /* ecdsa_secp256r1_sha256 */
			abilities->algorithms[CERTS_KEY_P256] = true;
			break;
		case 0x0503:
			abilities->algorithms[CERTS_KEY_P384] = true;
			break;
		case 0x0603:
			abilities->algorithms[CERTS_KEY_EC] = true;
			break;
		case 0x0401: /* rsa_pkcs1_sha256, in TLS 1.2 */
		case 0x0501:
		case 0x0601:
		case 0x0804: /* rsa_pss_rsae_sha256 */
		case 0x0805:
		case 0x0806:
			abilities->algorithms[CERTS_KEY_RSA] = true;
			break;
		default:
			break;
		}
	}
}

static void read_versions(struct slice data, struct abilities *abilities)
{
	struct slice list;
	size_t version;

	if (!take_vector(&data, 1, &list))
		return;
	while (take_number(&list, 2, &version))
		abilities->has_1_3 |= version == 0x0304;
}

/* RFC 8446 section 4.2.9: psk_ke is 0, psk_dhe_ke is 1. */
static void read_psk_modes(struct slice data, struct tls_hello *hello)
{
	struct slice list;
	size_t mode;

	if (!take_vector(&data, 1, &list))
		return;
	hello->is_psk_alone = true;
	while (take_number(&list, 1, &mode))
		if (mode == 1)
			hello->is_psk_alone = false;
}

/* Those of ours for TLS 1.2 (tls/suites.c). */
static void read_suites(struct slice suites, struct abilities *abilities)
{
	size_t suite;

	while (take_number(&suites, 2, &suite)) {
		abilities->ecdsa_suites |= suite == 0xcca9 || suite == 0xc02b || suite == 0xc02c;
		abilities->rsa_suites |= suite == 0xcca8 || suite == 0xc02f || suite == 0xc030;
	}
}

static void read_extensions(struct slice list, struct tls_hello *hello, struct abilities *abilities)
{
	struct slice data;
	size_t type;

	while (take_number(&list, 2, &type) && take_vector(&list, 2, &data)) {
		switch (type) {
		case EXTENSION_SERVER_NAME:
			read_server_name(data, hello);
			break;
		case EXTENSION_SIGNATURE_ALGORITHMS:
			read_algorithms(data, abilities);
			break;
		case EXTENSION_ALPN:
			read_alpn(data, hello);
			break;
		case EXTENSION_SUPPORTED_VERSIONS:
			read_versions(data, abilities);
			break;
		case EXTENSION_PSK_MODES:
			read_psk_modes(data, hello);
			break;
		default:
			break;
		}
	}
}

static void conclude(const struct abilities *abilities, struct tls_hello *hello)
{
	for (int kind = 0; kind < CERTS_KEY_KINDS; kind++) {
		bool has_suites =
			kind == CERTS_KEY_RSA ? abilities->rsa_suites : abilities->ecdsa_suites;

		hello->takes[kind] =
			(abilities->has_algorithms ? abilities->algorithms[kind] : has_suites) &&
			(abilities->has_1_3 || has_suites);
	}
}

/* body: without the header of the handshake message. */
static void read_body(struct slice body, struct tls_hello *hello)
{
	struct abilities abilities = { 0 };
	struct slice random, session_id, suites, compression, extensions;

	random = slice_first(body, 2 + 32); /* legacy_version, too */
	body = slice_skip(body, 2 + 32);
	if (random.len < 2 + 32 || !take_vector(&body, 1, &session_id) ||
	    !take_vector(&body, 2, &suites) || !take_vector(&body, 1, &compression))
		return;
	read_suites(suites, &abilities);
	if (take_vector(&body, 2, &extensions))
		read_extensions(extensions, hello, &abilities);
	conclude(&abilities, hello);
}

/* What the whole records hold. False: there is something else in them, or too much. */
static bool join_records(struct slice wire, struct buf *out)
{
	while (wire.len >= RECORD_HEADER) {
		struct slice rest = slice_skip(wire, 3), fragment;
		size_t len = (size_t)(unsigned char)wire.ptr[3] << 8 | (unsigned char)wire.ptr[4];

		if (wire.ptr[0] != RECORD_HANDSHAKE || wire.ptr[1] != 3 || len > RECORD_MAX)
			return false;
		if (!take_vector(&rest, 2, &fragment))
			return true; /* not whole yet */
		buf_append_slice(out, fragment);
		wire = rest;
	}
	return true;
}

int tls_hello_read(struct slice wire, struct tls_hello *ret)
{
	struct buf joined = { 0 };
	struct slice message, body;
	size_t type;
	int r = TLS_HELLO_DONE;

	*ret = (struct tls_hello){ 0 };
	if (join_records(wire, &joined)) {
		message = buf_slice(&joined);
		if (!take_number(&message, 1, &type))
			r = TLS_HELLO_PARTIAL;
		else if (type != CLIENT_HELLO)
			r = TLS_HELLO_DONE;
		else if (take_vector(&message, 3, &body))
			read_body(body, ret);
		else
			r = TLS_HELLO_PARTIAL;
	}
	buf_done(&joined);
	return r == TLS_HELLO_PARTIAL && wire.len >= TLS_HELLO_MAX ? TLS_HELLO_DONE : r;
}
