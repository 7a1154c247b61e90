/* test_compare - what a change of maps and levels means for each route, and which is weaker */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "base/macros.h"
#include "transport/compare.h"

static int is_local(void *arg, struct slice domain, struct error *err)
{
	(void)arg;
	if (slice_equal(domain, SLICE("broken.vm")))
		return error_set(err, -EIO, "the list of domains cannot be read");
	return slice_equal(domain, SLICE("local.vm")) ? MAP_FOUND : MAP_NOT_FOUND;
}

struct side {
	const char *maps; /* "": none */
	enum tls_level level;
	const char *relayhost;
	const char *policies; /* NULL: none */
};

static void open_side(const struct side *side, struct transport_options *ret)
{
	struct error error;

	*ret = (struct transport_options){
		.default_transport = "smtp",
		.default_transport_source = "default",
		.relayhost = side->relayhost,
		.relayhost_source = "conf:3",
		.tls = { .level = side->level, .source = "conf:7" },
		.can_verify = true,
		.has_local_dns = true,
		.is_local = is_local,
	};
	if (side->policies &&
	    maps_open(slice_from(side->policies), "/", &ret->tls_policy_maps, &error) < 0)
		fail_msg("%s", error.text);
	if (side->maps[0] &&
	    maps_open(slice_from(side->maps), "/", &ret->transport_maps, &error) < 0)
		fail_msg("%s", error.text);
}

static void note(void *arg, const struct transport_change *change)
{
	struct buf *out = arg;

	transport_change_format(change, out);
	buf_append_string(out, "\n");
}

#define ONES	"1111111111111111111111111111111111111111111111111111111111111111"
#define TWOS	"2222222222222222222222222222222222222222222222222222222222222222"
#define ENCRYPT TLS_LEVEL_ENCRYPT
#define MAY	TLS_LEVEL_MAY

