/*
 * posthouse certs show - certificates of a file or a server, and what is wrong
 *
 * What is asked here is whether others will accept them, so the host's name
 * and the dates count, whatever a route's policy would say: `explain --probe`
 * is for that.
 */
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/macros.h"
#include "base/parse.h"
#include "certs/inspect.h"
#include "certs/pemfile.h"
#include "cli/cli.h"
#include "cli/explain_probe.h"
#include "cli/json.h"
#include "tls/anchors.h"
#include "tls/names.h"

#define PATIENCE_MS  20000
#define PORT_SMTPS   465
#define DAY_CHARS    10
#define SECOND_CHARS 19
#define PROBLEMS_MAX 8
#define LABEL_FORMAT "  %-13s"

struct show {
	const char *ca_file, *key_file, *name;
	bool as_json, is_starttls, is_implicit;
	struct certs_trust *trust; /* NULL: none is given */
	int64_t now_s;
	struct buf out;
	bool is_bad; /* something is wrong that others refuse */
};

/* What is shown at a time. */
struct source {
	const char *name; /* the argument */
	const char *host; /* of a server; "" else */
	const struct probe_result *probe;
	struct certs_certificate chain[TLS_CHAIN_MAX];
	unsigned int count;
	bool has_more; /* than are shown */
	struct arena arena;

	const char *problems[PROBLEMS_MAX]; /* of the chain as a whole */
	unsigned int problem_count;
};

static void __attribute__((format(printf, 2, 3))) note(struct source *s, const char *format, ...)
{
	char text[700];
	va_list args;

	if (s->problem_count == PROBLEMS_MAX)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	s->problems[s->problem_count++] = arena_strdup(&s->arena, text);
}

static const char *day_of(int64_t time_s, char out[TIME_RFC3339_SIZE])
{
	time_rfc3339(time_s * 1000, out);
	out[DAY_CHARS] = '\0';
	return out;
}

/* "2026-11-21T07:12:01Z" */
static const char *second_of(int64_t time_s, char out[TIME_RFC3339_SIZE])
{
	time_rfc3339(time_s * 1000, out);
	strcpy(out + SECOND_CHARS, "Z");
	return out;
}

static int64_t days_left(const struct certs_certificate *c, int64_t now_s)
{
	const struct certs_info info = { .not_after_s = c->not_after_s };

	return certs_info_days_left(&info, now_s);
}

/* ---- what is wrong ---- */

static void check_dates(const struct show *show, struct source *s)
{
	for (unsigned int i = 0; i < s->count; i++) {
		const struct certs_certificate *c = &s->chain[i];
		char day[TIME_RFC3339_SIZE];

		if (show->now_s > c->not_after_s)
			note(s, "certificate %u has expired on %s", i + 1,
			     day_of(c->not_after_s, day));
		else if (show->now_s < c->not_before_s)
			note(s, "certificate %u is not valid before %s", i + 1,
			     day_of(c->not_before_s, day));
	}
}

/* A file of CAs is a list, no chain. */
static void check_chain(const struct show *show, struct source *s)
{
	struct tls_anchors anchors;
	char text[512];

	if (s->count == 0 || (s->chain[0].is_ca && !show->trust))
		return;
	if (!certs_chain_check(s->chain, s->count, show->trust, text, sizeof(text))) {
		note(s, "%s", text);
		return;
	}
	if (!show->trust || tls_anchors_init(&anchors, show->trust, NULL) < 0)
		return;
	if (!tls_anchors_reach(&anchors, s->chain, s->count, show->now_s, text, sizeof(text)))
		note(s, "%s", text);
	tls_anchors_done(&anchors);
}

static void check_name(const struct show *show, struct source *s)
{
	static const struct tls_policy policy = { .level = TLS_LEVEL_VERIFY };
	const char *host = show->name ? show->name : s->host;
	struct tls_names names = { 0 };
	char text[512];

	if (!host[0] || s->count == 0)
		return;
	tls_names_init(&names, &policy, host, NULL);
	if (!tls_names_accept(&names, &s->chain[0], text, sizeof(text))) {
		tls_names_mismatch(&names, &s->chain[0], text, sizeof(text));
		note(s, "%s", text);
	}
	tls_names_done(&names);
}

