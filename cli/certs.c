/*
 * posthouse certs ca, certs issue - a private CA, and certificates for hubs
 * and edges; neither needs a configuration
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "base/parse.h"
#include "certs/authority.h"
#include "certs/newfile.h"
#include "cli/cli.h"
#include "cli/renewal.h"

#define DAY_S		86400
#define CA_DAYS		3650
#define LEAF_DAYS	365
#define DAYS_MAX	36500
#define SLACK_S		3600 /* clocks of other hosts may be slow */
#define CA_BASE_NAME	"ca"
#define CA_CERT_NAME	CA_BASE_NAME ".crt"
#define CA_KEY_NAME	CA_BASE_NAME ".key"
#define BASE_NAME_MAX	200 /* of a file, before its ending */
#define FIRST_LABEL_ANY "*."

static int64_t now_s(void)
{
	return clock_wall_ms(&clock_system) / 1000;
}

/* "2027-11-21" */
static const char *day_of(int64_t time_s, char out[TIME_RFC3339_SIZE])
{
	time_rfc3339(time_s * 1000, out);
	out[strlen("2027-11-21")] = '\0';
	return out;
}

static bool parse_days(const char *command, const char *text, unsigned int otherwise,
		       struct certs_period *ret)
{
	uint64_t days = otherwise;

	if (text && (!parse_uint(slice_from(text), DAYS_MAX, &days) || days == 0)) {
		cli_error("%s: --days %s: expected a number of days, 1 to %d", command, text,
			  DAYS_MAX);
		return false;
	}
	ret->not_before_s = now_s() - SLACK_S;
	ret->not_after_s = now_s() + (int64_t)days * DAY_S;
	return true;
}

/* A file that is in the way is an answer, not a fault. */
static int fail(const struct error *err)
{
	cli_error("%s", err->text);
	return err->code == -EEXIST ? CLI_NO : cli_exit_of(err);
}

static int make_directory(const char *path)
{
	struct stat st;

	if (mkdir(path, 0777) == 0 || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return CLI_DONE;
	cli_error("%s: %s", path, strerror(errno));
	return errno == EACCES ? CLI_NOT_PERMITTED : CLI_IO;
}

/* ---- certs ca ---- */

static int write_ca(const struct certs_authority *a, const char *directory, bool may_replace,
		    struct arena *arena)
{
	const char *key = arena_printf(arena, "%s/" CA_KEY_NAME, directory);
	const char *cert = arena_printf(arena, "%s/" CA_CERT_NAME, directory);
	const struct certs_newfile files[] = {
		{ key, certs_authority_key_pem(a), true },
		{ cert, certs_authority_pem(a), false },
	};
	const struct certs_certificate *c = certs_authority_certificate(a);
	char day[TIME_RFC3339_SIZE], name[256];
	struct error err = { 0 };

	if (certs_newfile_write(files, ARRAY_SIZE(files), may_replace, &err) < 0)
		return fail(&err);
	printf("%s: %s, until %s\n%s: its key; whoever has it can be any host\n", cert,
	       certs_name_show(c->subject, name, sizeof(name)), day_of(c->not_after_s, day), key);
	return CLI_DONE;
}

int cli_certs_ca(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(certs_authority_freep) struct certs_authority *authority = NULL;
	const char *directory = NULL, *name = NULL, *days = NULL;
	struct arena arena = { 0 };
	struct certs_period period;
	struct error err = { 0 };
	bool may_replace = false;
	const struct cli_flag flags[] = {
		{ "--out", NULL, &directory },
		{ "--name", NULL, &name },
		{ "--days", NULL, &days },
		{ "--force", &may_replace, NULL },
	};
	int code;

	(void)cli;
	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, 0) < 0 ||
	    !parse_days(argv[0], days, CA_DAYS, &period))
		return CLI_USAGE;
	if (!directory)
		return cli_usage_error("%s: --out DIR is needed", argv[0]);
	if (certs_authority_new(name, &period, &authority, &err) < 0) {
		cli_error("%s", err.text);
		return err.code == -EINVAL ? CLI_USAGE : cli_exit_of(&err);
	}
	code = make_directory(directory);
	if (code == CLI_DONE)
		code = write_ca(authority, directory, may_replace, &arena);
	arena_done(&arena);
	return code;
}

