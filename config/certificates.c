/*
 * Certificates and keys are read here and put into the two TLS contexts; the
 * keys are kept for a reload. What is the same file for both directions is
 * read, and complained about, once.
 */
#include "config/state.h"

#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"

/* From before the first byte is read: what changes meanwhile is looked at again. */
void config_note_file(struct config *c, enum config_parameter_id id, const char *path)
{
	struct config_file file = { .id = id, .path = arena_strdup(&c->tls->arena, path) };

	config_stamp_take(path, &file.read);
	file.tried = file.seen = file.read;
	buf_append(&c->tls->files, &file, sizeof(file));
}

/* Whoever reads it now is not whoever has read it at the start. */
static void report_unreadable(struct config *c, enum config_parameter_id id,
			      const struct error *err)
{
	bool is_forbidden = c->running && (err->code == -EACCES || err->code == -EPERM);

	config_report_setting(c, id, config_secret_severity(c, err), "%s%s", err->text,
			      is_forbidden ? "; it has changed, and the account that the server "
					     "runs as may not read it: chgrp it to a group of that "
					     "account and chmod g+r, or restart the server"
					   : "");
}

struct config_identity *config_load_files(struct config *c, enum config_parameter_id cert_id,
					  enum config_parameter_id key_id, const char *cert_file,
					  const char *key_file)
{
	struct config_identity *identity = NULL;
	struct error err = { 0 };

	config_note_file(c, cert_id, cert_file);
	if (key_file && strcmp(key_file, cert_file) != 0)
		config_note_file(c, key_id, key_file);
	if (config_identity_load(c, cert_file, key_file, &identity, &err) < 0) {
		bool is_key =
			key_file && strcmp(key_file, cert_file) != 0 && strstr(err.text, key_file);

		report_unreadable(c, is_key ? key_id : cert_id, &err);
		return NULL;
	}
	config_add_certificates(c, cert_id, cert_file, false,
				certs_identity_chain_pem(config_identity_get(identity)));
	config_check_secret(c, key_id, key_file ? key_file : cert_file);
	config_check_key_readable(c, key_id, key_file ? key_file : cert_file);
	return identity;
}

/* NULL: none is given, or a problem was reported. */
static struct config_identity *load_identity(struct config *c, enum config_parameter_id cert_id,
					     enum config_parameter_id key_id)
{
	const char *cert_file = config_given_value(c, cert_id),
		   *key_file = config_given_value(c, key_id);

	return cert_file ? config_load_files(c, cert_id, key_id, cert_file, key_file) : NULL;
}

static struct certs_trust *load_trust(struct config *c, enum config_parameter_id id)
{
	const char *file = config_given_value(c, id);
	struct certs_trust *trust = NULL;
	struct error err = { 0 };

	if (!file)
		return NULL;
	config_note_file(c, id, file);
	if (certs_trust_load(file, &trust, &err) < 0)
		config_report_setting(c, id, CONFIG_ERROR, "%s", err.text);
	else
		config_add_certificates(c, id, file, true, certs_trust_pem(trust));
	return trust;
}

static enum tls_version version_of(const struct config *c, enum config_parameter_id id)
{
	enum tls_version version = TLS_VERSION_1_2;

	if (config_value(c, id))
		tls_protocols_parse(slice_from(config_value(c, id)), &version, NULL);
	return version;
}

static bool is_same_value(const struct config *c, enum config_parameter_id a,
			  enum config_parameter_id b)
{
	const char *a_value = config_value(c, a), *b_value = config_value(c, b);

	return a_value && b_value && strcmp(a_value, b_value) == 0;
}

/* Of smtpd_tls_cert_file, or those of smtpd_tls_chain_files, the first in the first's place. */
static void make_server_context(struct config *c, const struct certs_identity *identity,
				const struct config_chains *chains, const struct certs_trust *trust)
{
	bool has_first = !identity && chains->count > 0;
	const struct tls_context_options options = {
		.identity = has_first ? chains->list[0] : identity,
		.more_identities = has_first ? chains->list + 1 : chains->list,
		.more_count = has_first ? chains->count - 1 : chains->count,
		.hosts = chains->hosts,
		.host_count = chains->host_count,
		.trust = trust,
		.min_version = version_of(c, CONFIG_SMTPD_TLS_PROTOCOLS),
		.ask_certificate = config_asks_clients(c),
		.previous = c->running && c->running->tls ? c->running->tls->server : NULL,
	};
	struct error err = { 0 };

	if (options.identity && tls_context_new_server(&options, &c->tls->server, &err) < 0)
		config_report_setting(c, CONFIG_SMTPD_TLS_CERT_FILE, CONFIG_ERROR, "%s", err.text);
}

static void make_client_context(struct config *c, const struct certs_identity *identity,
				const struct certs_trust *trust)
{
	const struct tls_context_options options = {
		.identity = identity,
		.trust = trust,
		.min_version = version_of(c, CONFIG_SMTP_TLS_PROTOCOLS),
	};
	struct error err = { 0 };

	if (tls_context_new_client(&options, &c->tls->client, &err) < 0)
		config_report_setting(c, CONFIG_SMTP_TLS_CERT_FILE, CONFIG_ERROR, "%s", err.text);
}

void config_open_certificates(struct config *c)
{
	CLEANUP(certs_trust_freep) struct certs_trust *server_trust = NULL;
	CLEANUP(certs_trust_freep) struct certs_trust *client_trust = NULL;
	bool same_identity =
		is_same_value(c, CONFIG_SMTPD_TLS_CERT_FILE, CONFIG_SMTP_TLS_CERT_FILE) &&
		is_same_value(c, CONFIG_SMTPD_TLS_KEY_FILE, CONFIG_SMTP_TLS_KEY_FILE);
	bool same_trust = is_same_value(c, CONFIG_SMTPD_TLS_CAFILE, CONFIG_SMTP_TLS_CAFILE);
	const struct certs_identity *server_identity, *client_identity;
	struct config_chains chains;

	c->tls = memory_zeroed(sizeof(*c->tls));
	c->tls->server_identity =
		load_identity(c, CONFIG_SMTPD_TLS_CERT_FILE, CONFIG_SMTPD_TLS_KEY_FILE);
	if (!same_identity)
		c->tls->client_identity =
			load_identity(c, CONFIG_SMTP_TLS_CERT_FILE, CONFIG_SMTP_TLS_KEY_FILE);
	server_identity = config_identity_get(c->tls->server_identity);
	client_identity = config_identity_get(c->tls->client_identity);
	server_trust = load_trust(c, CONFIG_SMTPD_TLS_CAFILE);
	if (!same_trust)
		client_trust = load_trust(c, CONFIG_SMTP_TLS_CAFILE);

	config_open_chains(c, &chains);
	make_server_context(c, server_identity, &chains, server_trust);
	make_client_context(c, same_identity ? server_identity : client_identity,
			    same_trust ? server_trust : client_trust);
}

void config_tls_free(struct config_tls *tls)
{
	struct config_identity **others;

	if (!tls)
		return;
	config_identity_unref(tls->server_identity);
	config_identity_unref(tls->client_identity);
	others = (void *)(tls->others.mem + tls->others.start);
	for (size_t i = 0; i < buf_len(&tls->others) / sizeof(*others); i++)
		config_identity_unref(others[i]);
	buf_done(&tls->others);
	tls_context_unref(tls->server);
	tls_context_unref(tls->client);
	buf_done(&tls->files);
	buf_done(&tls->certificates);
	arena_done(&tls->arena);
	free(tls);
}
