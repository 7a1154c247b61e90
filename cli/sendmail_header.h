/*
 * sendmail_header - the header of a message that is handed to sendmail: whom it
 * is for (-t), and how often it has been received
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "mta/header.h"

/* Envelope addresses, completed; in the arena. */
struct sendmail_addresses {
	struct arena arena;
	const char **list;
	size_t count;
	struct error error; /* of the first that is none; code 0: all are */
};

/*
 * Add the addresses of a list, as it stands in a field, or as an argument.
 * What is no address is noted in a->error.
 */
void sendmail_addresses_add(struct sendmail_addresses *a, struct slice text, const char *origin);
void sendmail_addresses_done(struct sendmail_addresses *a);

/* A zeroed struct with options is at the beginning of a message. */
struct sendmail_header {
	bool takes_recipients; /* -t: and then Bcc is left out */
	const char *origin;    /* completes bare addresses */
	/* results */
	bool is_over;		     /* what comes now is the body */
	struct buf text;	     /* what goes on, with the line that ends it */
	unsigned int received_count; /* Received fields */
	/* the module's */
	struct header_reader reader;
	struct buf field; /* with recipients, as far as it has come */
	unsigned int kind;
	bool is_resent;
	struct sendmail_addresses normal, resent;
};

/* Take lines from the front of *bytes, which end in CRLF; what is left is the body. */
void sendmail_header_input(struct sendmail_header *h, struct slice *bytes);
void sendmail_header_end(struct sendmail_header *h); /* when no more bytes come */

/* Of a header that is over: of a message that is sent anew, those of its Resent- fields. */
const struct sendmail_addresses *sendmail_header_recipients(const struct sendmail_header *h);
void sendmail_header_done(struct sendmail_header *h);
