/* test_maps - lists of maps and of domains */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "base/buf.h"
#include "base/macros.h"
#include "maps/internal.h"

static const struct {
	const char *list;
	const char *items; /* each behind a '|'; "!" and the error */
} lists[] = {
	{ "", "" },
	{ " ,\t,\n", "" },
	{ "hash:a", "|hash:a" },
	{ "hash:a, static:b", "|hash:a|static:b" },
	{ "hash:a hash:b,hash:c\n", "|hash:a|hash:b|hash:c" },
	{ "inline:{ a = b, c = d }, hash:x", "|inline:{ a = b, c = d }|hash:x" },
	{ "inline:{ {a = b}, {c=d} }x y", "|inline:{ {a = b}, {c=d} }x|y" },
	{ "a} b", "|a}|b" },
	{ "hash:x, inline:{ a = { b }", "|hash:x!missing '}' in \"inline:{ a = { b }\"" },
};

static void test_list_next(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		struct slice rest = slice_from(lists[i].list), item;
		struct error error = { 0 };
		char got[256] = "";
		size_t n = 0;
		int r;

		while ((r = map_list_next(&rest, &item, &error)) > 0)
			n += (size_t)snprintf(got + n, sizeof(got) - n, "|%.*s", (int)item.len,
					      item.ptr);
		if (r < 0)
			snprintf(got + n, sizeof(got) - n, "!%s", error.text);
		if (strcmp(got, lists[i].items) != 0)
			fail_msg("%s: got %s", lists[i].list, got);
	}
}

static const struct {
	const char *specs, *key, *want;
} lookups[] = {
	{ "", "a", "-" },
	{ "inline:{a=1}", "a", "1" },
	{ "inline:{a=1}, inline:{a=2, b=3}", "a", "1" },
	{ "inline:{a=1}, inline:{a=2, b=3}", "b", "3" },
	{ "inline:{a=1}, static:4, inline:{b=3}", "b", "4" },
	{ "inline:{a=1} inline:{b=3}", "c", "-" },
};

static void test_lookup(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lookups); i++) {
		CLEANUP(maps_freep) struct maps *maps = NULL;
		struct map_result result = { .value = "-" };
		struct arena arena = { 0 };

		assert_int_equal(maps_open(slice_from(lookups[i].specs), NULL, &maps, NULL), 0);
		maps_lookup(maps, slice_from(lookups[i].key), &arena, &result, NULL);
		if (strcmp(result.value, lookups[i].want) != 0)
			fail_msg("%s: got %s", lookups[i].specs, result.value);
		arena_done(&arena);
	}
}

static const struct {
	const char *list, *domain;
	int outcome;
} matches[] = {
	{ "", "vm1.vm", MAP_NOT_FOUND },
	{ "vm1.vm", "vm1.vm", MAP_FOUND },
	{ "vm1.vm", "VM1.vm", MAP_FOUND },
	{ "VM1.vm", "vm1.VM", MAP_FOUND },
	{ "vm1.vm", "a.vm1.vm", MAP_NOT_FOUND },
	{ "vm1.vm", "xvm1.vm", MAP_NOT_FOUND },
	{ "vm1.vm", "", MAP_NOT_FOUND },
	{ ".vm1.vm", "vm1.vm", MAP_NOT_FOUND },
	{ ".vm1.vm", "a.vm1.vm", MAP_FOUND },
	{ ".vm1.vm", "a.b.Vm1.vm", MAP_FOUND },
	{ ".vm1.vm", "avm1.vm", MAP_NOT_FOUND },
	{ "vm1.vm, .vm2.vm vm3.vm", "vm3.vm", MAP_FOUND },
	{ "!a.vm, .vm", "a.vm", MAP_NOT_FOUND },
	{ "!a.vm, .vm", "b.vm", MAP_FOUND },
	{ ".vm, !a.vm", "a.vm", MAP_FOUND },
	{ "inline:{ vm1.vm=x, .vm2.vm=y }, vm3.vm", "vm1.vm", MAP_FOUND },
	{ "inline:{ vm1.vm=x, .vm2.vm=y }, vm3.vm", "a.vm1.vm", MAP_NOT_FOUND },
	{ "inline:{ vm1.vm=x, .vm2.vm=y }, vm3.vm", "vm2.vm", MAP_NOT_FOUND },
	{ "inline:{ vm1.vm=x, .vm2.vm=y }, vm3.vm", "a.b.vm2.vm", MAP_FOUND },
	{ "inline:{ vm1.vm=x, .vm2.vm=y }, vm3.vm", "VM3.vm", MAP_FOUND },
	{ "inline:{ .vm=x }", "vm", MAP_NOT_FOUND },
	{ "inline:{ .vm=x }", "a.vm", MAP_FOUND },
	{ "!inline:{ .vm=x } static:all", "a.vm", MAP_NOT_FOUND },
	{ "!inline:{ .vm=x } static:all", "a.xm", MAP_FOUND },
	{ "regexp:{ {/^a\\.vm$/ x} }", "A.vm", MAP_FOUND },
	{ "regexp:{ {/^\\.vm$/ x} }", "a.vm", MAP_NOT_FOUND },
	{ "regexp:{ {/\\.vm$/ x} }", "a.b.vm", MAP_FOUND },
	{ "regexp:{ {!/^a\\.vm$/ x} }", "a.vm", MAP_NOT_FOUND },
	{ "!regexp:{ {/^a\\.vm$/ x} } .vm", "a.vm", MAP_NOT_FOUND },
	{ "!regexp:{ {/^a\\.vm$/ x} } .vm", "b.vm", MAP_FOUND },
	{ "regexp:{ {/^(.*)$/ $1} }", "a.vm", MAP_FOUND },
	{ "[IPv6:2001:db8::1]", "[ipv6:2001:DB8::1]", MAP_FOUND },
	{ "inline:{ .2.3]=x }", "[0.1.2.3]", MAP_NOT_FOUND },
};

