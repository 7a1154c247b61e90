/*
 * A message that reaches one mailbox by two of its recipients is delivered there
 * once. Whoever asked for notifications gets what both of them asked for.
 */
#include "mta/recipients.h"

#include "smtp/address.h"

/*
 * What a message may come to by aliases, if one recipient does not alone: others
 * can be sent in another transaction (RFC 5321 section 4.5.3.1.10). Lists of thousands,
 * each by a thousand names, would take all memory.
 */
#define RECIPIENTS_MAX 10000

/* What is meant where nothing is said (RFC 3461 section 4.1). */
#define NOTIFY_DEFAULT (SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY)

/* NEVER stands alone, so whoever wants to hear something hears it. */
static unsigned int join_notify(unsigned int a, unsigned int b)
{
	if (a == b)
		return a;
	if (a == SMTP_NOTIFY_NEVER)
		return b;
	if (b == SMTP_NOTIFY_NEVER)
		return a;
	return (a ? a : NOTIFY_DEFAULT) | (b ? b : NOTIFY_DEFAULT);
}

/* What is asked of an address that an alias stands for. */
static unsigned int notify_of_member(unsigned int notify, bool is_first)
{
	if (is_first)
		return notify;
	return notify == SMTP_NOTIFY_SUCCESS ? SMTP_NOTIFY_NEVER : notify & ~SMTP_NOTIFY_SUCCESS;
}

/*
 * As Postfix where there are mailboxes: without regard to case. What a hub passes on
 * has local parts whose case is for others to judge (RFC 5321 section 2.4).
 */
static bool is_same(const char *a, const char *b, bool has_mailboxes)
{
	return slice_equal_nocase(slice_from(a), slice_from(b)) &&
	       (has_mailboxes || slice_equal(smtp_address_local(a), smtp_address_local(b)));
}

/* Unless it is among the first known recipients of the message. */
static void add(const struct mta_options *options, struct queue_message *m, unsigned int known,
		const char *address, const struct smtp_rcpt *rcpt, unsigned int notify)
{
	bool has_mailboxes = options->policy->deliver != NULL;
	struct queue_recipient *r;

	for (unsigned int i = 0; i < known; i++) {
		r = &m->recipients[i];
		if (is_same(r->address, address, has_mailboxes)) {
			r->notify = join_notify(r->notify, notify);
			return;
		}
	}
	r = queue_message_add_recipient(m, address, rcpt->original);
	r->orcpt = arena_strdup(&m->arena, rcpt->orcpt);
	r->notify = notify;
}

void recipients_add(const struct mta_options *options, struct queue_message *m,
		    const struct smtp_rcpt *rcpt, struct smtp_status *ret)
{
	struct mta_expansion expansion = { 0 };
	unsigned int known = m->recipient_count;
	struct arena arena = { 0 };

	smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
	if (options->policy->expand)
		options->policy->expand(options->policy_arg, rcpt->recipient, &arena, &expansion,
					ret);
	if (known > 0 && expansion.count > 1 && known + expansion.count > RECIPIENTS_MAX)
		smtp_status_set(ret, 452, ESC(4, 5, 3), "Error: too many recipients");
	if (smtp_status_class(ret) == SMTP_DELIVERED && !expansion.is_alias)
		add(options, m, known, rcpt->recipient, rcpt, rcpt->notify);
	else if (smtp_status_class(ret) == SMTP_DELIVERED)
		for (size_t i = 0; i < expansion.count; i++)
			add(options, m, known, expansion.addresses[i], rcpt,
			    notify_of_member(rcpt->notify, i == 0));
	arena_done(&arena);
}
