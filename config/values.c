/*
 * One function for each type. They say what was expected; the value itself is
 * put in front by the caller, except for lists, where they name the element.
 */
#include "config/state.h"

#include <errno.h>
#include <stdio.h>

#include "base/nearest.h"
#include "base/parse.h"
#include "edge/maildir.h"
#include "smtp/address.h"

#define LIST_SEPARATORS ", \t\r\n"

#define WORDS_MAX 16

struct value {
	struct config *config;
	const struct config_parameter *parameter;
	struct slice text;
	const char *normal; /* result; the text itself unless changed */
};

/* Split at spaces into terminated copies. */
static size_t split_words(struct arena *arena, const char *words, const char *ret[WORDS_MAX])
{
	struct slice rest = slice_from(words), word;
	size_t count = 0;

	while (count < WORDS_MAX && slice_next_word(&rest, " ", &word))
		ret[count++] = arena_slicedup(arena, word);
	return count;
}

/* "expected a, b or c; did you mean b?" */
static int expect_words(const char *got, const char *const *words, size_t count, struct error *err)
{
	const char *near = nearest_name(got, words, count);
	struct buf expected = { 0 };

	for (size_t i = 0; i < count; i++)
		buf_printf(&expected, "%s%s",
			   i == 0	   ? ""
			   : i + 1 < count ? ", "
					   : " or ",
			   words[i]);
	error_set(err, -EINVAL, "expected %.*s%s%s%s", (int)buf_len(&expected),
		  buf_slice(&expected).ptr, near ? "; did you mean " : "", near ? near : "",
		  near ? "?" : "");
	buf_done(&expected);
	return -EINVAL;
}

static int check_word(struct value *v, struct error *err)
{
	struct arena *arena = &v->config->arena;
	const char *words[WORDS_MAX], *later[WORDS_MAX];
	size_t count = split_words(arena, v->parameter->words, words);
	size_t later_count = split_words(arena, v->parameter->later_words, later);

	for (size_t i = 0; i < count; i++)
		if (slice_equal(v->text, slice_from(words[i])))
			return 0;
	for (size_t i = 0; i < later_count; i++)
		if (slice_equal(v->text, slice_from(later[i])))
			return error_set(err, -EINVAL, "not available in this version");
	return expect_words(v->normal, words, count, err);
}

static int check_words(struct value *v, struct error *err)
{
	struct arena *arena = &v->config->arena;
	const char *words[WORDS_MAX];
	size_t count = split_words(arena, v->parameter->words, words), i;
	struct slice rest = v->text, word;

	while (slice_next_word(&rest, LIST_SEPARATORS, &word)) {
		for (i = 0; i < count && !slice_equal_nocase(word, slice_from(words[i])); i++)
			;
		if (i == count) {
			expect_words(arena_slicedup(arena, word), words, count, err);
			error_prefix(err, "%.*s", (int)word.len, word.ptr);
			return -EINVAL;
		}
	}
	return 0;
}

static int check_bool(struct value *v, struct error *err)
{
	bool yes;

	if (!parse_bool(v->text, &yes))
		return error_set(err, -EINVAL, "expected yes or no");
	v->normal = yes ? "yes" : "no";
	return 0;
}

static int check_number(struct value *v, struct error *err)
{
	const struct config_parameter *p = v->parameter;
	uint64_t number;

	if (!parse_uint(v->text, INT64_MAX, &number) || (int64_t)number < p->min ||
	    (int64_t)number > p->max)
		return error_set(err, -EINVAL, "expected a number from %lld to %lld",
				 (long long)p->min, (long long)p->max);
	return 0;
}

static int check_size(struct value *v, struct error *err)
{
	const struct config_parameter *p = v->parameter;
	uint64_t bytes;

	if (!parse_size(v->text, &bytes))
		return error_set(err, -EINVAL, "expected a size as 52428800, 50M or 1G");
	if (bytes < (uint64_t)p->min || bytes > (uint64_t)p->max)
		return error_set(err, -EINVAL, "expected a size from %lld to %lld bytes",
				 (long long)p->min, (long long)p->max);
	return 0;
}

static const char *duration_text(int64_t seconds, char out[32])
{
	if (seconds > 0 && seconds % 86400 == 0)
		snprintf(out, 32, "%lldd", (long long)(seconds / 86400));
	else
		snprintf(out, 32, "%llds", (long long)seconds);
	return out;
}

static int check_duration(struct value *v, struct error *err)
{
	const struct config_parameter *p = v->parameter;
	char min[32], max[32];
	int64_t seconds;

	if (!parse_duration_s(v->text, &seconds))
		return error_set(err, -EINVAL, "expected a duration as 30s, 5m, 4h or 5d");
	if (seconds < p->min || seconds > p->max)
		return error_set(err, -EINVAL, "expected a duration from %s to %s",
				 duration_text(p->min, min), duration_text(p->max, max));
	return 0;
}

/* Letters, digits, hyphens, and underscores, which some sites have (RFC 1123 section 2.1). */
static bool is_host_label(struct slice label)
{
	if (label.len == 0 || label.len > 63 || label.ptr[0] == '-' ||
	    label.ptr[label.len - 1] == '-')
		return false;
	for (size_t i = 0; i < label.len; i++) {
		char c = label.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_'))
			return false;
	}
	return true;
}