static const struct {
	const char *label;
	struct side old, new;
	int weaker;
	const char *text;
} cases[] = {
	{ "nothing",
	  { "inline:{ { a.vm = relay:[x] } }", ENCRYPT, NULL },
	  { "inline:{ { A.vm = relay:[x] } }", ENCRYPT, NULL },
	  0,
	  "" },
	{ "a level goes up",
	  { "inline:{ { a.vm = relay:[x] tls=may } }", ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] tls=verify } }", ENCRYPT, NULL },
	  0,
	  "a.vm: relay:[x] tls=may (inline:a.vm) -> relay:[x] tls=verify (inline:a.vm)\n" },
	{ "a level goes down",
	  { "inline:{ { a.vm = relay:[x] tls=verify } }", ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] tls=encrypt } }", ENCRYPT, NULL },
	  1,
	  "a.vm: relay:[x] tls=verify (inline:a.vm) -> relay:[x] tls=encrypt (inline:a.vm); "
	  "this is weaker\n" },
	{ "the general level goes down",
	  { "inline:{ { a.vm = relay:[x] }, { b.vm = relay:[y] tls=verify } }", ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] }, { b.vm = relay:[y] tls=verify } }", MAY, NULL },
	  2,
	  "a.vm: relay:[x] tls=encrypt (inline:a.vm, tls of conf:7) -> "
	  "relay:[x] tls=may (inline:a.vm, tls of conf:7); this is weaker\n"
	  "whatever has no line: smtp: tls=encrypt (default, tls of conf:7) -> "
	  "smtp: tls=may (default, tls of conf:7); this is weaker\n" },
	{ "implicit TLS becomes STARTTLS",
	  { "inline:{ { a.vm = relay-smtps:[x] } }", MAY, NULL },
	  { "inline:{ { a.vm = relay:[x]:465 tls=encrypt }, { b.vm = relay-smtps:[x] } }", MAY,
	    NULL },
	  0,
	  "a.vm: relay-smtps:[x] tls=encrypt (inline:a.vm) -> "
	  "relay:[x]:465 tls=encrypt (inline:a.vm)\n"
	  "b.vm (new line): smtp: tls=may (default, tls of conf:7) -> "
	  "relay-smtps:[x] tls=encrypt (inline:b.vm)\n" },
	{ "implicit TLS becomes none",
	  { "inline:{ { a.vm = relay-smtps:[x] } }", MAY, NULL },
	  { "inline:{ { a.vm = relay:[x] } }", MAY, NULL },
	  1,
	  "a.vm: relay-smtps:[x] tls=encrypt (inline:a.vm) -> "
	  "relay:[x] tls=may (inline:a.vm, tls of conf:7); this is weaker\n" },
	{ "a line goes, and its mail falls to a weaker one",
	  { "inline:{ { a.vm = relay:[x] tls=verify }, { .vm = relay:[y] tls=may } }", ENCRYPT,
	    NULL },
	  { "inline:{ { .vm = relay:[y] tls=may } }", ENCRYPT, NULL },
	  1,
	  "a.vm (line is gone): relay:[x] tls=verify (inline:a.vm) -> "
	  "relay:[y] tls=may (inline:.vm); this is weaker\n" },
	{ "a line goes, and its mail falls to the relayhost",
	  { "inline:{ { .a.vm = relay:[x] tls=verify } }", ENCRYPT, "[hub]" },
	  { "", ENCRYPT, "[hub]" },
	  1,
	  ".a.vm (line is gone): relay:[x] tls=verify (inline:.a.vm) -> "
	  "relay:[hub] tls=encrypt (conf:3, tls of conf:7); this is weaker\n" },
	{ "a new line for what had a stronger one above it",
	  { "inline:{ { * = relay:[x] tls=verify } }", ENCRYPT, NULL },
	  { "inline:{ { * = relay:[x] tls=verify }, { bob@a.vm = relay:[y] tls=none } }", ENCRYPT,
	    NULL },
	  1,
	  "bob@a.vm (new line): relay:[x] tls=verify (inline:*) -> "
	  "relay:[y] tls=none (inline:bob@a.vm); this is weaker\n" },
	{ "an older version",
	  { "inline:{ { a.vm = relay:[x] protocols=>=TLSv1.3 } }", ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] } }", ENCRYPT, NULL },
	  1,
	  "a.vm: relay:[x] tls=encrypt protocols=>=TLSv1.3 (inline:a.vm, tls of conf:7) -> "
	  "relay:[x] tls=encrypt (inline:a.vm, tls of conf:7); this is weaker\n" },
	{ "a wider match",
	  { "inline:{ { a.vm = relay:[x] tls=verify match=a.b:c } }", ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] tls=verify match=.b:c } }", ENCRYPT, NULL },
	  1,
	  "a.vm: relay:[x] tls=verify match=a.b:c (inline:a.vm) -> "
	  "relay:[x] tls=verify match=.b:c (inline:a.vm); this is weaker\n" },
	{ "a narrower match, and another one",
	  { "inline:{ { a.vm = relay:[x] tls=secure }, { b.vm = relay:[y] tls=verify match=q } }",
	    ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] tls=secure match=nexthop }, "
	    "{ b.vm = relay:[y] tls=verify match=r } }",
	    ENCRYPT, NULL },
	  0,
	  "a.vm: relay:[x] tls=secure (inline:a.vm) -> "
	  "relay:[x] tls=secure match=nexthop (inline:a.vm)\n"
	  "b.vm: relay:[y] tls=verify match=q (inline:b.vm) -> "
	  "relay:[y] tls=verify match=r (inline:b.vm)\n" },
	{ "a match more than the default",
	  { "inline:{ { a.vm = relay:[x] tls=verify } }", ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] tls=verify match=hostname:other } }", ENCRYPT, NULL },
	  1,
	  "a.vm: relay:[x] tls=verify (inline:a.vm) -> "
	  "relay:[x] tls=verify match=hostname:other (inline:a.vm); this is weaker\n" },
	{ "names that DNS says instead of the route's, and the other way round",
	  { "inline:{ { a.vm = relay:[x] tls=verify }, { b.vm = relay:x tls=verify }, "
	    "{ c.vm = relay:x tls=verify } }",
	    ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:x tls=verify }, { b.vm = relay:[x] tls=verify }, "
	    "{ c.vm = relay:x tls=verify match=nexthop } }",
	    ENCRYPT, NULL },
	  1,
	  "a.vm: relay:[x] tls=verify (inline:a.vm) -> relay:x tls=verify (inline:a.vm); "
	  "this is weaker\n"
	  "b.vm: relay:x tls=verify (inline:b.vm) -> relay:[x] tls=verify (inline:b.vm)\n"
	  "c.vm: relay:x tls=verify (inline:c.vm) -> "
	  "relay:x tls=verify match=nexthop (inline:c.vm)\n" },
	{ "a fingerprint more, and one less",
	  { "inline:{ { a.vm = relay:[x] tls=fingerprint fingerprint=sha256:" ONES " }, "
	    "{ b.vm = relay:[x] tls=fingerprint fingerprint=sha256:" ONES "|sha256:" TWOS " } }",
	    ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] tls=fingerprint fingerprint=sha256:" ONES "|sha256:" TWOS
	    " }, { b.vm = relay:[x] tls=fingerprint fingerprint=sha256:" ONES " } }",
	    ENCRYPT, NULL },
	  1,
	  "a.vm: relay:[x] tls=fingerprint fingerprint=sha256:1111111111111111... (inline:a.vm) -> "
	  "relay:[x] tls=fingerprint "
	  "fingerprint=sha256:1111111111111111...|sha256:2222222222222222... (inline:a.vm); "
	  "this is weaker\n"
	  "b.vm: relay:[x] tls=fingerprint "
	  "fingerprint=sha256:1111111111111111...|sha256:2222222222222222... (inline:b.vm) -> "
	  "relay:[x] tls=fingerprint fingerprint=sha256:1111111111111111... (inline:b.vm)\n" },
	{ "dane alone is between may and encrypt, dane-only as good as secure",
	  { "inline:{ { a.vm = relay:[x] tls=may }, { b.vm = relay:[x] tls=encrypt }, "
	    "{ c.vm = relay:[x] tls=secure }, { d.vm = relay:[x] tls=dane-only } }",
	    ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] tls=dane }, { b.vm = relay:[x] tls=dane }, "
	    "{ c.vm = relay:[x] tls=dane-only }, { d.vm = relay:[x] tls=dane } }",
	    ENCRYPT, NULL },
	  2,
	  "a.vm: relay:[x] tls=may (inline:a.vm) -> relay:[x] tls=dane (inline:a.vm)\n"
	  "b.vm: relay:[x] tls=encrypt (inline:b.vm) -> relay:[x] tls=dane (inline:b.vm); "
	  "this is weaker\n"
	  "c.vm: relay:[x] tls=secure (inline:c.vm) -> relay:[x] tls=dane-only (inline:c.vm)\n"
	  "d.vm: relay:[x] tls=dane-only (inline:d.vm) -> relay:[x] tls=dane (inline:d.vm); "
	  "this is weaker\n" },
	{ "levels as good as each other, and a lower one",
	  { "inline:{ { a.vm = relay:[x] tls=secure }, "
	    "{ b.vm = relay:[y] tls=fingerprint fingerprint=sha256:" ONES " } }",
	    ENCRYPT, NULL },
	  { "inline:{ { a.vm = relay:[x] tls=fingerprint fingerprint=sha256:" ONES " }, "
	    "{ b.vm = relay:[y] tls=verify } }",
	    ENCRYPT, NULL },
	  1,
	  "a.vm: relay:[x] tls=secure (inline:a.vm) -> "
	  "relay:[x] tls=fingerprint fingerprint=sha256:1111111111111111... (inline:a.vm)\n"
	  "b.vm: relay:[y] tls=fingerprint fingerprint=sha256:1111111111111111... (inline:b.vm) -> "
	  "relay:[y] tls=verify (inline:b.vm); this is weaker\n" },
	{ "an entry of smtp_tls_policy_maps goes down, and one comes",
	  { "inline:{ { a.vm = relay:[x] } }", ENCRYPT, NULL, "inline:{ { [x] = verify } }" },
	  { "inline:{ { a.vm = relay:[x] } }", ENCRYPT, NULL,
	    "inline:{ { [x] = may }, { .c.vm = verify } }" },
	  1,
	  "a.vm: relay:[x] tls=verify (inline:a.vm, tls of inline:[x]) -> "
	  "relay:[x] tls=may (inline:a.vm, tls of inline:[x]); this is weaker\n"
	  ".c.vm (new line): smtp: tls=encrypt (default, tls of conf:7) -> "
	  "smtp: tls=verify (default, tls of inline:.c.vm)\n" },
	{ "a UNIX socket is off the network, and what comes back has what its line says",
	  { "inline:{ { a.vm = lmtp:[x] tls=verify }, { b.vm = lmtp:unix:/x } }", ENCRYPT, NULL },
	  { "inline:{ { a.vm = lmtp:unix:/x }, { b.vm = lmtp:[x] } }", ENCRYPT, NULL },
	  0,
	  "a.vm: lmtp:[x] tls=verify (inline:a.vm) -> lmtp:unix:/x (inline:a.vm)\n"
	  "b.vm: lmtp:unix:/x (inline:b.vm) -> lmtp:[x] tls=encrypt (inline:b.vm, tls of "
	  "conf:7)\n" },
	{ "mail that is refused, kept or thrown away is not sent weaker",
	  { "inline:{ { a.vm = relay:[x] }, { b.vm = error:no }, { local.vm = relay:[x] } }",
	    ENCRYPT, NULL },
	  { "inline:{ { a.vm = error:no }, { b.vm = relay:[x] tls=none } }", ENCRYPT, NULL },
	  0,
	  "a.vm: relay:[x] tls=encrypt (inline:a.vm, tls of conf:7) -> error:no (inline:a.vm)\n"
	  "b.vm: error:no (inline:b.vm) -> relay:[x] tls=none (inline:b.vm)\n"
	  "local.vm (line is gone): relay:[x] tls=encrypt (inline:local.vm, tls of conf:7) -> "
	  "virtual: (local)\n" },
	{ "keys that nothing asks for",
	  { "", ENCRYPT, NULL },
	  { "inline:{ { *.a.vm = relay:[x] tls=none }, { @b.vm = relay:[x] tls=none } }", ENCRYPT,
	    NULL },
	  0,
	  "" },
	{ "static: has every key",
	  { "static:{relay:[x] tls=verify}", ENCRYPT, NULL },
	  { "static:{relay:[x] tls=may}", ENCRYPT, NULL },
	  1,
	  NULL },
	{ "a pattern's level goes down",
	  { "regexp:{ {/@a\\.vm$/ relay:[x] tls=verify} }", ENCRYPT, NULL },
	  { "regexp:{ {/@a\\.vm$/ relay:[x] tls=may} }", ENCRYPT, NULL },
	  1,
	  "/@a\\.vm$/: relay:[x] tls=verify (regexp:{}:1) -> relay:[x] tls=may (regexp:{}:1); this "
	  "is weaker\n" },
	{ "a pattern goes",
	  { "regexp:{ {/@(.*\\.)?a\\.vm$/ relay:[x] tls=verify} }", ENCRYPT, "[hub]" },
	  { "", ENCRYPT, "[hub]" },
	  1,
	  "/@(.*\\.)?a\\.vm$/ (line is gone): relay:[x] tls=verify (regexp:{}:1) -> relay:[hub] "
	  "tls=encrypt (conf:3, tls of conf:7); this is weaker\n" },
	{ "a pattern takes over a domain's mail",
	  { "inline:{ { a.vm = relay:[x] tls=verify } }", ENCRYPT, NULL },
	  { "regexp:{ {/a\\.vm/ relay:[x] tls=may} } inline:{ { a.vm = relay:[x] tls=verify } }",
	    ENCRYPT, NULL },
	  2,
	  NULL },
	{ "a pattern of policies",
	  { "", ENCRYPT, NULL, "regexp:{ {/^a\\.vm$/ verify} }" },
	  { "", ENCRYPT, NULL, "regexp:{ {/^a\\.vm$/ may} }" },
	  1,
	  NULL },
	{ "patterns of what nobody can tell",
	  { "regexp:{ {/\\w@a/ relay:[x] tls=verify} }", ENCRYPT, NULL },
	  { "regexp:{ {/\\w@a/ relay:[x] tls=may} }", ENCRYPT, NULL },
	  0,
	  "" },
};

