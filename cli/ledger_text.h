/* ledger_text - rows of the ledger, for programs and for people */
#pragma once

#include "base/buf.h"
#include "queue/ledger.h"

struct json_t;

/* The object "tls" of an attempt, null for a local delivery. */
struct json_t *ledger_text_tls_value(const struct queue_ledger_row *row);

/*
 * "TLSv1.3 with TLS_AES_128_GCM_SHA256, mx.example verified", "none", "no session";
 * the last with the certificate that the peer showed, if it came to that.
 */
void ledger_text_tls(struct buf *out, const struct queue_ledger_row *row);