/* ---- certs issue ---- */

struct issue {
	struct arena arena;
	const char *command, *ca, *ca_key, *directory, *days;
	bool may_replace, is_renewal;
	struct certs_authority *authority;
	struct certs_key *key;
	struct certs_request request;
	const char *cert_file, *key_file;
};

/* The directory that `certs ca` has written, or a certificate. */
static int load_ca(struct issue *i)
{
	const char *cert = i->ca, *key = i->ca_key;
	struct error err = { 0 };
	struct stat st;

	if (stat(i->ca, &st) == 0 && S_ISDIR(st.st_mode)) {
		cert = arena_printf(&i->arena, "%s/" CA_CERT_NAME, i->ca);
		if (!key)
			key = arena_printf(&i->arena, "%s/" CA_KEY_NAME, i->ca);
	}
	return certs_authority_load(cert, key, &i->authority, &err) < 0 ? fail(&err) : CLI_DONE;
}

/* Named after the first name, but for what is awkward in the name of a file. */
static void name_files(struct issue *i)
{
	const char *first = i->request.names[0], *head = "";
	char base[BASE_NAME_MAX + 1];

	if (strncmp(first, FIRST_LABEL_ANY, strlen(FIRST_LABEL_ANY)) == 0) {
		first += strlen(FIRST_LABEL_ANY);
		head = "wildcard.";
	}
	snprintf(base, sizeof(base), "%s%s", head, first);
	for (char *c = base; *c; c++)
		if (*c == ':')
			*c = '-';
	i->cert_file = arena_printf(&i->arena, "%s/%s.crt", i->directory, base);
	i->key_file = arena_printf(&i->arena, "%s/%s.key", i->directory, base);
}

static int take_key(struct issue *i)
{
	struct error err = { 0 };
	int r;

	if (i->is_renewal)
		r = certs_key_load(i->key_file, &i->key, &err);
	else
		r = certs_key_generate(&i->key, &err);
	if (r == -ENOENT && i->is_renewal)
		error_set(&err, r,
			  "%s: there is no such key to renew the certificate for; give its "
			  "directory with --out, or leave --renew out to make a key",
			  i->key_file);
	if (r < 0)
		return fail(&err);
	i->request.public_key = certs_key_public(i->key);
	return CLI_DONE;
}

/* By a name that is lost, the host is not reached any more by those who verify. */
static int check_lost(const struct issue *i, const struct renewal_names *old,
		      const struct renewal_names *given)
{
	CLEANUP(free_strp) char *lost = NULL;
	struct buf text = { 0 };
	unsigned int count = renewal_lost(old, given, &text);

	lost = buf_steal_string(&text);
	if (count == 0)
		return CLI_DONE;
	if (i->may_replace) {
		cli_error("%s: loses %s", i->cert_file, lost);
		return CLI_DONE;
	}
	cli_error("%s: would lose %s; give all names, or the first alone to keep all, or --force",
		  i->cert_file, lost);
	return CLI_NO;
}

static int renew_names(struct issue *i)
{
	struct certs_request *request = &i->request;
	const struct renewal_names given = { request->names, request->name_count };
	struct renewal_names old = { 0 };
	struct error err = { 0 };
	int r = renewal_read(i->cert_file, &i->arena, &old, &err);

	if (r < 0 && r != -ENOENT && !i->may_replace) {
		cli_error("%s; which names to keep is not known, --force takes those given",
			  err.text);
		return cli_exit_of(&err);
	}
	if (r < 0)
		cli_error("%s; it gets the names that are given, and no others", err.text);
	if (request->name_count > 1)
		return check_lost(i, &old, &given);
	old = renewal_keep(given.names[0], &old, &i->arena);
	request->names = old.names;
	request->name_count = old.count;
	return CLI_DONE;
}

