/*
 * data - the mail data between DATA and CRLF.CRLF, both ways (RFC 5321 section
 * 4.5.2); and that of BDAT (RFC 3030), received
 *
 * Only CRLF "." CRLF ends the data. A CR or LF that stands alone, or a NUL, is
 * remembered as a fault: mail with one is refused, since what one server reads
 * as text another may read as the end of the message (SMTP smuggling).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum smtp_data_fault {
	SMTP_DATA_FINE,
	SMTP_DATA_BARE_CR,
	SMTP_DATA_BARE_LF,
	SMTP_DATA_NUL,
};

/* Receiving; zero the struct for each message, but for is_chunked. */
struct smtp_data_reader {
	bool is_chunked; /* by BDAT: dots mean nothing, and smtp_data_read() sees no end */
	int state;	 /* see data.c */
	enum smtp_data_fault fault; /* the first one seen */
	uint64_t size;		    /* bytes of unstuffed data so far */
};

/*
 * Decode the front of *wire, appending unstuffed bytes to out, and advance it.
 * Returns true when the end of data was read; *wire is then what follows it.
 * At most one CR is held back between calls, in the state.
 */
bool smtp_data_read(struct smtp_data_reader *r, struct slice *wire, struct buf *out);

/*
 * The data is over as its octets are (BDAT LAST): a last line without CRLF is
 * completed, as nothing could be sent on by DATA otherwise. A CR that was held
 * back was a bare one.
 */
void smtp_data_read_end(struct smtp_data_reader *r, struct buf *out);

/* All that was read is lines, without a fault, and the last one is whole. */
bool smtp_data_is_lines(const struct smtp_data_reader *r);

/* Sending; zero the struct for each message. */
struct smtp_data_writer {
	bool mid_line;		 /* something stands behind the last CRLF */
	bool after_cr, after_lf; /* what the last byte was */
};

/*
 * Append bytes, which have CRLF line ends, dot-stuffed. A dot behind a bare LF
 * is stuffed too, lest a lenient receiver reads the end of the message there.
 */
void smtp_data_write(struct smtp_data_writer *w, struct slice bytes, struct buf *out);

/* Append the end: ".CRLF", with a CRLF before it when the data did not end in one. */
void smtp_data_finish(struct smtp_data_writer *w, struct buf *out);
