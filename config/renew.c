/*
 * Certificates that were renewed are read by a second config that has the
 * settings of the first and lists of its own: so they are opened, and
 * complained about, by the code that does it at the start, and what is in use
 * does not change until all of them are good.
 */
#include "config/state.h"

#include <string.h>

#include "base/escape.h"

struct renewal {
	struct config *config;
	void (*report)(void *arg, const struct config_problem *problem);
	void *arg;
};

static struct config_file *files_of(struct config_tls *tls, size_t *ret_count)
{
	*ret_count = buf_len(&tls->files) / sizeof(struct config_file);
	return (void *)(tls->files.mem + tls->files.start);
}

/*
 * Whoever renews writes one file after the other, and some write into the
 * file. So what has changed is tried when it looks the same twice in a row.
 */
static bool is_due(struct config_tls *tls)
{
	bool has_changed = false, is_settled = true;
	struct config_file *files;
	size_t count;

	files = files_of(tls, &count);
	for (size_t i = 0; i < count; i++) {
		struct config_stamp now;

		config_stamp_take(files[i].path, &now);
		has_changed |= !config_stamp_is_equal(&now, &files[i].tried);
		is_settled &= config_stamp_is_equal(&now, &files[i].seen);
		files[i].seen = now;
	}
	if (!has_changed || !is_settled)
		return false;
	for (size_t i = 0; i < count; i++)
		files[i].tried = files[i].seen;
	return true;
}

static void tell(const struct renewal *r, enum config_parameter_id id,
		 enum config_severity severity, const char *text)
{
	const struct config_setting *setting = &r->config->settings[id];
	char escaped[1024];
	struct config_problem problem = {
		.file = r->config->file,
		.line = setting->line ? setting->line : 1,
		.severity = severity,
		.text = escape_cstr(slice_from(text), escaped, sizeof(escaped)),
	};

	r->report(r->arg, &problem);
}

/*
 * What is wrong with new files is told once: those that wait for their other
 * half change several times with the same result.
 */
static void tell_failures(const struct renewal *r, const struct config *candidate)
{
	struct buf *last = &r->config->renewal_problems, texts = { 0 };
	bool is_same;

	for (size_t i = 0; i < config_problem_count(candidate); i++) {
		const struct config_problem *p = config_problem_at(candidate, i);

		if (p->severity == CONFIG_ERROR)
			buf_append(&texts, p->text, strlen(p->text) + 1);
	}
	is_same = slice_equal(buf_slice(&texts), buf_slice(last));
	buf_done(last);
	*last = texts;
	for (size_t i = 0; !is_same && i < config_problem_count(candidate); i++) {
		struct config_problem p = *config_problem_at(candidate, i);
		struct buf text = { 0 };

		buf_printf(&text, "%s; what was read before stays in use", p.text);
		buf_append(&text, "", 1);
		p.text = buf_slice(&text).ptr;
		if (p.severity == CONFIG_ERROR)
			r->report(r->arg, &p);
		buf_done(&text);
	}
}

static void tell_warnings(const struct renewal *r, const struct config *candidate)
{
	for (size_t i = 0; i < config_problem_count(candidate); i++)
		r->report(r->arg, config_problem_at(candidate, i));
}

static bool is_changed(const struct config_file *old, const struct config_file *new)
{
	if (old->read.trouble)
		return old->read.trouble != new->read.trouble;
	return !config_stamp_is_same(&old->read, &new->read);
}

/* report NULL: only whether there are any. */
static bool tell_changes(const struct renewal *r, struct config_tls *before,
			 struct config_tls *after)
{
	size_t count, after_count;
	const struct config_file *old = files_of(before, &count);
	const struct config_file *new = files_of(after, &after_count);
	bool any = false;

	for (size_t i = 0; i < count && i < after_count; i++) {
		char text[512];

		if (!is_changed(&old[i], &new[i]))
			continue;
		any = true;
		if (!r->report)
			continue;
		snprintf(text, sizeof(text), "%s: %s has changed and was taken up",
			 config_schema[old[i].id].name, old[i].path);
		tell(r, old[i].id, CONFIG_NOTICE, text);
	}
	return any;
}

struct config_tls *config_renew(struct config *config,
				void (*report)(void *arg, const struct config_problem *problem),
				void *arg)
{
	const struct renewal renewal = { config, report, arg }, silent = { .report = NULL };
	struct config candidate = *config;
	struct config_tls *before = NULL;

	if (!config->tls || !is_due(config->tls))
		return NULL;
	candidate.arena = (struct arena){ 0 };
	candidate.problems = (struct buf){ 0 };
	candidate.renewal_problems = (struct buf){ 0 };
	candidate.ranks = (struct strmap){ 0 };
	candidate.running = config;
	candidate.tls = NULL;
	config_open_certificates(&candidate);
	config_sort_problems(&candidate);

	if (config_has_errors(&candidate)) {
		tell_failures(&renewal, &candidate);
	} else {
		buf_clear(&config->renewal_problems);
		if (tell_changes(&silent, config->tls, candidate.tls)) {
			tell_warnings(&renewal, &candidate);
			before = config->tls;
			config->tls = candidate.tls;
			candidate.tls = NULL;
		}
	}
	config_tls_free(candidate.tls);
	strmap_done(&candidate.ranks);
	buf_done(&candidate.problems);
	arena_done(&candidate.arena);
	return before;
}

void config_report_renewal(struct config *config, struct config_tls *before,
			   void (*report)(void *arg, const struct config_problem *problem),
			   void *arg)
{
	const struct renewal renewal = { config, report, arg };

	tell_changes(&renewal, before, config->tls);
}

bool config_next_renewal_problem(const struct config *config, const char **cursor)
{
	struct slice all = buf_slice(&config->renewal_problems);
	const char *next = *cursor ? *cursor + strlen(*cursor) + 1 : all.ptr;

	if (!next || next >= all.ptr + all.len)
		return false;
	*cursor = next;
	return true;
}

void config_tls_restore(struct config *config, struct config_tls *before)
{
	config_tls_free(config->tls);
	config->tls = before;
}
