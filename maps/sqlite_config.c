/* sqlite_config - "name = value" by logical lines; what is missing is told at the first line */
#include "maps/sqlite_config.h"

#include "base/escape.h"
#include "base/macros.h"
#include "base/nearest.h"
#include "base/parse.h"

static const char *const names[] = {
	[SETTING_DBPATH] = "dbpath",
	[SETTING_QUERY] = "query",
	[SETTING_RESULT_FORMAT] = "result_format",
	[SETTING_DOMAIN] = "domain",
	[SETTING_EXPANSION_LIMIT] = "expansion_limit",
};

static bool is_legacy(struct slice name)
{
	return slice_equal(name, SLICE("select_field")) || slice_equal(name, SLICE("table")) ||
	       slice_equal(name, SLICE("where_field")) ||
	       slice_equal(name, SLICE("additional_conditions"));
}

static void complain_of_name(struct complaints *complaints, uint32_t number, struct slice name)
{
	const char *near;
	char shown[64];

	escape_cstr(name, shown, sizeof(shown));
	near = nearest_name(shown, names, ARRAY_SIZE(names));
	if (is_legacy(name))
		complain(complaints, number,
			 "%s is not supported; write query = SELECT field FROM table WHERE "
			 "field = '%%s'",
			 shown);
	else if (near)
		complain(complaints, number, "unknown name \"%s\"; did you mean %s?", shown, near);
	else
		complain(complaints, number,
			 "unknown name \"%s\"; expected dbpath, query, result_format, domain or "
			 "expansion_limit",
			 shown);
}

static void take_setting(struct slice line, uint32_t number, struct arena *arena,
			 struct sqlite_config *ret, struct complaints *complaints)
{
	size_t equal = slice_find(line, '='), i = 0;
	struct slice name = slice_trim(slice_first(line, equal));
	struct slice value = slice_trim(slice_skip(line, equal + 1));
	char shown[64];

	while (i < SETTING_COUNT && !slice_equal(name, slice_from(names[i])))
		i++;
	if (slice_find(line, '\0') != line.len)
		complain(complaints, number, "a NUL byte");
	else if (equal == line.len || name.len == 0)
		complain(complaints, number, "expected \"name = value\", found \"%s\"",
			 escape_cstr(line, shown, sizeof(shown)));
	else if (i == SETTING_COUNT)
		complain_of_name(complaints, number, name);
	else if (ret->values[i])
		complain(complaints, number, "%s is given twice, here and in line %u", names[i],
			 (unsigned int)ret->lines[i]);
	else if (value.len == 0 && i != SETTING_DOMAIN)
		complain(complaints, number, "%s has no value", names[i]);
	else {
		ret->values[i] = arena_slicedup(arena, value);
		ret->lines[i] = number;
	}
}

static void check_settings(struct sqlite_config *config, struct complaints *complaints)
{
	const char *limit = config->values[SETTING_EXPANSION_LIMIT];
	char shown[64];

	if (limit && !parse_uint(slice_from(limit), UINT32_MAX, &config->expansion_limit))
		complain(complaints, config->lines[SETTING_EXPANSION_LIMIT],
			 "expansion_limit: \"%s\" is not a number",
			 escape_cstr(slice_from(limit), shown, sizeof(shown)));
	/* What is missing may stand in a line that was found bad. */
	if (complaints->outcome == 0 && !config->values[SETTING_DBPATH])
		complain(complaints, 1, "dbpath is missing, the file of the database");
	if (complaints->outcome == 0 && !config->values[SETTING_QUERY])
		complain(complaints, 1, "query is missing");
}

void sqlite_config_parse(struct slice text, struct arena *arena, struct sqlite_config *ret,
			 struct complaints *complaints)
{
	struct buf line = { 0 };
	struct lines lines;
	uint32_t number = 1;
	int r;

	*ret = (struct sqlite_config){ 0 };
	for (size_t i = 0; i < SETTING_COUNT; i++)
		ret->lines[i] = 1;
	lines_init(&lines, text);
	while ((r = lines_next(&lines, &line, &number)) != 0) {
		if (r < 0)
			complain(complaints, number,
				 "a line that starts with white space continues the one before, "
				 "but there is none");
		else
			take_setting(buf_slice(&line), number, arena, ret, complaints);
	}
	buf_done(&line);
	check_settings(ret, complaints);
}
