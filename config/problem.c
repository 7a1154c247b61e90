/* Problems are kept in the order in which they were found, and sorted at the end of each step. */
#include "config/state.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/escape.h"
#include "base/parse.h"

#define PROBLEM_TEXT_MAX 1000

const char *config_severity_name(enum config_severity severity)
{
	switch (severity) {
	case CONFIG_ERROR:
		return "error";
	case CONFIG_WARNING:
		return "warning";
	case CONFIG_NOTICE:
		return "notice";
	}
	return NULL;
}

/* Files are told in the order in which they were first met. */
size_t config_rank_file(struct config *c, const char *file)
{
	size_t *rank = strmap_get(&c->ranks, slice_from(file));

	if (!rank) {
		rank = arena_alloc(&c->arena, sizeof(*rank));
		*rank = c->ranks.count;
		strmap_put(&c->ranks, slice_from(file), rank);
	}
	return *rank;
}

static void add_problem(struct config *c, const char *file, unsigned int line,
			enum config_severity severity, const char *text)
{
	struct config_entry entry = { .rank = config_rank_file(c, file),
				      .number = buf_len(&c->problems) };
	struct buf escaped = { 0 };

	escape_text(&escaped, slice_from(text), PROBLEM_TEXT_MAX);
	entry.problem = (struct config_problem){
		.file = file,
		.line = line,
		.severity = severity,
		.text = arena_slicedup(&c->arena, buf_slice(&escaped)),
	};
	buf_append(&c->problems, &entry, sizeof(entry));
	buf_done(&escaped);
}

void config_report(struct config *c, const char *file, unsigned int line,
		   enum config_severity severity, const char *format, ...)
{
	char text[PROBLEM_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	add_problem(c, file, line, severity, text);
}

/* Defaults have no line: what is wrong with them shows at the mode, which every file has. */
static unsigned int line_of(const struct config *c, enum config_parameter_id id)
{
	if (c->settings[id].line != 0)
		return c->settings[id].line;
	return c->settings[CONFIG_MODE].line != 0 ? c->settings[CONFIG_MODE].line : 1;
}

void config_report_setting(struct config *c, enum config_parameter_id id,
			   enum config_severity severity, const char *format, ...)
{
	char text[PROBLEM_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	config_report(c, c->file, line_of(c, id), severity, "%s: %s", config_schema[id].name, text);
}

/* The parameter that was given at this place; CONFIG_PARAMETER_COUNT: it is not in our file. */
static enum config_parameter_id id_at(const struct config *c, const char *source)
{
	for (unsigned int id = 0; id < CONFIG_PARAMETER_COUNT; id++)
		if (config_is_given(c, id) && strcmp(c->settings[id].source, source) == 0)
			return id;
	return CONFIG_PARAMETER_COUNT;
}

void config_report_source(struct config *c, enum config_parameter_id id,
			  enum config_severity severity, const char *source, const char *text)
{
	enum config_parameter_id given_id = id_at(c, source);
	const char *colon = strrchr(source, ':');
	uint64_t line;

	if (given_id != CONFIG_PARAMETER_COUNT) {
		config_report_setting(c, given_id, severity, "%s", text);
	} else if (colon && parse_uint(slice_from(colon + 1), UINT32_MAX, &line)) {
		struct slice file = slice_of(source, (size_t)(colon - source));

		config_report(c, arena_slicedup(&c->arena, file), (unsigned int)line, severity,
			      "%s", text);
	} else if (strstr(text, source)) {
		config_report_setting(c, id, severity, "%s", text);
	} else {
		config_report_setting(c, id, severity, "%s: %s", source, text);
	}
}

/* The "FILE:LINE" in front of "FILE:LINE: REST"; empty when the text is not of that form. */
static struct slice place_of(struct slice text)
{
	for (size_t i = 1; i < text.len && text.ptr[i] != ' '; i++) {
		struct slice behind = slice_skip(text, i + 1);
		size_t digits = slice_find(behind, ':');
		uint64_t line;

		if (text.ptr[i] == ':' && digits < behind.len &&
		    parse_uint(slice_first(behind, digits), UINT32_MAX, &line))
			return slice_first(text, i + 1 + digits);
	}
	return SLICE("");
}

void config_report_file(struct config *c, enum config_parameter_id id,
			enum config_severity severity, const char *text)
{
	struct slice place = place_of(slice_from(text)), rest;

	if (place.len > 0) {
		rest = slice_trim(slice_skip(slice_from(text), place.len + 1));
		config_report_source(c, id, severity, arena_slicedup(&c->arena, place), rest.ptr);
	} else {
		config_report_setting(c, id, severity, "%s", text);
	}
}

static int compare_entries(const void *a_item, const void *b_item)
{
	const struct config_entry *a = a_item, *b = b_item;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->problem.line != b->problem.line)
		return a->problem.line < b->problem.line ? -1 : 1;
	return a->number < b->number ? -1 : 1;
}

void config_sort_problems(struct config *c)
{
	size_t count = config_problem_count(c);

	if (count > 1)
		qsort(c->problems.mem + c->problems.start, count, sizeof(struct config_entry),
		      compare_entries);
}

size_t config_problem_count(const struct config *config)
{
	return buf_len(&config->problems) / sizeof(struct config_entry);
}

const struct config_problem *config_problem_at(const struct config *config, size_t index)
{
	const struct config_entry *entries = (const void *)buf_slice(&config->problems).ptr;

	assert(index < config_problem_count(config));
	return &entries[index].problem;
}

bool config_has_errors(const struct config *config)
{
	for (size_t i = 0; i < config_problem_count(config); i++)
		if (config_problem_at(config, i)->severity == CONFIG_ERROR)
			return true;
	return false;
}
