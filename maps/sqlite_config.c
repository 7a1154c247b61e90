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
	[SETTING_DEFAULT_PASS_SCHEME] = "default_pass_scheme",
};

/* Where we are, and where it goes. */
struct reading {
	bool is_of_accounts;
	struct arena *arena;
	struct sqlite_config *config;
	struct complaints *complaints;
};

static bool is_allowed(const struct reading *reading, size_t setting)
{
	if (setting == SETTING_DEFAULT_PASS_SCHEME)
		return reading->is_of_accounts;
	if (setting == SETTING_RESULT_FORMAT || setting == SETTING_EXPANSION_LIMIT)
		return !reading->is_of_accounts;
	return true;
}

/* What Dovecot's file has in place of our names. */
static const struct {
	const char *name, *hint;
} hints_of_dovecot[] = {
	{ "driver", "the database is SQLite; write dbpath = FILE only" },
	{ "connect", "write dbpath = FILE" },
	{ "password_query", "write query = SELECT ..., where the whole login is '%s', and '%u' is "
			    "what stands before its @" },
	{ "user_query", "mailboxes are found by virtual_mailbox_maps" },
	{ "iterate_query", "nothing here lists the accounts" },
};

static const char *hint_of(const struct reading *reading, const char *name)
{
	for (size_t i = 0; reading->is_of_accounts && i < ARRAY_SIZE(hints_of_dovecot); i++)
		if (strcmp(name, hints_of_dovecot[i].name) == 0)
			return hints_of_dovecot[i].hint;
	return NULL;
}

static bool is_legacy(struct slice name)
{
	return slice_equal(name, SLICE("select_field")) || slice_equal(name, SLICE("table")) ||
	       slice_equal(name, SLICE("where_field")) ||
	       slice_equal(name, SLICE("additional_conditions"));
}

static const char *nearest_allowed(const struct reading *reading, const char *shown)
{
	const char *allowed[SETTING_COUNT];
	size_t count = 0;

	for (size_t i = 0; i < SETTING_COUNT; i++)
		if (is_allowed(reading, i))
			allowed[count++] = names[i];
	return nearest_name(shown, allowed, count);
}

static void complain_of_name(const struct reading *reading, uint32_t number, struct slice name)
{
	struct complaints *complaints = reading->complaints;
	const char *near, *hint;
	char shown[64];

	escape_cstr(name, shown, sizeof(shown));
	near = nearest_allowed(reading, shown);
	hint = hint_of(reading, shown);
	if (hint)
		complain(complaints, number, "%s is Dovecot's; %s", shown, hint);
	else if (is_legacy(name))
		complain(complaints, number,
			 "%s is not supported; write query = SELECT field FROM table WHERE "
			 "field = '%%s'",
			 shown);
	else if (near)
		complain(complaints, number, "unknown name \"%s\"; did you mean %s?", shown, near);
	else
		complain(complaints, number, "unknown name \"%s\"; expected dbpath, query, %s",
			 shown,
			 reading->is_of_accounts ? "domain or default_pass_scheme"
						 : "result_format, domain or expansion_limit");
}

static void take_setting(const struct reading *reading, struct slice line, uint32_t number)
{
	struct complaints *complaints = reading->complaints;
	struct sqlite_config *ret = reading->config;
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
	else if (i == SETTING_COUNT || !is_allowed(reading, i))
		complain_of_name(reading, number, name);
	else if (ret->values[i])
		complain(complaints, number, "%s is given twice, here and in line %u", names[i],
			 (unsigned int)ret->lines[i]);
	else if (value.len == 0 && i != SETTING_DOMAIN)
		complain(complaints, number, "%s has no value", names[i]);
	else {
		ret->values[i] = arena_slicedup(reading->arena, value);
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

void sqlite_config_parse(struct slice text, bool is_of_accounts, struct arena *arena,
			 struct sqlite_config *ret, struct complaints *complaints)
{
	struct reading reading = { is_of_accounts, arena, ret, complaints };
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
			take_setting(&reading, buf_slice(&line), number);
	}
	buf_done(&line);
	check_settings(ret, complaints);
}
