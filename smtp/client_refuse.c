/*
 * What needs no server to be refused: it could not be said to this one, or it
 * is known to say no.
 */
#include "smtp/client_internal.h"

#include <inttypes.h>

#include "smtp/address.h"

/*
 * Whether an address can stand between < and > of a command. Addresses are
 * checked where they are accepted; but one that holds a CRLF would let its
 * author speak SMTP to the next hop in our name, and one that holds a '>'
 * outside of quotes would let him add parameters, so it is checked here again.
 */
static bool is_sendable(const char *address)
{
	bool quoted = false;

	for (const char *p = address; *p; p++) {
		unsigned char ch = (unsigned char)*p;

		if (ch < ' ' || ch == 0x7f)
			return false;
		if (quoted && ch == '\\' && p[1] >= ' ' && p[1] != 0x7f)
			p++;
		else if (ch == '"')
			quoted = !quoted;
		else if (!quoted && (ch == '<' || ch == '>'))
			return false;
	}
	return !quoted;
}

bool client_needs_utf8(const struct smtp_transaction *t)
{
	if (t->smtputf8 || !smtp_address_is_ascii(t->sender))
		return true;
	for (unsigned int i = 0; i < t->recipient_count; i++)
		if (!smtp_address_is_ascii(t->recipients[i].address))
			return true;
	return false;
}

/*
 * The server does not know SMTPUTF8. RFC 6531 section 3.2: then what needs it
 * is not sent. Recipients in ASCII can have a message that is.
 */
static void refuse_utf8(struct smtp_client *c, struct envelope *e)
{
	const struct smtp_transaction *t = e->transaction;
	bool all = t->smtputf8 || !smtp_address_is_ascii(t->sender);
	struct smtp_status status;

	smtp_status_set(&status, 553, ESC(5, 6, 7),
			"not sent: SMTPUTF8 is required, and the server does not offer it");
	for (unsigned int i = 0; i < t->recipient_count; i++)
		if (e->fates[i] != FATE_TOLD &&
		    (all || !smtp_address_is_ascii(t->recipients[i].address)))
			client_tell(c, e, i, &status);
}

/*
 * What the server cannot have as the sender wants it. Binary data goes by BDAT
 * alone (RFC 3030 section 3). A report for a message with REQUIRETLS goes on
 * without where there is no such server: better than none (RFC 8689 section 5).
 */
static bool refuse_needs(struct smtp_client *c, struct envelope *e)
{
	const struct smtp_transaction *t = e->transaction;
	struct smtp_status status;

	if (t->requiretls && *t->sender && !c->capabilities.requiretls) {
		smtp_status_set(&status, 550, ESC(5, 7, 30),
				"not sent: the sender requires TLS all the way (REQUIRETLS), and "
				"the server does not offer it");
	} else if (t->body_binary && !(c->capabilities.binarymime && client_uses_bdat(c))) {
		smtp_status_set(&status, 554, ESC(5, 6, 1),
				"not sent: the message is binary (BODY=BINARYMIME), and the server "
				"does not take that");
	} else {
		return false;
	}
	client_tell_all(c, e, &status);
	return true;
}

void client_refuse(struct smtp_client *c, struct envelope *e)
{
	const struct smtp_transaction *t = e->transaction;
	uint64_t limit = c->capabilities.size_limit;
	struct smtp_status status;

	if (!is_sendable(t->sender)) {
		smtp_status_set(&status, 553, ESC(5, 1, 7), "not sent: malformed sender address");
		client_tell_all(c, e, &status);
		return;
	}
	if (limit > 0 && t->size > limit) {
		smtp_status_set(&status, 552, ESC(5, 3, 4),
				"not sent: message size %" PRIu64 " exceeds the limit %" PRIu64
				" that the server announced",
				t->size, limit);
		client_tell_all(c, e, &status);
		return;
	}
	if (refuse_needs(c, e))
		return;
	for (unsigned int i = 0; i < t->recipient_count; i++) {
		if (is_sendable(t->recipients[i].address))
			continue;
		smtp_status_set(&status, 553, ESC(5, 1, 3),
				"not sent: malformed recipient address");
		client_tell(c, e, i, &status);
	}
	if (!c->capabilities.smtputf8)
		refuse_utf8(c, e);
}
