/* Made from its options and freed; what it does is in lookup.c, expand.c, check.c, login.c and deliver.c. */
#include "edge/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "sasl/sasl.h"

const struct mta_policy edge_policy = {
	.check_sender = edge_check_sender,
	.check_recipient = edge_check_recipient,
	.recipient_blocks = edge_recipient_blocks,
	.expand = edge_expand,
	.is_local = edge_is_local,
	.login_mechanisms = edge_login_mechanisms,
	.login_begin = edge_login_begin,
	.deliver = edge_deliver,
	.is_submission_server = true,
};

static int open_accounts(struct edge *edge, const char *passdb, struct error *err)
{
	struct dovecot_auth_options options = { .log = edge->options.log };

	if (accounts_kind(passdb, &options.path) != ACCOUNTS_DOVECOT)
		return accounts_open(passdb, &edge->accounts, err);
	edge->dovecot = dovecot_auth_new(&options);
	if (dovecot_auth_ask(edge->dovecot, &edge->trouble) >= 0)
		edge->trouble.code = 0;
	return 0;
}

/*
 * The salts of users who do not exist must stay what they are, as those of users
 * do: else a restart would tell them apart. So they hang on what the machine
 * keeps for itself, where it does (machine-id(5)).
 */
static void set_salt_key(unsigned char *key, size_t size)
{
	FILE *file = fopen("/etc/machine-id", "re");
	size_t len = file ? fread(key, 1, size, file) : 0;

	if (len < size && getrandom(key, size, 0) != (ssize_t)size)
		memset(key, 0, size);
	if (file)
		fclose(file);
}

int edge_new(const struct edge_options *options, struct edge **ret_edge, struct error *err)
{
	struct edge *edge;
	int r = 0;

	edge = calloc(1, sizeof(*edge));
	if (!edge)
		return error_set(err, -ENOMEM, "out of memory");
	edge->options = *options;
	set_salt_key(edge->salt_key, sizeof(edge->salt_key));
	r = sasl_new(&edge->sasl, err);
	if (r == 0 && options->passdb)
		r = open_accounts(edge, options->passdb, err);
	if (r < 0) {
		edge_free(edge);
		return r;
	}
	edge->includes = includes_new();
	*ret_edge = edge;
	return 0;
}

void edge_free(struct edge *edge)
{
	if (!edge)
		return;
	accounts_free(edge->accounts);
	dovecot_auth_free(edge->dovecot);
	includes_free(edge->includes);
	sasl_free(edge->sasl);
	explicit_bzero(edge->salt_key, sizeof(edge->salt_key));
	free(edge);
}

const char *edge_trouble(const struct edge *edge)
{
	return edge->trouble.code ? edge->trouble.text : NULL;
}

int edge_refresh(struct edge *edge, struct error *err)
{
	includes_refresh(edge->includes, edge->options.log);
	if (edge->dovecot)
		return dovecot_auth_refresh(edge->dovecot, err);
	return edge->accounts ? accounts_refresh(edge->accounts, err) : MAP_NOT_CHANGED;
}
