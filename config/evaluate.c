/*
 * From what the file says to the effective value: the given text or the
 * default, with $name and ${name} expanded, checked against its type and
 * normalized. Values are worked out when first needed, since they refer to
 * each other in any order; frames tell who asked, to name the members of a
 * loop, and the line that a default's fault comes from.
 */
#include "config/state.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/parse.h"

#define VALUE_SIZE_MAX	  (1u << 20) /* values that double each other would fill any memory */
#define MINFREE_UNLIMITED 52428800   /* as if messages had their usual limit */

struct frame {
	enum config_parameter_id id;
	const struct frame *outer;
};

static const char *resolve(struct config *c, enum config_parameter_id id,
			   const struct frame *frame);

/* As in Postfix: a system name without a dot is completed. */
static const char *default_hostname(struct config *c)
{
	char name[HOST_NAME_MAX + 1] = "";

	if (gethostname(name, sizeof(name) - 1) < 0 || name[0] == '\0')
		return "localhost.localdomain";
	if (strchr(name, '.'))
		return arena_strdup(&c->arena, name);
	return arena_printf(&c->arena, "%s.%s", name,
			    config_is_given(c, CONFIG_MYDOMAIN) ? "$mydomain" : "localdomain");
}

static const char *default_domain(struct config *c, const struct frame *frame)
{
	const char *hostname = resolve(c, CONFIG_MYHOSTNAME, frame), *dot;

	if (!hostname)
		return NULL;
	dot = strchr(hostname, '.');
	return dot ? dot + 1 : "localdomain";
}

static const char *default_workers(struct config *c)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	return arena_printf(&c->arena, "%ld", cores < 1 ? 1 : cores);
}

/* So that a message fits beside what is being received; as Postfix has it, whatever its minfree. */
static const char *default_minfree(struct config *c, const struct frame *frame)
{
	const char *limit = resolve(c, CONFIG_MESSAGE_SIZE_LIMIT, frame);
	uint64_t bytes = 0;

	if (limit)
		parse_size(slice_from(limit), &bytes);
	if (bytes == 0 || bytes > INT64_MAX / 2)
		bytes = MINFREE_UNLIMITED;
	return arena_printf(&c->arena, "%llu", (unsigned long long)(bytes / 2 * 3));
}

/* NULL: there is none, or what it is made from is faulty. */
static const char *default_text(struct config *c, enum config_parameter_id id,
				const struct frame *frame)
{
	const struct config_parameter *p = &config_schema[id];

	switch (id) {
	case CONFIG_MYHOSTNAME:
		return default_hostname(c);
	case CONFIG_MYDOMAIN:
		return default_domain(c, frame);
	case CONFIG_USER:
		return geteuid() == 0 ? "posthouse" : "";
	case CONFIG_SMTP_TLS_KEY_FILE:
		/* A certificate of its own does not go with the server's key. */
		return config_is_given(c, CONFIG_SMTP_TLS_CERT_FILE) ? "$smtp_tls_cert_file"
								     : "$smtpd_tls_key_file";
	case CONFIG_QUEUE_MINFREE:
		return default_minfree(c, frame);
	case CONFIG_WORKERS:
		return default_workers(c);
	default:
		break;
	}
	if (c->mode != 0)
		return c->mode == CONFIG_EDGE ? p->edge_default : p->hub_default;
	/* Without a mode we still know what both have in common. */
	return p->hub_default && p->edge_default && strcmp(p->hub_default, p->edge_default) == 0
		       ? p->hub_default
		       : NULL;
}

/* A fault that shows in a default is the fault of whoever led there. */
static enum config_parameter_id culprit(const struct config *c, const struct frame *frame)
{
	while (!config_is_given(c, frame->id) && frame->outer)
		frame = frame->outer;
	return frame->id;
}

static void print_chain(struct buf *out, const struct frame *frame, enum config_parameter_id first)
{
	if (frame->id != first)
		print_chain(out, frame->outer, first);
	buf_printf(out, "$%s -> ", config_schema[frame->id].name);
}

static void report_loop(struct config *c, enum config_parameter_id id, const struct frame *frame)
{
	struct buf chain = { 0 };

	print_chain(&chain, frame, id);
	config_report_setting(c, culprit(c, frame), CONFIG_ERROR, "expands to itself: %.*s$%s",
			      (int)buf_len(&chain), buf_slice(&chain).ptr, config_schema[id].name);
	buf_done(&chain);
}

/* Append the value of name; false, and a problem is reported somewhere, if it has none. */
static bool expand_name(struct config *c, struct slice name, const struct frame *frame,
			struct buf *out)
{
	const struct config_parameter *p = config_schema_find(name);
	const char *near = p ? NULL : config_schema_nearest(name), *value;

	if (!p) {
		config_report_setting(c, culprit(c, frame), CONFIG_ERROR,
				      "$%.*s: unknown parameter%s%s%s", (int)name.len, name.ptr,
				      near ? "; did you mean $" : "", near ? near : "",
				      near ? "?" : "");
		return false;
	}
	value = resolve(c, (enum config_parameter_id)(p - config_schema), frame);
	if (!value)
		return false;
	if (buf_len(out) + strlen(value) > VALUE_SIZE_MAX) {
		config_report_setting(c, culprit(c, frame), CONFIG_ERROR,
				      "is too long when expanded");
		return false;
	}
	buf_append_string(out, value);
	return true;
}

/* The name behind a '$' at the front of *text, which is advanced. Empty: there is none. */
static struct slice take_name(struct slice *text)
{
	char close = '\0';
	struct slice name;
	size_t len;

