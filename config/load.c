/*
 * The grammar gives settings, each is noted with its line; when all are known
 * they are evaluated, the mode first, since defaults and meanings depend on it.
 */
#include "config/state.h"

#include <errno.h>
#include <stdio.h>

#include "base/memory.h"
#include "config/grammar.h"
#include "mta/drop.h"

#define FILE_SIZE_MAX (1u << 20) /* a text that a person wrote */

static void report_unknown(struct config *c, unsigned int line, struct slice name)
{
	const char *hint = config_hint(name);
	const char *near = hint ? NULL : config_schema_nearest(name);

	config_report(c, c->file, line, CONFIG_ERROR, "unknown parameter %.*s%s%s%s", (int)name.len,
		      name.ptr,
		      hint   ? "; "
		      : near ? "; did you mean "
			     : "",
		      hint   ? hint
		      : near ? near
			     : "",
		      near ? "?" : "");
}

static void on_setting(void *arg, unsigned int line, struct slice name, struct slice value)
{
	const struct config_parameter *p = config_schema_find(name);
	struct config *c = arg;
	struct config_setting *setting;

	if (!p) {
		report_unknown(c, line, name);
		return;
	}
	setting = &c->settings[p - config_schema];
	if (setting->line != 0) {
		config_report(c, c->file, line, CONFIG_ERROR,
			      "%s is given twice; it was given on line %u before", p->name,
			      setting->line);
		return;
	}
	setting->line = line;
	setting->source = arena_printf(&c->arena, "%s:%u", c->file, line);
	setting->raw = arena_slicedup(&c->arena, value);
}

/* Lines that were pasted with their indentation are swallowed by the one above. */
static void on_continued(void *arg, unsigned int line, struct slice content)
{
	struct slice name = slice_trim(slice_first(content, slice_find(content, '=')));
	struct config *c = arg;

	if (name.len < content.len && config_schema_find(name))
		config_report(c, c->file, line, CONFIG_ERROR,
			      "white space in front of %.*s makes this line a part of the value "
			      "above it; remove it",
			      (int)name.len, name.ptr);
}

static void on_fault(void *arg, unsigned int line, const char *text)
{
	struct config *c = arg;

	config_report(c, c->file, line, CONFIG_ERROR, "%s", text);
}

static const char *mode_name(unsigned int mode)
{
	return mode == CONFIG_HUB ? "hub" : "edge";
}

static void evaluate_mode(struct config *c)
{
	const char *value;

	if (!config_is_given(c, CONFIG_MODE)) {
		config_report(c, c->file, 1, CONFIG_ERROR, "mode is not set; expected hub or edge");
		return;
	}
	config_evaluate(c, CONFIG_MODE);
	value = config_value(c, CONFIG_MODE);
	if (value)
		c->mode = strcmp(value, "hub") == 0 ? CONFIG_HUB : CONFIG_EDGE;
}

static void evaluate_settings(struct config *c)
{
	evaluate_mode(c);
	for (unsigned int id = 0; id < CONFIG_PARAMETER_COUNT; id++) {
		config_evaluate(c, id);
		if (config_is_given(c, id) && c->settings[id].state == SETTING_ABSENT)
			config_report(c, c->file, c->settings[id].line, CONFIG_ERROR,
				      "%s has no meaning in mode %s", config_schema[id].name,
				      mode_name(c->mode));
	}
}

static void read_networks(struct config *c, enum config_parameter_id id,
			  struct config_networks *ret)
{
	const char *value = config_value(c, id);
	struct slice rest = slice_from(value), word;
	const char *specs = "";

	if (!value)
		return;
	/* Each takes two bytes at least: one digit or letter, and a separator. */
	ret->prefixes = arena_alloc(&c->arena, (rest.len / 2 + 1) * sizeof(*ret->prefixes));
	while (map_list_next(&rest, &word, NULL) > 0)
		if (map_is_spec(word))
			specs = arena_printf(&c->arena, "%s%s%.*s", specs, specs[0] ? ", " : "",
					     (int)word.len, word.ptr);
		else if (net_prefix_parse(word, &ret->prefixes[ret->count], NULL) == 0)
			ret->count++;
	ret->specs = specs[0] ? specs : NULL;
}

