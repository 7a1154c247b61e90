/*
 * trace - the Received header that we put in front (RFC 5321 section 4.4), and
 * the count of those that others put there
 */
#pragma once

#include "base/buf.h"
#include "mta/header.h"
#include "mta/policy.h"

struct trace_tls {
	const char *protocol, *cipher; /* NULL: in the clear */
	unsigned int bits;
	bool is_client_asked;			 /* for a certificate */
	const char *client_name, *client_issuer; /* of it, fit for a comment; NULL: it has none */
	bool is_client_trusted;
};

/*
 * "Received: from HELLO ([IP])\r\n\t(using TLSv1.3 with cipher ... (256/256 bits))\r\n
 * \t(Client CN "edge.example", Issuer "CA" (verified OK))\r\n
 * \tby HOST (Posthouse) with ESMTPS id ID\r\n\tfor <RCPT>; DATE\r\n". The
 * "for" clause is left out unless there is exactly one recipient (RFC 5321
 * section 7.2), and the user name never appears. The client's certificate, or
 * that it has none, is told where it was asked for, in the words of Postfix.
 */
void trace_received(struct buf *out, const struct queue_message *m, const struct trace_tls *tls,
		    const char *hostname, const char *mail_name);

/*
 * The field of notices to postmasters about reports that could not be
 * delivered. Two servers that cannot reach each other's postmaster would tell
 * each other so for ever if they did not know them.
 */
#define TRACE_NOTICE "X-Posthouse-Notice: double-bounce"

/*
 * Reads the header of a message as it passes by, and counts Received fields.
 */
struct trace_scanner {
	unsigned int received_count;
	bool has_8bit;	/* in the header: it is UTF-8, or was never encoded */
	bool is_notice; /* it is a notice to a postmaster: TRACE_NOTICE */
	struct header_reader reader;
};

/* The next bytes of the message; and when no more come. */
void trace_scan(struct trace_scanner *t, struct slice bytes);
void trace_scan_end(struct trace_scanner *t);
void trace_scanner_done(struct trace_scanner *t);