static void test_compare(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct transport_options old, new;
		struct buf text = { 0 };
		struct error error;
		int weaker;

		open_side(&cases[i].old, &old);
		open_side(&cases[i].new, &new);
		weaker = transport_compare(&old, &new, note, &text, &error);
		buf_append(&text, "", 1);
		if (weaker != cases[i].weaker ||
		    (cases[i].text && strcmp(buf_slice(&text).ptr, cases[i].text) != 0))
			fail_msg("%s: %d weaker\n%s", cases[i].label, weaker, buf_slice(&text).ptr);
		buf_done(&text);
		maps_free(old.transport_maps);
		maps_free(old.tls_policy_maps);
		maps_free(new.transport_maps);
		maps_free(new.tls_policy_maps);
	}
}

/* What cannot be told is no "nothing". */
static void test_failure(void **state)
{
	const struct side side = { "inline:{ { broken.vm = relay:[x] } }", ENCRYPT, NULL };
	struct transport_options old, new;
	struct buf text = { 0 };
	struct error error;

	(void)state;
	open_side(&side, &old);
	open_side(&side, &new);
	assert_int_equal(transport_compare(&old, &new, note, &text, &error), -EIO);
	maps_free(old.transport_maps);
	maps_free(old.tls_policy_maps);
	maps_free(new.transport_maps);
	maps_free(new.tls_policy_maps);
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
