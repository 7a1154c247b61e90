/*
 * clientcerts - the client certificates that may relay (relay_clientcerts)
 *
 * A list of fingerprints ("sha256:HEX", "pubkey-sha256:HEX", or HEX alone,
 * which may be either; colons and case don't matter), of names ("edge.example":
 * a DNS name of a certificate that a CA of ours has signed), of "all" that our
 * CAs have signed, and of maps that have any of these as keys.
 *
 * Whatever the list says, a certificate that is out of its time, or not for
 * clients, gives no right. Immutable but for its maps; safe on any thread.
 */
#pragma once

#include "maps/map.h"
#include "tls/session.h"

struct clientcerts;

/* Relative file names are relative to directory. */
int clientcerts_open(struct slice list, const char *directory, struct clientcerts **ret,
		     struct error *err);
void clientcerts_free(struct clientcerts *list); /* NULL is fine */
DEFINE_CLEANUP(struct clientcerts *, clientcerts_free);

/* Report each error for which clientcerts_open() would fail. */
void clientcerts_diagnose(struct slice list, const char *directory, map_report *report, void *arg);

/* Report the keys of maps that no certificate will ever match. */
void clientcerts_check(const struct clientcerts *list, map_report *report, void *arg);

/* Whether it has anything in it that only a CA can make true: "all" or a name. */
bool clientcerts_needs_ca(const struct clientcerts *list);

size_t clientcerts_map_count(const struct clientcerts *list);
struct map *clientcerts_map_at(const struct clientcerts *list, size_t index);

#define CLIENTCERTS_WHY_SIZE 300

/*
 * Whether who has shown this certificate may relay, at now_s: MAP_FOUND,
 * MAP_NOT_FOUND, or an error. why says by what ("edge.example", "certs:2"), or
 * why not ("certificate has expired on 2026-01-31"); it is safe to log.
 */
int clientcerts_judge(const struct clientcerts *list, const struct tls_facts *facts,
		      struct slice certificate, int64_t now_s, char why[CLIENTCERTS_WHY_SIZE],
		      struct error *err);