static int check_hostname(struct value *v, struct error *err)
{
	struct slice rest = v->text;
	size_t end;

	if (rest.len > 255)
		return error_set(err, -EINVAL, "expected a name of at most 255 characters");
	do {
		end = slice_find(rest, '.');
		if (!is_host_label(slice_first(rest, end)))
			return error_set(err, -EINVAL, "expected a domain name, as mta1.vm1.vm");
		if (end == rest.len)
			return 0;
		rest = slice_skip(rest, end + 1);
	} while (true);
}

static int check_realm(struct value *v, struct error *err)
{
	return v->text.len == 0 ? 0 : check_hostname(v, err);
}

static int check_user(struct value *v, struct error *err)
{
	if (strpbrk(v->normal, " \t:/,"))
		return error_set(err, -EINVAL, "expected the name of one account");
	return 0;
}

const char *config_path(struct config *c, struct slice path)
{
	if (path.len > 0 && path.ptr[0] == '/')
		return arena_slicedup(&c->arena, path);
	return arena_printf(&c->arena, "%s/%.*s", c->directory, (int)path.len, path.ptr);
}

static int check_directory(struct value *v, struct error *err)
{
	if (v->text.len == 0)
		return error_set(err, -EINVAL, "expected a directory");
	v->normal = config_path(v->config, v->text);
	return 0;
}

static int check_file(struct value *v, struct error *err)
{
	(void)err;
	if (v->text.len > 0)
		v->normal = config_path(v->config, v->text);
	return 0;
}

static int check_files(struct value *v, struct error *err)
{
	struct slice rest = v->text, word;
	struct buf out = { 0 };

	(void)err;
	while (slice_next_word(&rest, LIST_SEPARATORS, &word))
		buf_printf(&out, "%s%s", buf_len(&out) ? ", " : "", config_path(v->config, word));
	v->normal = arena_slicedup(&v->config->arena, buf_slice(&out));
	buf_done(&out);
	return 0;
}

static int check_any(struct value *v, struct error *err)
{
	(void)v;
	(void)err;
	return 0;
}

static int check_networks(struct value *v, struct error *err)
{
	struct slice rest = v->text, word;
	struct net_prefix prefix;

	int r;

	while ((r = map_list_next(&rest, &word, err)) > 0) {
		if (map_is_spec(word))
			continue; /* opened later */
		r = net_prefix_parse(word, &prefix, err);
		if (r < 0)
			return r;
	}
	return r;
}

/* Servers without a port are asked at the usual one. */
static int check_addresses(struct value *v, struct error *err)
{
	struct slice rest = v->text, word;
	struct buf out = { 0 };
	int r = 0;

	while (r == 0 && slice_next_word(&rest, LIST_SEPARATORS, &word)) {
		struct net_address address;
		char text[NET_ADDRESS_TEXT_SIZE];

		if (net_address_parse(word, &address) || net_address_parse_ip(word, 53, &address))
			buf_printf(&out, "%s%s", buf_len(&out) ? ", " : "",
				   net_address_text(&address, text));
		else
			r = error_set(err, -EINVAL,
				      "%.*s: expected ADDRESS:PORT, as 192.0.2.1:53 or "
				      "[2001:db8::1]:53",
				      (int)word.len, word.ptr);
	}
	v->normal = arena_slicedup(&v->config->arena, buf_slice(&out));
	buf_done(&out);
	return r;
}

static int check_listen(struct value *v, struct error *err)
{
	const struct config_listener *listeners;
	unsigned int count;

	return config_listen_parse(v->text, &v->config->arena, &listeners, &count, err);
}

static int check_level(struct value *v, struct error *err)
{
	enum tls_level level;

	return tls_level_parse(v->text, &level, err);
}

static int check_protocols(struct value *v, struct error *err)
{
	enum tls_version version;

	return tls_protocols_parse(v->text, &version, err);
}

static int check_mechanisms(struct value *v, struct error *err)
{
	return sasl_filter_check(v->normal, err);
}

/* "PREFIX:PATH", with the path made absolute; false when it is something else. */
static bool take_prefixed_path(struct value *v, struct slice prefix)
{
	struct slice path = slice_skip(v->text, prefix.len);

	if (!slice_starts_nocase(v->text, prefix) || path.len == 0)
		return false;
	v->normal = arena_printf(&v->config->arena, "%.*s%s", (int)prefix.len, prefix.ptr,
				 config_path(v->config, path));
	return true;
}

/* "PREFIX:SOCKET": where a relative path of Postfix's smtpd_sasl_path leads, too. */
static bool take_prefixed_socket(struct value *v, struct slice prefix)
{
	struct slice path = slice_skip(v->text, prefix.len);
	const char *directory;

	if (!slice_starts_nocase(v->text, prefix) || path.len == 0)
		return false;
	config_evaluate(v->config, CONFIG_QUEUE_DIRECTORY);
	directory = config_value(v->config, CONFIG_QUEUE_DIRECTORY);
	if (path.ptr[0] != '/' && directory)
		v->normal = arena_printf(&v->config->arena, "%.*s%s/%.*s", (int)prefix.len,
					 prefix.ptr, directory, (int)path.len, path.ptr);
	return true;
}

