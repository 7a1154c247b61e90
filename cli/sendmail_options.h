/* sendmail_options - the arguments of sendmail, as sendmail(1) of Postfix takes them */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "smtp/dsn.h"

enum sendmail_mode {
	SENDMAIL_MESSAGE, /* -bm, and where nothing is said: a message on standard input */
	SENDMAIL_SMTP,	  /* -bs: an SMTP session on standard input and output */
	SENDMAIL_LIST,	  /* -bp, mailq */
	SENDMAIL_ALIASES, /* -bi, -I, newaliases */
	SENDMAIL_FLUSH,	  /* -q, -qIID, -qRDOMAIN */
	SENDMAIL_HELP,
	SENDMAIL_VERSION,
};

struct sendmail_options {
	enum sendmail_mode mode;
	const char *config_file;	     /* -C; NULL: not given */
	const char *sender;		     /* -f, -r; NULL: not given */
	const char *full_name;		     /* -F; NULL: not given */
	bool takes_recipients;		     /* -t */
	bool keeps_dots;		     /* -i, -oi */
	bool is_relayed;		     /* -G */
	bool body_8bit;			     /* -B8BITMIME, -o8 */
	unsigned int notify;		     /* -N; 0: not given */
	enum smtp_return returning;	     /* -R */
	const char *envelope_id;	     /* -V; "" */
	const char *flush_id, *flush_domain; /* -qI, -qR; NULL: everything */
	char **recipients;
	int recipient_count;
};

/*
 * argv[0] is the name that was called: mailq and newaliases are modes. The
 * strings are argv's. -EINVAL: err says what cannot be understood.
 */
int sendmail_options_parse(int argc, char **argv, struct sendmail_options *ret, struct error *err);
