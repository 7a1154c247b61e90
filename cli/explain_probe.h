/*
 * explain_probe - what a probe of a next hop found, for people
 */
#pragma once

#include "certs/certificate.h"
#include "cli/probe.h"

/* Each DNS name and address; the common name where there is none. Escaped. */
void explain_each_name(const struct certs_certificate *c,
		       void (*visit)(void *arg, const char *name), void *arg);

/*
 * Lines that go behind a label; each but the first is indented by so many
 * columns. level: of the route.
 */
void explain_probe_text(const struct probe_result *result, enum tls_level level, int indent,
			int64_t now_s, struct buf *out);
