/* fuzz_map_rules - what a file of patterns, and a key behind its first NUL, must hold to */
#pragma once

#include <string.h>

#include "maps/rules.h"
#include "tests/fuzz/fuzz.h"

struct fuzz_rules {
	uint32_t lines; /* of the text */
	unsigned int complaints;
};

static void fuzz_check_text(const char *text)
{
	MUST(text[0] != '\0');
	for (; *text; text++)
		MUST((unsigned char)*text >= ' ' && *text != 0x7f);
}

static void fuzz_take_complaint(void *arg, bool is_error, const char *source, const char *text)
{
	struct fuzz_rules *f = arg;
	unsigned long line = strtoul(strrchr(source, ':') + 1, NULL, 10);

	MUST(is_error && line >= 1 && line <= f->lines);
	fuzz_check_text(text);
	f->complaints++;
}

static void fuzz_take_hidden(void *arg, const char *pattern, uint32_t line, uint32_t first_line)
{
	const struct fuzz_rules *f = arg;

	MUST(pattern[0] && first_line >= 1 && first_line < line && line <= f->lines);
}

static void fuzz_walk(struct fuzz_rules *f, const struct rules *rules)
{
	uint32_t previous = 0;

	for (size_t i = 0; i < rules_count(rules); i++) {
		struct rules_entry entry;

		rules_at(rules, i, &entry);
		MUST(entry.pattern[0] && entry.result[0]);
		MUST(entry.line > previous && entry.line <= f->lines);
		previous = entry.line;
	}
	rules_find_hidden(rules, fuzz_take_hidden, f);
}

static void fuzz_look_up(const struct fuzz_rules *f, const struct rules *rules, struct slice key)
{
	struct arena arena = { 0 };
	struct error err = { 0 };
	const char *result = NULL;
	uint32_t line = 0;
	int r = rules_lookup(rules, key, &arena, &result, &line, &err);

	MUST(r < 0 || r == MAP_FOUND || r == MAP_NOT_FOUND);
	if (r == MAP_FOUND)
		MUST(result[0] && line >= 1 && line <= f->lines);
	if (r < 0)
		MUST(err.text[0]);
	arena_done(&arena);
}

static void fuzz_rules(enum rules_syntax syntax, const uint8_t *data, size_t size)
{
	struct slice all = slice_of((const char *)data, size);
	struct slice text = slice_first(all, slice_find(all, '\0'));
	struct slice key = slice_skip(all, text.len + 1);
	struct fuzz_rules f = { .lines = 1 };
	struct rules *rules = NULL;
	struct error err = { 0 };
	int r;

	for (size_t i = 0; i < text.len; i++)
		f.lines += text.ptr[i] == '\n';
	r = rules_parse(syntax, text, "f", fuzz_take_complaint, &f, &rules, &err);
	MUST((r < 0) == (f.complaints > 0));
	if (r == 0) {
		fuzz_walk(&f, rules);
		fuzz_look_up(&f, rules, key);
		rules_unref(rules);
	}
}
