/* sendmail - what the files of sendmail share */
#pragma once

#include "cli/cli.h"
#include "cli/sendmail_header.h"
#include "cli/sendmail_options.h"
#include "mta/drop.h"

struct sendmail {
	struct sendmail_options options;
	struct config *config;
	struct config_submission to; /* the server's */
	struct arena arena;
	struct drop_envelope envelope;
};

/* Each returns an exit code, and what is wrong has been told. */

/* sendmail_message.c: the message on standard input goes to the drop directory. */
int sendmail_message(struct sendmail *s);

/* sendmail_smtp.c: so do those of an SMTP session on standard input and output. */
int sendmail_smtp(struct sendmail *s);

/* sendmail_queue.c: what has to be there for a message to be stored, where we may make it. */
void sendmail_make_directories(const struct sendmail *s);

/*
 * Once a message is stored: if no server runs, and we may, take it into the
 * queue. Becomes the server's account for good. Takes the config over.
 */
void sendmail_queue(struct config *config);

/* mailq.c, newaliases.c */
int sendmail_list(const struct config *config);
int sendmail_aliases(const char *config_file, struct config *config);

/* sendmail_message.c: the sender, and its name, as they are where the options don't say. */
int sendmail_find_sender(struct sendmail *s);

/*
 * A message could not be put into the drop directory. CLI_TRY_LATER; with what
 * the operator can do about it.
 */
int sendmail_not_stored(const struct sendmail *s, const struct error *err);
