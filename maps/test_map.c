/* test_map - opening maps of each type, and taking up changed files */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/macros.h"
#include "maps/internal.h"

struct dir {
	char path[64];
	char file[80]; /* "ts" in it */
};

static int setup(void **state)
{
	struct dir *dir = calloc(1, sizeof(*dir));

	strcpy(dir->path, "/tmp/test_map.XXXXXX");
	if (!mkdtemp(dir->path))
		return -1;
	snprintf(dir->file, sizeof(dir->file), "%s/ts", dir->path);
	*state = dir;
	return 0;
}

static int teardown(void **state)
{
	struct dir *dir = *state;

	unlink(dir->file);
	rmdir(dir->path);
	free(dir);
	return 0;
}

/* In place, as editors may do it: the same inode. */
static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static struct map *open_map(const struct dir *dir, const char *spec)
{
	struct map *map = NULL;
	struct error error = { 0 };

	if (map_open(slice_from(spec), dir->path, &map, &error) < 0)
		fail_msg("%s: %s", spec, error.text);
	return map;
}

/* "VALUE (SOURCE)", or "-". */
static void expect(struct map *map, const char *key, const char *want)
{
	struct arena arena = { 0 };
	struct map_result result = { 0 };
	const char *got = "-";
	int r = map_lookup(map, slice_from(key), &arena, &result, NULL);

	if (r == MAP_FOUND)
		got = arena_printf(&arena, "%s (%s)", result.value, result.source);
	if (strcmp(got, want) != 0)
		fail_msg("%s: got %s, want %s", key, got, want);
	assert_int_equal(map_has(map, slice_from(key), NULL), r);
	arena_done(&arena);
}

static const struct {
	const char *spec, *key, *want;
} lookups[] = {
	{ "static:x", "anything", "x (static:x)" },
	{ "static:{ x, y z }", "anything", "x, y z (static:{ x, y z })" },
	{ "inline:{a=b}", "a", "b (inline:a)" },
	{ "inline:{ A=b, c=d }", "a", "b (inline:a)" },
	{ "inline:{ a=b c=d }", "C", "d (inline:c)" },
	{ "inline:{ a=b, c=d }", "b", "-" },
	{ "inline:{ a = b, c = d, }", "c", "d (inline:c)" },
	{ "inline:{ a = relay:[h] tls=verify, c = d }", "a", "relay:[h] tls=verify (inline:a)" },
	{ "inline:{ {a = b, c}, {x y = d } }", "a", "b, c (inline:a)" },
	{ "inline:{ {a = b, c}, {x y = d } }", "x y", "d (inline:x y)" },
	{ "inline:{ a = {b, c} d=e }", "a", "{b, c} d=e (inline:a)" },
	{ "inline:{ a={b, c} d=e }", "a", "b, c (inline:a)" },
	{ "inline:{ a={b, c} d=e }", "d", "e (inline:d)" },
	{ "inline:{ a=b=c }", "a", "b=c (inline:a)" },
};

static void test_lookups(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(lookups); i++) {
		CLEANUP(map_freep) struct map *map = open_map(*state, lookups[i].spec);

		expect(map, lookups[i].key, lookups[i].want);
		assert_string_equal(map_spec(map), lookups[i].spec);
		assert_int_equal(map_has_every_key(map), lookups[i].spec[0] == 's');
		assert_int_equal(map_refresh(map, NULL), MAP_NOT_CHANGED);
	}
}

