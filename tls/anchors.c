/* anchors - from the leaf up, by the names of issuers, until one is ours or nobody knows it */
#include "tls/anchors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "certs/der.h"

int tls_anchors_init(struct tls_anchors *anchors, const struct certs_trust *trust,
		     struct error *err)
{
	struct der_item item;
	struct slice rest;
	int r;

	*anchors = (struct tls_anchors){ 0 };
	if (!trust)
		return 0;
	anchors->list = calloc(certs_trust_count(trust), sizeof(*anchors->list));
	if (!anchors->list)
		return error_set(err, -ENOMEM, "out of memory");
	buf_append_slice(&anchors->der, certs_trust_der(trust));
	rest = buf_slice(&anchors->der);
	while (anchors->count < certs_trust_count(trust) && der_next(&rest, &item)) {
		r = certs_certificate_parse(item.whole, &anchors->list[anchors->count++], err);
		if (r < 0) {
			tls_anchors_done(anchors);
			return r;
		}
	}
	return 0;
}

void tls_anchors_done(struct tls_anchors *anchors)
{
	buf_done(&anchors->der);
	free(anchors->list);
	*anchors = (struct tls_anchors){ 0 };
}

static bool is_anchor_of(const struct certs_certificate *anchor, const struct certs_certificate *c)
{
	/* A server's own certificate may be trusted as it is, without being a CA. */
	return slice_equal(anchor->der, c->der) ||
	       (anchor->is_ca && slice_equal(anchor->subject, c->issuer));
}

enum reach { REACH_NONE, REACH_OUT_OF_TIME, REACH_VALID };

/* There may be several of one name: the old one and its successor. */
static enum reach reach_from(const struct tls_anchors *anchors, const struct certs_certificate *c,
			     int64_t now_s)
{
	enum reach best = REACH_NONE;

	for (unsigned int i = 0; i < anchors->count; i++) {
		const struct certs_certificate *anchor = &anchors->list[i];

		if (!is_anchor_of(anchor, c))
			continue;
		if (anchor->not_before_s <= now_s && now_s <= anchor->not_after_s)
			return REACH_VALID;
		best = REACH_OUT_OF_TIME;
	}
	return best;
}

static const struct certs_certificate *find_issuer(const struct certs_certificate *c,
						   const struct certs_certificate *chain,
						   unsigned int chain_count)
{
	for (unsigned int i = 1; i < chain_count; i++) {
		if (chain[i].is_ca && &chain[i] != c && slice_equal(chain[i].subject, c->issuer))
			return &chain[i];
	}
	return NULL;
}

bool tls_anchors_reach(const struct tls_anchors *anchors, const struct certs_certificate *chain,
		       unsigned int chain_count, int64_t now_s, char *trouble, size_t size)
{
	const struct certs_certificate *c = &chain[0], *issuer;
	bool out_of_time = false;
	char name[96];

	for (unsigned int step = 0; step < chain_count; step++) {
		enum reach reach = reach_from(anchors, c, now_s);

		if (reach == REACH_VALID)
			return true;
		out_of_time |= reach == REACH_OUT_OF_TIME;
		issuer = find_issuer(c, chain, chain_count);
		if (!issuer)
			break;
		c = issuer;
	}

	certs_name_show(c->issuer, name, sizeof(name));
	if (out_of_time)
		snprintf(trouble, size, "the CA has expired (%s)", name);
	else if (anchors->count == 0)
		snprintf(trouble, size, "no trusted CA is configured (issuer %s)", name);
	else
		snprintf(trouble, size, "unknown CA (issuer %s)", name);
	return false;
}
