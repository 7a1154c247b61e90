/* Made from its options and freed; what it does is in lookup.c, check.c, login.c and deliver.c. */
#include "edge/internal.h"

#include <errno.h>
#include <stdlib.h>

const struct mta_policy edge_policy = {
	.check_sender = edge_check_sender,
	.check_recipient = edge_check_recipient,
	.is_local = edge_is_local,
	.login_mechanisms = edge_login_mechanisms,
	.login_begin = edge_login_begin,
	.deliver = edge_deliver,
	.is_submission_server = true,
};

int edge_new(const struct edge_options *options, struct edge **ret_edge, struct error *err)
{
	struct edge *edge;
	int r = 0;

	edge = calloc(1, sizeof(*edge));
	if (!edge)
		return error_set(err, -ENOMEM, "out of memory");
	edge->options = *options;
	if (options->passdb)
		r = accounts_open(options->passdb, &edge->accounts, err);
	if (r < 0) {
		free(edge);
		return r;
	}
	*ret_edge = edge;
	return 0;
}

void edge_free(struct edge *edge)
{
	if (!edge)
		return;
	accounts_free(edge->accounts);
	free(edge);
}

int edge_refresh(struct edge *edge, struct error *err)
{
	return edge->accounts ? accounts_refresh(edge->accounts, err) : MAP_NOT_CHANGED;
}