static int check_passdb(struct value *v, struct error *err)
{
	if (take_prefixed_path(v, SLICE("passwd-file:")) ||
	    take_prefixed_path(v, SLICE("sqlite:")) || take_prefixed_socket(v, SLICE("dovecot:")))
		return 0;
	return error_set(err, -EINVAL,
			 "expected passwd-file:FILE, sqlite:FILE.cf or dovecot:SOCKET");
}

static int check_log(struct value *v, struct error *err)
{
	if (slice_equal(v->text, SLICE("stderr")) || slice_equal(v->text, SLICE("syslog")) ||
	    take_prefixed_path(v, SLICE("file:")))
		return 0;
	return error_set(err, -EINVAL, "expected stderr, syslog or file:PATH");
}

/* The domain is completed as in RCPT, so that what is shown is what is used. */
static int check_mailbox(struct value *v, struct error *err)
{
	struct slice rest = v->text;
	const char *origin, *address;

	if (v->text.len == 0)
		return 0;
	config_evaluate(v->config, CONFIG_MYORIGIN);
	origin = config_value(v->config, CONFIG_MYORIGIN);
	if (smtp_path_parse(&rest, origin, &v->config->arena, &address) != SMTP_PATH_OK ||
	    rest.len > 0 || !*address)
		return error_set(err, -EINVAL, "expected one address, as postmaster@vm1.vm");
	v->normal = address;
	return 0;
}

/* Of probes; what is shown for the null reverse-path is "<>", as in Postfix. */
static int check_sender(struct value *v, struct error *err)
{
	if (v->text.len == 0 || slice_equal(v->text, SLICE("<>"))) {
		v->normal = "<>";
		return 0;
	}
	if (check_mailbox(v, err) < 0)
		return error_set(err, -EINVAL, "expected one address, or <>");
	return 0;
}

/* Whatever names of mailboxes do not as a rule consist of. */
static int check_delimiter(struct value *v, struct error *err)
{
	for (size_t i = 0; i < v->text.len; i++)
		if (v->text.ptr[i] == '\0' || !strchr("!#$%&'*+-./=?^_`{|}~", v->text.ptr[i]))
			return error_set(
				err, -EINVAL,
				"expected characters that no name of a mailbox has, as + or -");
	return 0;
}

static int check_home(struct value *v, struct error *err)
{
	if (v->text.len == 0)
		return 0;
	if (v->text.ptr[v->text.len - 1] != '/')
		return error_set(err, -EINVAL,
				 "expected a Maildir, with a trailing /; others are not available "
				 "in this version");
	if (!maildir_path_is_safe(v->normal))
		return error_set(err, -EINVAL,
				 "expected a path below the home directory, without ..");
	return 0;
}

int config_value_check(struct config *c, const struct config_parameter *p, const char *value,
		       const char **ret_value, struct error *err)
{
	static int (*const checks[])(struct value * v, struct error * err) = {
		[CONFIG_TYPE_WORD] = check_word,
		[CONFIG_TYPE_WORDS] = check_words,
		[CONFIG_TYPE_BOOL] = check_bool,
		[CONFIG_TYPE_NUMBER] = check_number,
		[CONFIG_TYPE_SIZE] = check_size,
		[CONFIG_TYPE_DURATION] = check_duration,
		[CONFIG_TYPE_HOSTNAME] = check_hostname,
		[CONFIG_TYPE_USER] = check_user,
		[CONFIG_TYPE_DIRECTORY] = check_directory,
		[CONFIG_TYPE_FILE] = check_file,
		[CONFIG_TYPE_FILES] = check_files,
		[CONFIG_TYPE_MAPS] = check_any,
		[CONFIG_TYPE_DOMAINS] = check_any,
		[CONFIG_TYPE_CLIENTS] = check_any,
		[CONFIG_TYPE_NETWORKS] = check_networks,
		[CONFIG_TYPE_ADDRESSES] = check_addresses,
		[CONFIG_TYPE_LISTEN] = check_listen,
		[CONFIG_TYPE_TRANSPORT] = check_any,
		[CONFIG_TYPE_LEVEL] = check_level,
		[CONFIG_TYPE_PROTOCOLS] = check_protocols,
		[CONFIG_TYPE_REALM] = check_realm,
		[CONFIG_TYPE_SASL] = check_mechanisms,
		[CONFIG_TYPE_PASSDB] = check_passdb,
		[CONFIG_TYPE_LOG] = check_log,
		[CONFIG_TYPE_MAILBOX] = check_mailbox,
		[CONFIG_TYPE_HOME] = check_home,
		[CONFIG_TYPE_SENDER] = check_sender,
		[CONFIG_TYPE_DELIMITER] = check_delimiter,
	};
	struct value v = { c, p, slice_from(value), value };
	int r = checks[p->type](&v, err);

	if (r == 0)
		*ret_value = v.normal;
	return r;
}
