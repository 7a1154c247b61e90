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
	static const char prefix[] = "passwd-file:";
	struct edge *edge;
	int r = 0;

	if (options->passdb && strncmp(options->passdb, prefix, sizeof(prefix) - 1) != 0)
		return error_set(err, -EINVAL, "%s: expected passwd-file:FILE", options->passdb);
	edge = calloc(1, sizeof(*edge));
	if (!edge)
		return error_set(err, -ENOMEM, "out of memory");
	edge->options = *options;
	if (options->passdb)
		r = passwd_open(options->passdb + sizeof(prefix) - 1, &edge->passwd, err);
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
	passwd_free(edge->passwd);
	free(edge);
}

int edge_refresh(struct edge *edge, struct error *err)
{
	return edge->passwd ? passwd_refresh(edge->passwd, err) : MAP_NOT_CHANGED;
}