static void check_key(const struct show *show, struct source *s)
{
	CLEANUP(certs_identity_freep) struct certs_identity *identity = NULL;
	struct error err = { 0 };

	if (show->key_file && !s->probe &&
	    certs_identity_load(s->name, show->key_file, &identity, &err) < 0)
		note(s, "%s", err.text);
}

static void check(struct show *show, struct source *s)
{
	if (s->probe && !s->probe->encrypted)
		note(s, "%s", s->probe->error);
	check_dates(show, s);
	check_chain(show, s);
	check_name(show, s);
	check_key(show, s);
	show->is_bad |= s->problem_count > 0;
}

/* ---- for people ---- */

static void add_name(void *arg, const char *name)
{
	buf_printf(arg, " %s", name);
}

static void label(struct buf *out, const char *text)
{
	buf_printf(out, LABEL_FORMAT, text);
}

static void put_dates(const struct show *show, const struct certs_certificate *c, struct buf *out)
{
	char from[TIME_RFC3339_SIZE], until[TIME_RFC3339_SIZE];
	int64_t left = days_left(c, show->now_s);

	label(out, "valid:");
	buf_printf(out, "%s to %s, ", second_of(c->not_before_s, from),
		   second_of(c->not_after_s, until));
	if (left < 0)
		buf_append_string(out, "EXPIRED\n");
	else
		buf_printf(out, "%" PRId64 " day%s left%s\n", left, left == 1 ? "" : "s",
			   left < CONFIG_EXPIRES_SOON_DAYS ? ": renew it" : "");
}

static void put_certificate(const struct show *show, const struct source *s, unsigned int i,
			    struct buf *out)
{
	const struct certs_certificate *c = &s->chain[i];
	char text[256], hex[65];

	buf_printf(out, "certificate %u of %u%s\n", i + 1, s->count, c->is_ca ? ", of a CA" : "");
	label(out, "subject:");
	buf_printf(out, "%s\n", certs_name_show(c->subject, text, sizeof(text)));
	label(out, "issuer:");
	buf_printf(out, "%s%s\n", certs_name_show(c->issuer, text, sizeof(text)),
		   slice_equal(c->issuer, c->subject) ? " (itself)" : "");
	if (!c->is_ca) {
		buf_append_string(out, "  names:      ");
		explain_each_name(c, add_name, out);
		buf_append_string(out, "\n");
	}
	put_dates(show, c, out);
	label(out, "key:");
	buf_printf(out, "%s\n", certs_key_type(c->public_key, text, sizeof(text)));
	certs_fingerprint(c->der, hex);
	label(out, "fingerprint:");
	buf_printf(out, "sha256:%s\n", hex);
	certs_fingerprint(c->public_key, hex);
	label(out, "of the key:");
	buf_printf(out, "pubkey-sha256:%s\n", hex);
}

static void put_text(const struct show *show, const struct source *s, struct buf *out)
{
	cli_format_text(out, s->name);
	if (s->probe && s->probe->encrypted)
		buf_printf(out, ": %s, %s with %s", s->probe->peer, s->probe->tls.protocol,
			   s->probe->tls.cipher);
	buf_append_string(out, "\n");
	for (unsigned int i = 0; i < s->count; i++)
		put_certificate(show, s, i, out);
	if (s->has_more)
		buf_append_string(out, "there are more, which are not shown\n");
	for (unsigned int i = 0; i < s->problem_count; i++) {
		buf_append_string(out, "problem: ");
		cli_format_text(out, s->problems[i]);
		buf_append_string(out, "\n");
	}
}

/* ---- for programs ---- */

static void add_json_name(void *arg, const char *name)
{
	json_array_append_new(arg, cli_json_text(name));
}

