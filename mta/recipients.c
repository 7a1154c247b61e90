/*
 * A message that reaches one mailbox by two of its recipients is delivered there
 * once. Whoever asked for notifications gets what both of them asked for. For
 * a few addresses the recipients are gone through; for many a table of them is
 * made, as thousands would be compared with thousands.
 */
#include "mta/recipients.h"

#include "base/strmap.h"
#include "smtp/address.h"

#define FEW 16 /* addresses that an alias stands for */

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

/* The recipients of a message before something is added. */
struct known {
	struct queue_message *m;
	unsigned int count;
	bool has_mailboxes;
	struct strmap table; /* of many: key -> struct queue_recipient; empty: none was made */
	struct arena *arena;
};

/*
 * As Postfix where there are mailboxes: without regard to case. What a hub passes on
 * has local parts whose case is for others to judge (RFC 5321 section 2.4).
 */
static bool is_same(const struct known *known, const char *a, const char *b)
{
	return slice_equal_nocase(slice_from(a), slice_from(b)) &&
	       (known->has_mailboxes || slice_equal(smtp_address_local(a), smtp_address_local(b)));
}

/* Those that are the same have the same one. */
static struct slice key_of(const struct known *known, const char *address)
{
	char *key = arena_strdup(known->arena, address);

	for (char *at = key + (known->has_mailboxes ? 0 : smtp_address_local(key).len); *at; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at |= 32;
	return slice_from(key);
}

/* Pointers go when a recipient is added, so positions are kept, counted from 1. */
static void make_table(struct known *known)
{
	for (uintptr_t i = 0; i < known->count; i++)
		strmap_put(&known->table, key_of(known, known->m->recipients[i].address),
			   (void *)(i + 1));
}

/* NULL: there is none. */
static struct queue_recipient *find(const struct known *known, const char *address)
{
	struct queue_recipient *recipients = known->m->recipients;
	uintptr_t found;

	if (known->table.count > 0) {
		found = (uintptr_t)strmap_get(&known->table, key_of(known, address));
		return found ? &recipients[found - 1] : NULL;
	}
	for (unsigned int i = 0; i < known->count; i++)
		if (is_same(known, recipients[i].address, address))
			return &recipients[i];
	return NULL;
}

/* The strings of rcpt are the message's own. */
static void add(const struct known *known, const char *address, const struct smtp_rcpt *rcpt,
		unsigned int notify)
{
	struct queue_recipient *r = find(known, address);

	if (r) {
		r->notify = join_notify(r->notify, notify);
		return;
	}
	r = queue_message_add_recipient(known->m, address, "");
	r->original = rcpt->original;
	r->orcpt = rcpt->orcpt;
	r->notify = notify;
}

/* Once for all members: with what a client can write into them, thousands are megabytes. */
static struct smtp_rcpt keep(struct queue_message *m, const struct smtp_rcpt *rcpt)
{
	struct smtp_rcpt kept = *rcpt;

	kept.original = arena_strdup(&m->arena, rcpt->original);
	kept.orcpt = arena_strdup(&m->arena, rcpt->orcpt);
	return kept;
}

static void add_members(struct known *known, const struct mta_expansion *expansion,
			const struct smtp_rcpt *rcpt)
{
	if (expansion->count > FEW)
		make_table(known);
	for (size_t i = 0; i < expansion->count; i++)
		add(known, expansion->addresses[i], rcpt, notify_of_member(rcpt->notify, i == 0));
	strmap_done(&known->table);
}

size_t recipients_add(const struct mta_options *options, struct queue_message *m,
		      const struct smtp_rcpt *rcpt, struct smtp_status *ret)
{
	struct mta_expansion expansion = { 0 };
	struct arena arena = { 0 };
	struct known known = {
		.m = m,
		.count = m->recipient_count,
		.has_mailboxes = options->policy->deliver != NULL,
		.arena = &arena,
	};
	struct smtp_rcpt kept;
	bool is_taken;

	smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
	if (options->policy->expand)
		options->policy->expand(options->policy_arg, rcpt->recipient, &arena, &expansion,
					ret);
	if (known.count > 0 && expansion.count > 1 &&
	    known.count + expansion.count > RECIPIENTS_MAX)
		smtp_status_set(ret, 452, ESC(4, 5, 3), "Error: too many recipients");
	is_taken = smtp_status_class(ret) == SMTP_DELIVERED;
	if (is_taken)
		kept = keep(m, rcpt);
	if (is_taken && expansion.is_alias)
		add_members(&known, &expansion, &kept);
	else if (is_taken)
		add(&known, rcpt->recipient, &kept, rcpt->notify);
	arena_done(&arena);
	return is_taken ? (expansion.is_alias ? expansion.count : 1) : 0;
}