/* What outlives its CA would be of no use then. */
static int fit_period(struct issue *i)
{
	const struct certs_certificate *ca = certs_authority_certificate(i->authority);
	struct certs_period *period = &i->request.period;
	char day[TIME_RFC3339_SIZE], name[256];

	certs_name_show(ca->subject, name, sizeof(name));
	if (now_s() > ca->not_after_s) {
		cli_error("the CA (%s) has expired on %s", name, day_of(ca->not_after_s, day));
		return CLI_NO;
	}
	period->not_before_s = MAX(period->not_before_s, ca->not_before_s);
	if (period->not_after_s > ca->not_after_s) {
		cli_error("cut to the lifetime of the CA (%s), which ends on %s", name,
			  day_of(ca->not_after_s, day));
		period->not_after_s = ca->not_after_s;
	}
	return CLI_DONE;
}

static int write_issued(const struct issue *i)
{
	const struct certs_newfile files[] = {
		{ i->key_file, certs_key_pem(i->key), true },
		{ i->cert_file, { 0 }, false },
	};
	/* A renewal leaves the key alone, and with it whatever is pinned to it. */
	unsigned int first = i->is_renewal ? 1 : 0;
	struct certs_newfile written[ARRAY_SIZE(files)];
	struct buf pem = { 0 };
	struct error err = { 0 };
	char day[TIME_RFC3339_SIZE];
	int r = certs_authority_issue(i->authority, &i->request, &pem, &err);

	memcpy(written, files, sizeof(files));
	written[1].text = buf_slice(&pem);
	if (r == 0)
		r = certs_newfile_write(written + first, ARRAY_SIZE(files) - first,
					i->may_replace || i->is_renewal, &err);
	buf_done(&pem);
	if (r < 0)
		return fail(&err);
	printf("%s: ", i->cert_file);
	for (unsigned int n = 0; n < i->request.name_count; n++)
		printf("%s%s", n > 0 ? ", " : "", i->request.names[n]);
	printf("; until %s\n%s: its key%s\n", day_of(i->request.period.not_after_s, day),
	       i->key_file, i->is_renewal ? ", as before" : "");
	return CLI_DONE;
}

static int check_request(const struct issue *i)
{
	struct error err = { 0 };

	if (!i->ca)
		return cli_usage_error("%s: --ca DIR is needed, as `posthouse certs ca` makes it",
				       i->command);
	for (unsigned int n = 0; n < i->request.name_count; n++)
		if (certs_name_check(i->request.names[n], &err) < 0)
			return cli_usage_error("%s: %s", i->command, err.text);
	/* Else --force could replace the key of the CA itself. */
	if (strcmp(i->request.names[0], CA_BASE_NAME) == 0)
		return cli_usage_error("%s: files called " CA_BASE_NAME
				       " are the CA's own; give another name first",
				       i->command);
	return CLI_DONE;
}

static int issue(struct issue *i)
{
	int code = check_request(i);

	if (code == CLI_DONE)
		code = load_ca(i);
	if (code == CLI_DONE)
		code = fit_period(i);
	if (code == CLI_DONE)
		code = i->is_renewal ? CLI_DONE : make_directory(i->directory);
	if (code == CLI_DONE) {
		name_files(i);
		code = take_key(i);
	}
	if (code == CLI_DONE && i->is_renewal)
		code = renew_names(i);
	return code == CLI_DONE ? write_issued(i) : code;
}

int cli_certs_issue(const struct cli *cli, int argc, char **argv)
{
	struct issue i = { .command = argv[0] };
	const struct cli_flag flags[] = {
		{ "--ca", NULL, &i.ca },
		{ "--ca-key", NULL, &i.ca_key },
		{ "--out", NULL, &i.directory },
		{ "--days", NULL, &i.days },
		{ "--renew", &i.is_renewal, NULL },
		{ "--force", &i.may_replace, NULL },
	};
	int count = cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 1, argc), code;

	(void)cli;
	if (count < 0 || !parse_days(argv[0], i.days, LEAF_DAYS, &i.request.period))
		return CLI_USAGE;
	if (!i.directory)
		i.directory = ".";
	i.request.names = (const char *const *)argv + 1;
	i.request.name_count = (unsigned int)count;
	code = issue(&i);
	certs_authority_free(i.authority);
	certs_key_free(i.key);
	arena_done(&i.arena);
	return code;
}