static json_t *certificate_object(const struct show *show, const struct certs_certificate *c)
{
	json_t *object = json_object(), *names = json_array();
	char text[256], hex[65], fingerprint[80];

	explain_each_name(c, add_json_name, names);
	json_object_set_new(object, "subject",
			    cli_json_text(certs_name_show(c->subject, text, sizeof(text))));
	json_object_set_new(object, "issuer",
			    cli_json_text(certs_name_show(c->issuer, text, sizeof(text))));
	json_object_set_new(object, "names", names);
	json_object_set_new(object, "is_ca", json_boolean(c->is_ca));
	json_object_set_new(object, "not_before", cli_json_time(c->not_before_s * 1000));
	json_object_set_new(object, "not_after", cli_json_time(c->not_after_s * 1000));
	json_object_set_new(object, "days_left", json_integer(days_left(c, show->now_s)));
	json_object_set_new(object, "key",
			    json_string(certs_key_type(c->public_key, text, sizeof(text))));
	certs_fingerprint(c->der, hex);
	snprintf(fingerprint, sizeof(fingerprint), "sha256:%s", hex);
	json_object_set_new(object, "fingerprint", json_string(fingerprint));
	certs_fingerprint(c->public_key, hex);
	snprintf(fingerprint, sizeof(fingerprint), "pubkey-sha256:%s", hex);
	json_object_set_new(object, "pubkey_fingerprint", json_string(fingerprint));
	return object;
}

static void put_json(const struct show *show, const struct source *s, struct buf *out)
{
	bool is_live = s->probe && s->probe->encrypted;
	json_t *object = json_object(), *chain = json_array(), *problems = json_array();

	for (unsigned int i = 0; i < s->count; i++)
		json_array_append_new(chain, certificate_object(show, &s->chain[i]));
	for (unsigned int i = 0; i < s->problem_count; i++)
		json_array_append_new(problems, cli_json_text(s->problems[i]));
	json_object_set_new(object, "source", cli_json_text(s->name));
	json_object_set_new(object, "peer", is_live ? json_string(s->probe->peer) : json_null());
	json_object_set_new(object, "protocol",
			    is_live ? json_string(s->probe->tls.protocol) : json_null());
	json_object_set_new(object, "cipher",
			    is_live ? json_string(s->probe->tls.cipher) : json_null());
	json_object_set_new(object, "ok", json_boolean(s->problem_count == 0));
	json_object_set_new(object, "certificates", chain);
	json_object_set_new(object, "problems", problems);
	cli_json_print(out, object);
	json_decref(object);
}

/* ---- where they are from ---- */

static int take(void *arg, const struct pem_block *block,
		const struct certs_certificate *certificate, struct error *err)
{
	struct slice der = certificate->der;
	struct source *s = arg;

	(void)block;
	if (s->count == ARRAY_SIZE(s->chain)) {
		s->has_more = true;
		return 0;
	}
	return certs_certificate_parse(slice_of(arena_slicedup(&s->arena, der), der.len),
				       &s->chain[s->count++], err);
}

static void finish(struct show *show, struct source *s)
{
	check(show, s);
	if (show->as_json)
		put_json(show, s, &show->out);
	else
		put_text(show, s, &show->out);
	cli_print(&show->out);
	arena_done(&s->arena);
}

static int show_file(struct show *show, const char *path)
{
	struct source s = { .name = path, .host = "" };
	struct error err = { 0 };

	if (pemfile_certificates(path, take, &s, &err) < 0) {
		arena_done(&s.arena);
		return cli_fail(&err);
	}
	finish(show, &s);
	return CLI_DONE;
}

/* "HOST:PORT", "[::1]:PORT": 0 where it is not that. */
static unsigned int split_host(struct arena *arena, const char *text, const char **ret_host)
{
	const char *colon = strrchr(text, ':');
	struct slice host;
	uint64_t port;

	if (!colon || !parse_uint(slice_from(colon + 1), UINT16_MAX, &port))
		return 0;
	host = slice_of(text, (size_t)(colon - text));
	if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
		host = slice_of(host.ptr + 1, host.len - 2);
	else if (slice_find(host, ':') < host.len)
		return 0;
	*ret_host = arena_slicedup(arena, host);
	return host.len > 0 ? (unsigned int)port : 0;
}