static const struct {
	const char *spec, *text;
} errors[] = {
	{ "", "\"\": expected TYPE:NAME, as in hash:" },
	{ "ts", "\"ts\": expected TYPE:NAME, as in hash:ts" },
	{ "hash:", "\"hash:\": nothing behind the colon" },
	{ "hash:missing", "missing: No such file or directory" },
	{ "hash:.", ".: not a regular file" },
	{ "hsah:ts", "unknown map type \"hsah\"; did you mean hash?" },
	{ "ldap:ts",
	  "unknown map type \"ldap\"; known: hash, texthash, lmdb, btree, inline, static, "
	  "regexp, cidr, sqlite" },
	{ "mysql:q.cf",
	  "map type \"mysql\" is not available; a database is sqlite:FILE.cf, with dbpath and "
	  "the same query" },
	{ "proxy:hash:ts",
	  "map type \"proxy\" is not available; nothing stands between: write what is behind it" },
	{ "regexp:none", "none: No such file or directory" },
	{ "cidr:none", "none: No such file or directory" },
	{ "sqlite:none", "none: No such file or directory" },
	{ "regexp:{ {/a/ b}, /c/ d }", "at \"/c/ d\"; expected { {rule}, {rule}, ... }" },
	{ "regexp:{ {/a/ b}, {/c/} }", "regexp:{}:2: no result behind the pattern" },
	{ "cidr:{ {::1 a}", "missing '}'" },
	{ "static:{ x", "static:{ x: missing '}'" },
	{ "inline:a=b", "inline: at \"a=b\"; expected inline:{ key = value, ... }" },
	{ "inline:{ }", "inline: no entries; expected inline:{ key = value, ... }" },
	{ "inline:{ a }", "inline: at \"a\"; expected inline:{ key = value, ... }" },
	{ "inline:{ a= }", "inline: at \"a=\"; expected inline:{ key = value, ... }" },
	{ "inline:{ x=y, =b }", "inline: at \"=b\"; expected inline:{ key = value, ... }" },
	{ "inline:{ a = b c = d }",
	  "inline: at \"a = b c = d\"; expected inline:{ key = value, ... }" },
	{ "inline:{ a b = c }", "inline: at \"a b = c\"; expected inline:{ key = value, ... }" },
	{ "inline:{ {a = b} x }", "inline: at \"x\"; expected inline:{ key = value, ... }" },
	{ "inline:{ a=b }c=d }",
	  "inline: at \"{ a=b }c=d }\"; expected inline:{ key = value, ... }" },
	{ "inline:{ a=b, A=c }", "inline: key \"a\" is given twice" },
};

static void test_errors(void **state)
{
	const struct dir *dir = *state;

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		struct map *map = NULL;
		struct error error = { 0 };

		if (map_open(slice_from(errors[i].spec), dir->path, &map, &error) >= 0)
			fail_msg("%s: was opened", errors[i].spec);
		if (strcmp(error.text, errors[i].text) != 0)
			fail_msg("%s: got %s", errors[i].spec, error.text);
	}
}

static void test_file_types(void **state)
{
	static const char *const types[] = { "hash", "texthash", "lmdb", "btree" };
	const struct dir *dir = *state;
	char spec[128];

	write_file(dir->file, "# x\nA@b c\n");
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		CLEANUP(map_freep) struct map *map = NULL, *absolute = NULL;

		snprintf(spec, sizeof(spec), "%s:ts", types[i]);
		map = open_map(dir, spec);
		expect(map, "a@B", "c (ts:2)");
		expect(map, "b", "-");
		snprintf(spec, sizeof(spec), "%s:%s", types[i], dir->file);
		absolute = open_map(dir, spec);
		snprintf(spec, sizeof(spec), "c (%s:2)", dir->file);
		expect(absolute, "a@b", spec);
	}
}

/* A new inode for each version, which no clock can hide. */
static void replace_file(const struct dir *dir, const char *text)
{
	char next[128];

	snprintf(next, sizeof(next), "%s.new", dir->file);
	write_file(next, text);
	assert_int_equal(rename(next, dir->file), 0);
}

static void test_refresh(void **state)
{
	const struct dir *dir = *state;
	CLEANUP(map_freep) struct map *map = NULL;
	struct error error = { 0 };

	replace_file(dir, "a 1\n");
	map = open_map(dir, "hash:ts");
	assert_int_equal(map_refresh(map, &error), MAP_NOT_CHANGED);
	replace_file(dir, "x 1\na 2\n");
	expect(map, "a", "1 (ts:1)");
	assert_int_equal(map_refresh(map, &error), 0);
	expect(map, "a", "2 (ts:2)");
	assert_int_equal(map_refresh(map, &error), MAP_NOT_CHANGED);

	/* The same bytes in a new file are no change. */
	replace_file(dir, "x 1\na 2\n");
	assert_int_equal(map_refresh(map, &error), MAP_NOT_CHANGED);

	/* In place, within one tick of the file system's clock or not. */
	write_file(dir->file, "x 1\na 3\n");
	assert_int_equal(map_refresh(map, &error), 0);
	write_file(dir->file, "x 1\na 4\n");
	assert_int_equal(map_refresh(map, &error), 0);
	expect(map, "a", "4 (ts:2)");
}

static void test_refresh_keeps_the_old(void **state)
{
	const struct dir *dir = *state;
	CLEANUP(map_freep) struct map *map = NULL;
	struct error error = { 0 };

	replace_file(dir, "a 1\n");
	map = open_map(dir, "hash:ts");
	replace_file(dir, "a 2\nb\n");
	assert_int_equal(map_refresh(map, &error), -EINVAL);
	assert_string_equal(error.text, "ts:2: expected \"key value\", found only \"b\"");
	assert_int_equal(map_refresh(map, &error), MAP_NOT_CHANGED);
	expect(map, "a", "1 (ts:1)");
	replace_file(dir, "a 2\nc\n");
	assert_int_equal(map_refresh(map, &error), -EINVAL);
	replace_file(dir, "a 2\n");
	assert_int_equal(map_refresh(map, &error), 0);
	expect(map, "a", "2 (ts:1)");
}