	*text = slice_skip(*text, 1);
	if (text->len > 0 && (text->ptr[0] == '{' || text->ptr[0] == '(')) {
		close = text->ptr[0] == '{' ? '}' : ')';
		len = slice_find(slice_skip(*text, 1), close);
		name = slice_first(slice_skip(*text, 1), len);
		if (len + 1 >= text->len)
			return SLICE(""); /* never closed */
		*text = slice_skip(*text, len + 2);
		return slice_trim(name);
	}
	for (len = 0; len < text->len; len++) {
		char b = text->ptr[len];

		if (!((b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
		      b == '_'))
			break;
	}
	name = slice_first(*text, len);
	*text = slice_skip(*text, len);
	return name;
}

static bool expand_text(struct config *c, struct slice text, const struct frame *frame,
			struct buf *out)
{
	while (text.len > 0) {
		size_t dollar = slice_find(text, '$');
		struct slice name;

		buf_append_slice(out, slice_first(text, dollar));
		text = slice_skip(text, dollar);
		if (text.len >= 2 && text.ptr[1] == '$') {
			buf_append_string(out, "$");
			text = slice_skip(text, 2);
			continue;
		}
		if (text.len == 0)
			break;
		name = take_name(&text);
		if (name.len == 0) {
			config_report_setting(
				c, culprit(c, frame), CONFIG_ERROR,
				"expected $NAME or ${NAME}; a dollar sign is written as $$");
			return false;
		}
		if (!expand_name(c, name, frame, out))
			return false;
	}
	return true;
}

static bool quotes_itself(enum config_type type)
{
	switch (type) {
	case CONFIG_TYPE_WORDS:
	case CONFIG_TYPE_NETWORKS:
	case CONFIG_TYPE_ADDRESSES:
	case CONFIG_TYPE_LISTEN:
	case CONFIG_TYPE_PROTOCOLS:
		return true;
	default:
		return false;
	}
}

static void report_value(struct config *c, const struct frame *frame, const char *value,
			 const struct error *err)
{
	enum config_parameter_id id = frame->id;

	if (quotes_itself(config_schema[id].type))
		config_report_setting(c, id, CONFIG_ERROR, "%s", err->text);
	else if (value[0] == '\0')
		config_report_setting(c, id, CONFIG_ERROR, "is empty; %s", err->text);
	else
		config_report_setting(c, id, CONFIG_ERROR, "%s: %s", value, err->text);
}

static bool has_meaning(const struct config *c, const struct config_parameter *p)
{
	return c->mode == 0 || (p->modes & c->mode);
}

static void evaluate(struct config *c, enum config_parameter_id id, const struct frame *outer)
{
	struct config_setting *setting = &c->settings[id];
	const struct frame frame = { id, outer };
	struct error err = { 0 };
	struct buf out = { 0 };
	bool is_ready = false;
	const char *text;

	if (!has_meaning(c, &config_schema[id])) {
		setting->state = SETTING_ABSENT;
		return;
	}
	setting->state = SETTING_EXPANDING;
	text = setting->raw ? setting->raw : default_text(c, id, &frame);
	if (text && expand_text(c, slice_from(text), &frame, &out)) {
		const char *value = arena_slicedup(&c->arena, buf_slice(&out));

		is_ready = config_value_check(c, &config_schema[id], value, &setting->value,
					      &err) == 0;
		if (!is_ready)
			report_value(c, &frame, value, &err);
	}
	setting->state = is_ready ? SETTING_READY : SETTING_FAULTY;
	buf_done(&out);
}

/* The value of a setting; NULL when it has none, and then a problem was reported. */
static const char *resolve(struct config *c, enum config_parameter_id id, const struct frame *frame)
{
	struct config_setting *setting = &c->settings[id];

	if (setting->state == SETTING_UNREAD)
		evaluate(c, id, frame);
	else if (setting->state == SETTING_EXPANDING)
		report_loop(c, id, frame);
	if (setting->state == SETTING_ABSENT)
		config_report_setting(c, culprit(c, frame), CONFIG_ERROR,
				      "$%s has no value in this mode and version",
				      config_schema[id].name);
	return setting->state == SETTING_READY ? setting->value : NULL;
}

void config_evaluate(struct config *c, enum config_parameter_id id)
{
	if (c->settings[id].state == SETTING_UNREAD)
		evaluate(c, id, NULL);
}

const char *config_value(const struct config *config, enum config_parameter_id id)
{
	return config->settings[id].state == SETTING_READY ? config->settings[id].value : NULL;
}

const char *config_source(const struct config *config, enum config_parameter_id id)
{
	return config->settings[id].source ? config->settings[id].source : "default";
}

const char *config_default(struct config *config, enum config_parameter_id id)
{
	const struct frame frame = { id, NULL };

	if (!has_meaning(config, &config_schema[id]))
		return NULL;
	return default_text(config, id, &frame);
}

int64_t config_number(const struct config *c, enum config_parameter_id id)
{
	struct slice value = slice_from(config_value(c, id));
	uint64_t number = 0;
	int64_t seconds = 0;

	assert(value.ptr);
	switch (config_schema[id].type) {
	case CONFIG_TYPE_DURATION:
		parse_duration_s(value, &seconds);
		return seconds;
	case CONFIG_TYPE_SIZE:
		parse_size(value, &number);
		return (int64_t)number;
	default:
		parse_uint(value, INT64_MAX, &number);
		return (int64_t)number;
	}
}

bool config_bool(const struct config *c, enum config_parameter_id id)
{
	bool yes = false;

	parse_bool(slice_from(config_value(c, id)), &yes);
	return yes;
}
