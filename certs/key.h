/*
 * key - a private key that signs: one that is made, or that was loaded
 *
 * New ones are P-256: the fastest of what everybody takes. RSA and other EC
 * keys can be loaded. All of it is wiped when freed.
 */
#pragma once

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/slice.h"

struct certs_key;

int certs_key_generate(struct certs_key **ret_key, struct error *err);

/* The first private key of a file. */
int certs_key_load(const char *path, struct certs_key **ret_key, struct error *err);

/* The same from memory: one block of PEM. */
int certs_key_read(struct slice pem, struct certs_key **ret_key, struct error *err);

void certs_key_free(struct certs_key *key); /* NULL is fine */
DEFINE_CLEANUP(struct certs_key *, certs_key_free);

struct slice certs_key_pem(const struct certs_key *key);
struct slice certs_key_public(const struct certs_key *key); /* SubjectPublicKeyInfo, as DER */

/* The AlgorithmIdentifier of what certs_key_sign() makes, as DER. */
struct slice certs_key_algorithm(const struct certs_key *key);

/* Append the signature of these bytes, with SHA-256. */
int certs_key_sign(struct certs_key *key, struct slice bytes, struct buf *out, struct error *err);

/* Fill out with bytes that nobody can guess. */
int certs_random(void *out, size_t out_size, struct error *err);