static void test_refresh_without_file(void **state)
{
	const struct dir *dir = *state;
	CLEANUP(map_freep) struct map *map = NULL;
	struct error error = { 0 };

	replace_file(dir, "a 1\n");
	map = open_map(dir, "hash:ts");
	unlink(dir->file);
	assert_int_equal(map_refresh(map, &error), -ENOENT);
	assert_string_equal(error.text,
			    "ts: No such file or directory; keeping what it held before");
	assert_int_equal(map_refresh(map, &error), MAP_NOT_CHANGED);
	expect(map, "a", "1 (ts:1)");
	assert_int_equal(mkdir(dir->file, 0700), 0);
	assert_int_equal(map_refresh(map, &error), -EINVAL);
	assert_int_equal(map_refresh(map, &error), MAP_NOT_CHANGED);
	rmdir(dir->file);
	replace_file(dir, "a 1\n");
	assert_int_equal(map_refresh(map, &error), MAP_NOT_CHANGED);
	unlink(dir->file);
	assert_int_equal(map_refresh(map, &error), -ENOENT);
	replace_file(dir, "a 2\n");
	assert_int_equal(map_refresh(map, &error), 0);
}

/* A file that is being written is not taken up half. */
static void test_refresh_unfinished(void **state)
{
	static const char *const halves[] = { "", "a 2\nb", "# a" };
	const struct dir *dir = *state;
	struct error error = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(halves); i++) {
		CLEANUP(map_freep) struct map *map = NULL;
		int64_t now;

		replace_file(dir, "a 1\n");
		map = open_map(dir, "hash:ts");
		write_file(dir->file, halves[i]);
		now = clock_wall_ms(&clock_system);
		assert_int_equal(map_refresh_at(map, now, &error), MAP_NOT_CHANGED);
		expect(map, "a", "1 (ts:1)");
		assert_int_equal(map_refresh_at(map, now + 2000, &error), i == 1 ? -EINVAL : 0);
		expect(map, "a", i == 1 ? "1 (ts:1)" : "-");
	}
}

/* What was read when it was young is read again, once, when it has settled. */
static void test_refresh_same_stat(void **state)
{
	const struct dir *dir = *state;
	CLEANUP(map_freep) struct map *map = NULL;
	struct error error = { 0 };
	int64_t now;

	replace_file(dir, "a 1\n");
	map = open_map(dir, "hash:ts");
	write_file(dir->file, "a 2\n");
	assert_int_equal(stat(dir->file, &map->stat), 0); /* as if within one tick */
	now = clock_wall_ms(&clock_system);
	assert_int_equal(map_refresh_at(map, now, &error), 0);
	expect(map, "a", "2 (ts:1)");
	assert_false(map->is_settled);
	assert_int_equal(map_refresh_at(map, now + 2000, &error), MAP_NOT_CHANGED);
	assert_true(map->is_settled);
}

static int dislikes_bad(void *arg, const char *value, const char *source, struct error *err)
{
	++*(int *)arg;
	return strcmp(value, "bad") == 0 ? error_set(err, -EINVAL, "%s: is bad", source) : 0;
}

static void test_validate(void **state)
{
	const struct dir *dir = *state;
	CLEANUP(map_freep) struct map *map = NULL;
	struct error error = { 0 };
	int asked = 0;

	replace_file(dir, "a 1\n");
	map = open_map(dir, "hash:ts");
	map_set_validate(map, dislikes_bad, &asked);
	replace_file(dir, "a 2\nb bad\nc 3\n");
	assert_int_equal(map_refresh(map, &error), -EINVAL);
	assert_string_equal(error.text, "ts:2: is bad");
	assert_int_equal(asked, 2);
	expect(map, "a", "1 (ts:1)");
	replace_file(dir, "a 2\nb 3\n");
	assert_int_equal(map_refresh(map, &error), 0);
	expect(map, "b", "3 (ts:2)");
}

static int append(void *arg, const char *key, const char *value, const char *source)
{
	buf_printf(arg, "%s=%s (%s)|", key, value, source);
	return strcmp(key, "stop") == 0 ? 7 : 0;
}

static void note(void *arg, bool is_error, const char *source, const char *text)
{
	buf_printf(arg, "%s %s %s|", is_error ? "error" : "warning", source, text);
}

