/*
 * fuzz_hello - what a TLS client sends first
 *
 * The same is understood however much comes at a time: what was done with a
 * part is not taken back by more. Names are such as hosts have.
 */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tls/hello.h"

static void check_name(const struct tls_hello *hello)
{
	size_t len = strnlen(hello->server_name, sizeof(hello->server_name));

	MUST(len < sizeof(hello->server_name));
	MUST(strspn(hello->server_name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == len);
	MUST(hello->has_alpn || !hello->has_smtp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice wire = slice_of((const char *)data, size);
	struct tls_hello whole, part;
	int r = tls_hello_read(wire, &whole);

	MUST(r == TLS_HELLO_DONE || (r == TLS_HELLO_PARTIAL && size < TLS_HELLO_MAX));
	check_name(&whole);
	if (size > 0 && size < TLS_HELLO_MAX) {
		int before = tls_hello_read(slice_first(wire, size - 1), &part);

		check_name(&part);
		MUST(before == TLS_HELLO_PARTIAL || r == TLS_HELLO_DONE);
	}
	return 0;
}
