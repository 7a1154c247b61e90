/*
 * anchors - the CAs that we trust, and whether a chain ends at one of them
 *
 * This complements the library's check of signatures, which neither looks at
 * the dates of the CAs that it was given, nor minds whether they are CAs, and
 * which remembers intermediate CAs of other sessions. Names alone prove
 * nothing: ask only about chains whose signatures were found good.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "certs/certificate.h"

struct tls_anchors {
	struct buf der;
	struct certs_certificate *list; /* into der */
	unsigned int count;
};

/* trust may be NULL: nobody is trusted. */
int tls_anchors_init(struct tls_anchors *anchors, const struct certs_trust *trust,
		     struct error *err);
void tls_anchors_done(struct tls_anchors *anchors);

/*
 * chain: what the peer sent, the leaf first, the others in any order. When it
 * does not lead to a CA of ours that is valid at now_s, trouble says why.
 */
bool tls_anchors_reach(const struct tls_anchors *anchors, const struct certs_certificate *chain,
		       unsigned int chain_count, int64_t now_s, char *trouble, size_t size);