static void test_domains(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(matches); i++) {
		CLEANUP(domains_freep) struct domains *domains = NULL;
		struct error error = { 0 };
		int r;

		if (domains_open(slice_from(matches[i].list), NULL, &domains, &error) < 0)
			fail_msg("%s: %s", matches[i].list, error.text);
		r = domains_match(domains, slice_from(matches[i].domain), &error);
		if (r != matches[i].outcome)
			fail_msg("%s, %s: got %d", matches[i].list, matches[i].domain, r);
		assert_int_equal(domains_refresh(domains, &error), MAP_NOT_CHANGED);
	}
}

static int note_domain(void *arg, const char *key, const char *value, const char *source)
{
	buf_printf(arg, "%s=%s (%s) ", key, value, source ? source : "");
	return strcmp(key, "stop") == 0 ? 7 : 0;
}

static void test_domains_visit(void **state)
{
	CLEANUP(domains_freep) struct domains *domains = NULL;
	CLEANUP(free_strp) char *got = NULL;
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(domains_open(SLICE("a.vm, .b.vm !c.vm inline:{ d.vm=x } !inline:{ e=x } "
					    "static:all regexp:{ {/f/ x} } stop g.vm"),
				      NULL, &domains, NULL),
			 0);
	assert_int_equal(domains_visit(domains, note_domain, &out), 7);
	got = buf_steal_string(&out);
	assert_string_equal(got, "a.vm= () .b.vm= () d.vm=x (inline:d.vm) stop= () ");
}

static void note(void *arg, bool is_error, const char *source, const char *text)
{
	buf_printf(arg, "%s %s: %s\n", is_error ? "error" : "warning", source, text);
}

static void expect_text(struct buf *out, const char *want)
{
	CLEANUP(free_strp) char *got = buf_steal_string(out);

	assert_string_equal(got, want);
}

static void test_diagnose(void **state)
{
	const struct slice specs = SLICE("hash:ts, hash:gone, hsah:ts inline:{a=b}, static:{");
	const struct slice list = SLICE("vm1.vm, hash:ts, user@vm1.vm !hash:gone *.vm !");
	char dir[] = "/tmp/test_maps.XXXXXX", path[64];
	struct buf out = { 0 };
	struct maps *maps = NULL;
	struct domains *domains = NULL;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ts", dir);
	file = fopen(path, "we");
	fputs("a\nb c\nd\n", file);
	fclose(file);

	assert_true(maps_open(specs, dir, &maps, NULL) < 0);
	maps_diagnose(specs, dir, note, &out);
	expect_text(&out,
		    "error ts:1: expected \"key value\", found only \"a\"\n"
		    "error ts:3: expected \"key value\", found only \"d\"\n"
		    "error hash:gone: gone: No such file or directory\n"
		    "error hsah:ts: unknown map type \"hsah\"; did you mean hash?\n"
		    "error hash:ts, hash:gone, hsah:ts inline:{a=b}, static:{: missing '}' in "
		    "\"static:{\"\n");

	assert_true(domains_open(list, dir, &domains, NULL) < 0);
	domains_diagnose(list, dir, note, &out);
	expect_text(
		&out,
		"error ts:1: expected \"key value\", found only \"a\"\n"
		"error ts:3: expected \"key value\", found only \"d\"\n"
		"error user@vm1.vm: \"user@vm1.vm\": expected a domain, .domain for its "
		"subdomains, or a map\n"
		"error hash:gone: gone: No such file or directory\n"
		"error *.vm: \"*.vm\": expected a domain, .domain for its subdomains, or a map\n"
		"error !: \"!\": expected a domain, .domain for its subdomains, or a map\n");
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_next), cmocka_unit_test(test_lookup),
		cmocka_unit_test(test_domains),	  cmocka_unit_test(test_domains_visit),
		cmocka_unit_test(test_diagnose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
