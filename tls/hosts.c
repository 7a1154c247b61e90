/*
 * hosts - the certificates of a server: by the name that its client asks for,
 * as Postfix's tls_server_sni_maps finds them, and by the keys that it knows
 *
 * EC keys come first: their handshakes take an eighth of the time of RSA's.
 */
#include <stdlib.h>

#include "tls/context_internal.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

void tls_hosts_free(struct tls_choices *hosts, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		for (unsigned int j = 0; j < hosts[i].count; j++)
			wolfSSL_CTX_free(hosts[i].list[j].ctx);
		free(hosts[i].list);
		free(hosts[i].name);
	}
	free(hosts);
}

/* The name itself, then ".parent" for each of its parents. */
const struct tls_choices *tls_context_host(const struct tls_context *context, const char *name)
{
	struct slice rest = slice_from(name);
	const struct tls_choices *found;

	while (rest.len > 0) {
		found = strmap_get(&context->by_name, rest);
		if (found)
			return found;
		rest = slice_skip(rest, 1 + slice_find(slice_skip(rest, 1), '.'));
	}
	return &context->hosts[0];
}

const struct tls_choice *tls_choices_pick(const struct tls_choices *host,
					  const bool takes[CERTS_KEY_KINDS])
{
	const struct tls_choice *rsa = NULL;

	for (unsigned int i = 0; i < host->count; i++) {
		const struct tls_choice *choice = &host->list[i];

		if (!takes[choice->kind])
			continue;
		if (choice->kind != CERTS_KEY_RSA)
			return choice;
		if (!rsa)
			rsa = choice;
	}
	return rsa ? rsa : &host->list[0];
}