static void expect_text(struct buf *out, const char *want)
{
	CLEANUP(free_strp) char *got = buf_steal_string(out);

	assert_string_equal(got, want);
}

static void test_refresh_patterns(void **state)
{
	const struct dir *dir = *state;
	CLEANUP(map_freep) struct map *map = NULL;
	struct error error = { 0 };
	struct buf out = { 0 };

	replace_file(dir, "/a/ 1\n/^(b)$/ x$1\n");
	map = open_map(dir, "regexp:ts");
	assert_string_equal(map_file(map), dir->file);
	expect(map, "a", "1 (ts:1)");
	expect(map, "B", "xB (ts:2)");
	replace_file(dir, "/a/ 2\nif /b/\n");
	assert_int_equal(map_refresh(map, &error), -EINVAL);
	assert_string_equal(error.text, "ts:2: if without an endif");
	assert_int_equal(map_refresh(map, &error), MAP_NOT_CHANGED);
	expect(map, "a", "1 (ts:1)");
	replace_file(dir, "/a/ 3\n");
	assert_int_equal(map_refresh(map, &error), 0);
	expect(map, "a", "3 (ts:1)");

	/* Where it was said that results are to be plain, they stay so. */
	assert_int_equal(map_refuse_substitutions(map, note, &out), 0);
	replace_file(dir, "/a/ 4\n/(b)/ $1\n");
	assert_int_equal(map_refresh(map, &error), -EINVAL);
	assert_memory_equal(error.text, "ts:2: $1 and the like", 21);
	expect(map, "a", "3 (ts:1)");
	buf_done(&out);
}

/* Results that are not known yet are not asked about. */
static void test_validate_patterns(void **state)
{
	const struct dir *dir = *state;
	CLEANUP(map_freep) struct map *map = NULL;
	struct error error = { 0 };
	struct buf out = { 0 };
	int asked = 0;

	replace_file(dir, "/a/ 1\n");
	map = open_map(dir, "regexp:ts");
	map_set_validate(map, dislikes_bad, &asked);
	replace_file(dir, "/a/ 2\n/(b)/ $1\n/c/ bad\n/b/ 3\n/b/ 4\n");
	assert_int_equal(map_refresh(map, &error), -EINVAL);
	assert_string_equal(error.text, "ts:3: is bad");
	assert_int_equal(asked, 2);
	replace_file(dir, "/a/ 2\n/(b)/ $1\n/b/i 3\n/b/i 4\n");
	assert_int_equal(map_refresh(map, &error), 0);
	assert_int_equal(map_visit(map, append, &out), 0);
	expect_text(&out, "/a/=2 (ts:1)|/(b)/=$1 (ts:2)|/b/i=3 (ts:3)|/b/i=4 (ts:4)|");
	map_check(map, note, &out);
	expect_text(&out,
		    "warning ts:4 duplicate pattern \"/b/i\": ts:3 counts, this one never does|");
	assert_int_equal(map_refuse_substitutions(map, note, &out), -EINVAL);
	expect_text(&out, "error ts:2 $1 and the like are not allowed here: what a sender writes "
			  "must not choose a route or a path|");
}

static void test_visit(void **state)
{
	const struct dir *dir = *state;
	CLEANUP(map_freep) struct map *map = NULL, *fixed = NULL, *brief = NULL;
	struct buf out = { 0 };

	write_file(dir->file, "b 1\na 2\nB 3\n");
	map = open_map(dir, "hash:ts");
	assert_int_equal(map_visit(map, append, &out), 0);
	expect_text(&out, "b=1 (ts:1)|a=2 (ts:2)|b=3 (ts:3)|");
	map_check(map, note, &out);
	expect_text(&out, "warning ts:3 duplicate key \"b\": ts:1 counts, this one never does|");

	fixed = open_map(dir, "static:x");
	assert_int_equal(map_visit(fixed, append, &out), 0);
	expect_text(&out, "*=x (static:x)|");
	map_check(fixed, note, &out);
	expect_text(&out, "");

	brief = open_map(dir, "inline:{ a=b, stop=1, c=d }");
	assert_int_equal(map_visit(brief, append, &out), 7);
	expect_text(&out, "a=b (inline:a)|stop=1 (inline:stop)|");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lookups),
		TEST(test_errors),
		TEST(test_file_types),
		TEST(test_refresh),
		TEST(test_refresh_keeps_the_old),
		TEST(test_refresh_without_file),
		TEST(test_refresh_unfinished),
		TEST(test_refresh_same_stat),
		TEST(test_validate),
		TEST(test_refresh_patterns),
		TEST(test_validate_patterns),
		TEST(test_visit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