static void read_typed_values(struct config *c)
{
	const char *listen = config_value(c, CONFIG_LISTEN);

	if (listen)
		config_listen_parse(slice_from(listen), &c->arena, &c->listeners,
				    &c->listener_count, NULL);
	read_networks(c, CONFIG_MYNETWORKS, &c->networks);
	if (config_is_given(c, CONFIG_SMTPD_CLIENT_EVENT_LIMIT_EXCEPTIONS))
		read_networks(c, CONFIG_SMTPD_CLIENT_EVENT_LIMIT_EXCEPTIONS, &c->limit_exceptions);
}

static const char *directory_of(struct arena *arena, const char *file)
{
	const char *slash = strrchr(file, '/');
	struct slice path = slice_of(file, slash ? (size_t)(slash - file) : 0);
	char *here, *directory;

	if (slash == file)
		return "";
	if (file[0] == '/')
		return arena_slicedup(arena, path);
	here = getcwd(NULL, 0);
	directory = arena_printf(arena, "%s%s%.*s", here ? here : ".", slash ? "/" : "",
				 (int)path.len, path.ptr);
	free(here);
	return directory;
}

static struct config *config_new(const char *file)
{
	struct config *c = memory_new(sizeof(*c));

	*c = (struct config){ 0 };
	c->file = arena_strdup(&c->arena, file);
	c->directory = directory_of(&c->arena, file);
	for (size_t i = 0; i < CONFIG_PARAMETER_COUNT; i++)
		c->settings[i].source = "default";
	/* Its problems come first, whichever file has the first one. */
	config_rank_file(c, c->file);
	return c;
}

struct config *config_load_text(const char *file, struct slice text)
{
	static const struct config_grammar_events events = {
		.setting = on_setting,
		.continued = on_continued,
		.fault = on_fault,
	};
	struct config *c = config_new(file);

	config_grammar_read(text, &events, c);
	evaluate_settings(c);
	read_typed_values(c);
	if (config_value(c, CONFIG_QUEUE_DIRECTORY))
		c->drop_directory = arena_printf(&c->arena, "%s/" DROP_DIRECTORY,
						 config_value(c, CONFIG_QUEUE_DIRECTORY));
	config_check_rules(c);
	config_sort_problems(c);
	return c;
}

static int read_file(const char *file, struct buf *text)
{
	CLEANUP(close_filep) FILE *f = fopen(file, "re");
	size_t n;

	if (!f)
		return -errno;
	do {
		char *room = buf_reserve(text, 4096);

		n = fread(room, 1, 4096, f);
		buf_commit(text, n);
		if (buf_len(text) > FILE_SIZE_MAX)
			return -EFBIG;
	} while (n > 0);
	return ferror(f) ? -errno : 0;
}

struct config *config_load(const char *file)
{
	struct buf text = { 0 };
	struct config *c;
	int r = read_file(file, &text);

	if (r == 0) {
		c = config_load_text(file, buf_slice(&text));
	} else {
		c = config_new(file);
		config_report(c, c->file, 1, CONFIG_ERROR, "cannot read the file: %s",
			      strerror(-r));
	}
	buf_done(&text);
	return c;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	maps_free(config->transport_maps);
	maps_free(config->tls_policy_maps);
	maps_free(config->mailbox_maps);
	maps_free(config->sender_login_maps);
	maps_free(config->networks.maps);
	maps_free(config->limit_exceptions.maps);
	maps_free(config->relay_recipient_maps);
	maps_free(config->uid_maps);
	maps_free(config->gid_maps);
	maps_free(config->password_maps);
	sasl_free(config->sasl);
	domains_free(config->relay_domains);
	domains_free(config->verified_domains);
	domains_free(config->mailbox_domains);
	domains_free(config->alias_domains);
	domains_free(config->local_domains);
	maps_free(config->virtual_aliases);
	maps_free(config->local_aliases);
	maps_free(config->local_recipients);
	clientcerts_free(config->relay_clientcerts);
	config_tls_free(config->tls);
	buf_done(&config->renewal_problems);
	strmap_done(&config->ranks);
	buf_done(&config->problems);
	arena_done(&config->arena);
	free(config);
}

const char *config_drop_directory(const struct config *config)
{
	return config->drop_directory;
}

unsigned int config_mode(const struct config *config)
{
	return config->mode;
}

const struct config_listener *config_listeners(const struct config *config, unsigned int *ret_count)
{
	*ret_count = config->listener_count;
	return config->listeners;
}