static int probe_host(const struct show *show, const char *host, unsigned int port,
		      const char *hello, struct probe_result *result, struct error *err)
{
	const struct transport_options transport = { .tls.level = TLS_LEVEL_ENCRYPT };
	const struct tls_context_options tls = { .trust = NULL };
	struct mta_options options = { .hello = hello };
	bool is_implicit = show->is_implicit || (port == PORT_SMTPS && !show->is_starttls);
	const struct transport_route *route = NULL;
	struct buf value = { 0 };
	int r;

	buf_printf(&value, "%s:[%s]:%u", is_implicit ? "relay-smtps" : "relay", host, port);
	if (show->name && !tls_host_is_address(show->name))
		buf_printf(&value, " servername=%s", show->name);
	buf_append(&value, "", 1);
	r = transport_parse(&transport, buf_slice(&value).ptr, "certs show", &route, err);
	buf_done(&value);
	if (r == 0)
		r = tls_context_new_client(&tls, &options.client_tls, err);
	if (r == 0)
		r = probe_next_hop(&options, route, 0, false, PATIENCE_MS, result, err);
	tls_context_unref(options.client_tls);
	transport_route_unref(route);
	return r;
}

static int show_host(struct show *show, const char *text, const char *host, unsigned int port)
{
	struct source s = { .name = text, .host = host };
	struct probe_result result = { .ok = false };
	char hello[256] = "localhost";
	struct error err = { 0 };
	int r;

	gethostname(hello, sizeof(hello) - 1);
	r = probe_host(show, host, port, hello, &result, &err);
	if (r == 0) {
		s.probe = &result;
		for (unsigned int i = 0; i < result.chain.count; i++)
			if (certs_certificate_parse(result.chain.certificates[i], &s.chain[s.count],
						    NULL) == 0)
				s.count++;
		finish(show, &s);
	}
	probe_result_done(&result);
	return r < 0 ? cli_fail(&err) : CLI_DONE;
}

static int show_one(struct show *show, const char *what)
{
	struct arena arena = { 0 };
	const char *host = NULL;
	struct stat st;
	bool is_file = stat(what, &st) == 0 || !strchr(what, ':') || strchr(what, '/');
	unsigned int port = is_file ? 0 : split_host(&arena, what, &host);
	int code;

	if (is_file)
		code = show_file(show, what);
	else if (port)
		code = show_host(show, what, host, port);
	else
		code = cli_usage_error("certs show: %s: there is no such file, and it is not "
				       "HOST:PORT or [IPv6 ADDRESS]:PORT with a port from 1 to "
				       "65535",
				       what);
	arena_done(&arena);
	return code;
}

/* It becomes a word of a route: with a space in it, it would be several. */
static bool is_name(const char *name)
{
	struct slice s = slice_from(name);

	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == ',')
			return false;
	return s.len > 0;
}

int cli_certs_show(const struct cli *cli, int argc, char **argv)
{
	struct show show = { .now_s = clock_wall_ms(&clock_system) / 1000 };
	const struct cli_flag flags[] = {
		{ "--json", &show.as_json, NULL },
		{ "--ca", NULL, &show.ca_file },
		{ "--key", NULL, &show.key_file },
		{ "--name", NULL, &show.name },
		{ "--starttls", &show.is_starttls, NULL },
		{ "--implicit", &show.is_implicit, NULL },
	};
	int count = cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 1, INT_MAX);
	struct error err = { 0 };
	int code = CLI_DONE;

	(void)cli;
	if (count < 0)
		return CLI_USAGE;
	if (show.is_starttls && show.is_implicit)
		return cli_usage_error("%s: --starttls or --implicit, not both", argv[0]);
	if (show.name && !is_name(show.name))
		return cli_usage_error("%s: --name %s: expected a DNS name or an IP address",
				       argv[0], show.name);
	if (show.ca_file && certs_trust_load(show.ca_file, &show.trust, &err) < 0)
		return cli_fail(&err);
	for (int i = 1; code == CLI_DONE && i <= count; i++)
		code = show_one(&show, argv[i]);
	certs_trust_free(show.trust);
	buf_done(&show.out);
	if (code == CLI_DONE && show.is_bad)
		code = CLI_NO;
	return code;
}
