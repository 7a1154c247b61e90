/* test_expand - whom an address stands for, and who is known at RCPT */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/macros.h"
#include "edge/edge.h"

#define ROOT_USER "root" /* of the system; there is one everywhere */

struct fixture {
	struct edge_options options;
	struct edge *edge;
};

static struct domains *open_domains(const char *list)
{
	struct domains *domains = NULL;
	struct error err;

	if (domains_open(slice_from(list), "/", &domains, &err) < 0)
		fail_msg("%s", err.text);
	return domains;
}

/* vm1.vm has mailboxes, a.vm and c.vm aliases, l.vm and localhost the system's users. */
static void open_edge(struct fixture *f, const char *virtual_aliases, const char *local_aliases)
{
	struct error err;

	f->options.origin = "vm1.vm";
	f->options.hostname = "mail.vm1.vm";
	f->options.recipient_delimiter = "+";
	f->options.propagated |= EDGE_PROPAGATE_VIRTUAL;
	f->options.home_mailbox = "Maildir/";
	f->options.has_system_users = true;
	f->options.mailbox_domains = open_domains("vm1.vm");
	f->options.alias_domains = open_domains("a.vm, c.vm");
	f->options.local_domains = open_domains("l.vm, localhost");
	f->options.relay_domains = open_domains("backup.vm");
	if (maps_open(SLICE("inline:{ alice@vm1.vm = a/, bob@vm1.vm = b/ }"), "/",
		      &f->options.mailbox_maps, &err) < 0 ||
	    maps_open(slice_from(virtual_aliases), "/", &f->options.virtual_aliases, &err) < 0 ||
	    maps_open_aliases(slice_from(local_aliases), "/", &f->options.local_aliases, &err) <
		    0 ||
	    edge_new(&f->options, &f->edge, &err) < 0)
		fail_msg("%s", err.text);
}

static void close_edge(struct fixture *f)
{
	edge_free(f->edge);
	domains_free(f->options.mailbox_domains);
	domains_free(f->options.alias_domains);
	domains_free(f->options.local_domains);
	domains_free(f->options.relay_domains);
	maps_free(f->options.mailbox_maps);
	maps_free(f->options.virtual_aliases);
	maps_free(f->options.local_aliases);
	*f = (struct fixture){ 0 };
}

/* "ADDRESS ADDRESS", "-" for itself, or "451 4.6.0". */
static char *expand(struct edge *edge, const char *recipient)
{
	struct mta_expansion expansion = { 0 };
	struct arena arena = { 0 };
	struct smtp_status status;
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];
	struct buf out = { 0 };

	smtp_status_set(&status, 250, ESC(2, 1, 5), "Ok");
	edge_policy.expand(edge, recipient, &arena, &expansion, &status);
	if (status.code != 250)
		buf_printf(&out, "%d %s", status.code,
			   smtp_status_enhanced_text(&status, enhanced));
	else if (!expansion.is_alias)
		buf_append_string(&out, "-");
	for (size_t i = 0; i < expansion.count; i++)
		buf_printf(&out, "%s%s", i ? " " : "", expansion.addresses[i]);
	arena_done(&arena);
	return buf_steal_string(&out);
}

static const char *const virtual_aliases =
	"inline:{ {x@a.vm = alice@vm1.vm}, {two@a.vm = alice@vm1.vm, bob}, {words@a.vm = x y@b.c},"
	" {self@vm1.vm = self@vm1.vm, bob@vm1.vm}, {loop@a.vm = loop2@a.vm},"
	" {loop2@a.vm = loop@a.vm}, {exit@a.vm = exit2@a.vm, z@b.c}, {exit2@a.vm = exit@a.vm},"
	" {dup@a.vm = d@b.c, d@b.c, D@B.C}, {@c.vm = @vm1.vm}, {known@c.vm = k@b.c},"
	" {user = cc@b.c}, {one@c.vm = ONE@c.vm}, {nested@a.vm = two@a.vm, x@a.vm, n@b.c},"
	" {bad@a.vm = foo@bar@baz}, {cmd@a.vm = \"|/bin/x\"}, {none@a.vm = ,},"
	" {q@a.vm = \"a b\"@b.c}, {tolocal@a.vm = team@l.vm}, {ext+y@a.vm = exact@b.c},"
	" {ext@a.vm = t@a.vm}, {admin@l.vm = virtual@b.c}, {\"in q\"@a.vm = quoted@b.c} }";

static const char *const local_aliases =
	"inline:{ {root = alice@vm1.vm, root}, {team = root@l.vm, bob@vm1.vm, helper},"
	" {ring = ring2@l.vm}, {ring2 = ring@l.vm}, {postmaster = root@l.vm}, {prog = |/bin/x},"
	" {me = me@l.vm, x@b.c}, {chief = admin@l.vm}, {back = \\alice}, {out = x@a.vm},"
	" {lists+one = l1@b.c}, {lists = l@b.c} }";

static const struct {
	const char *recipient, *want;
} cases[] = {
	{ "alice@vm1.vm", "-" },
	{ "x@b.c", "-" },
	{ "x@a.vm", "alice@vm1.vm" },
	{ "X@A.vm", "alice@vm1.vm" },
	{ "two@a.vm", "alice@vm1.vm bob@vm1.vm" },
	{ "words@a.vm", "x@vm1.vm y@b.c" },
	{ "self@vm1.vm", "self@vm1.vm bob@vm1.vm" },
	{ "loop@a.vm", "451 4.6.0" },
	{ "exit@a.vm", "z@b.c" },
	{ "exit2@a.vm", "z@b.c" },
	{ "dup@a.vm", "d@b.c" },
	{ "any@c.vm", "any@vm1.vm" },
	{ "any+x@c.vm", "any+x@vm1.vm" },
	{ "known@c.vm", "k@b.c" },
	{ "user@vm1.vm", "cc@b.c" },
	{ "user+x@vm1.vm", "cc+x@b.c" },
	{ "user@localhost", "cc@b.c" },
	{ "user@x.y", "-" },
	{ "one@c.vm", "ONE@c.vm" },
	{ "one+z@c.vm", "ONE+z@c.vm" },
	{ "x+y@a.vm", "alice+y@vm1.vm" },
	{ "two+y@a.vm", "alice+y@vm1.vm bob+y@vm1.vm" },
	{ "ext+y@a.vm", "exact@b.c" },
	{ "ext+z@a.vm", "t+z@a.vm" },
	{ "nested@a.vm", "alice@vm1.vm bob@vm1.vm n@b.c" },
	{ "bad@a.vm", "451 4.3.5" },
	{ "cmd@a.vm", "451 4.3.5" },
	{ "none@a.vm", "451 4.3.5" },
	{ "q@a.vm", "\"a b\"@b.c" },
	{ "\"in q\"@a.vm", "quoted@b.c" },
	{ "\"x\"@a.vm", "alice@vm1.vm" },
	/* those of local users, without regard to case, and without an extension */
	{ "ROOT@l.vm", "alice@vm1.vm root@vm1.vm" },
	{ "root+x@localhost", "alice@vm1.vm root@vm1.vm" },
	{ "me@l.vm", "me@l.vm x@b.c" },
	{ "team@l.vm", "alice@vm1.vm root@vm1.vm bob@vm1.vm helper@vm1.vm" },
	{ "tolocal@a.vm", "alice@vm1.vm root@vm1.vm bob@vm1.vm helper@vm1.vm" },
	{ "ring@l.vm", "451 4.6.0" },
	{ "prog@l.vm", "451 4.3.5" },
	{ "root@vm1.vm", "-" },
	{ "admin@l.vm", "virtual@b.c" },
	{ "chief@l.vm", "admin@l.vm" }, /* as local(8), which asks no virtual_alias_maps */
	{ "back@l.vm", "alice@vm1.vm" },
	{ "out@l.vm", "alice@vm1.vm" },
	{ "lists+one@l.vm", "l1@b.c" },
	{ "lists+two@l.vm", "l@b.c" },
	/* RFC 5321 section 4.5.1 */
	{ "postmaster@l.vm", "alice@vm1.vm root@vm1.vm" },
	{ "Postmaster@vm1.vm", "alice@vm1.vm root@vm1.vm" },
	{ "postmaster@a.vm", "alice@vm1.vm root@vm1.vm" },
	{ "postmaster@c.vm", "alice@vm1.vm root@vm1.vm" },
	{ "postmaster@b.c", "-" },
};

static void test_expand(void **state)
{
	struct fixture f = { 0 };

	(void)state;
	open_edge(&f, virtual_aliases, local_aliases);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *got = expand(f.edge, cases[i].recipient);

		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: got %s, wanted %s", cases[i].recipient, got, cases[i].want);
		free(got);
	}
	close_edge(&f);
}

static const struct {
	const char *recipient;
	int code;
	const char *text;
} known[] = {
	{ "alice@vm1.vm", 250, "Ok" },
	{ "x@a.vm", 250, "Ok" },
	{ "nobody.there@vm1.vm", 550,
	  "<nobody.there@vm1.vm>: Recipient address rejected: User unknown in virtual mailbox "
	  "table" },
	{ "nobody.there@a.vm", 550,
	  "<nobody.there@a.vm>: Recipient address rejected: User unknown in virtual alias table" },
	{ "nobody.there@l.vm", 450,
	  "<nobody.there@l.vm>: Recipient address rejected: User unknown in local recipient "
	  "table" },
	{ ROOT_USER "@localhost", 250, "Ok" },
	{ ROOT_USER "+x@localhost", 250, "Ok" },
	{ "team@l.vm", 250, "Ok" },
	{ "self@vm1.vm", 250, "Ok" },
	{ "postmaster@a.vm", 250, "Ok" },
	{ "x@backup.vm", 250, "Ok" },
	{ "x+y@backup.vm", 250, "Ok" },
	{ "nobody.there@backup.vm", 550,
	  "<nobody.there@backup.vm>: Recipient address rejected: User unknown in relay recipient "
	  "table" },
	{ "x%b.c@backup.vm", 554, "<x%b.c@backup.vm>: Relay access denied" },
	{ "x@b.c", 554, "<x@b.c>: Relay access denied" },
};

static void test_who_is_known(void **state)
{
	struct net_address address;
	struct mta_client client = { .address = &address, .hello = "" };
	struct fixture f = { 0 };

	(void)state;
	assert_true(net_address_parse_ip(SLICE("192.0.2.7"), 1, &address));
	f.options.unknown_local_code = 450; /* as a how-to has it */
	assert_return_code(maps_open(SLICE("inline:{ x@backup.vm = y }"), "/",
				     &f.options.relay_recipient_maps, NULL),
			   0);
	open_edge(&f, virtual_aliases, local_aliases);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct smtp_status status;

		edge_policy.check_recipient(f.edge, &client, "x@b.c", known[i].recipient, &status);
		if (status.code != known[i].code || strcmp(status.text, known[i].text) != 0 ||
		    status.enhanced.class != (unsigned int)known[i].code / 100)
			fail_msg("%s: got %d %s", known[i].recipient, status.code, status.text);
	}
	maps_free(f.options.relay_recipient_maps);
	assert_true(edge_policy.recipient_blocks(f.edge, "x@l.vm"));
	assert_false(edge_policy.recipient_blocks(f.edge, "x@vm1.vm"));
	close_edge(&f);
}

/* Nobody uses an address of ours, an alias included, without having logged in. */
static void test_senders(void **state)
{
	static const char *const ours[] = { "alice@vm1.vm", "x@a.vm", "root@localhost",
					    "nobody@l.vm" };
	struct net_address address;
	struct mta_client client = { .address = &address, .hello = "" };
	struct fixture f = { 0 };
	struct smtp_status status;

	(void)state;
	assert_true(net_address_parse_ip(SLICE("192.0.2.7"), 1, &address));
	open_edge(&f, virtual_aliases, local_aliases);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		edge_policy.check_sender(f.edge, &client, ours[i], &status);
		assert_int_equal(status.code, 553);
	}
	edge_policy.check_sender(f.edge, &client, "x@backup.vm", &status);
	assert_int_equal(status.code, 250);

	/* An alias belongs to nobody, unless smtpd_sender_login_maps say to whom. */
	client.user = "alice@vm1.vm";
	edge_policy.check_sender(f.edge, &client, "x@a.vm", &status);
	assert_int_equal(status.code, 553);
	close_edge(&f);
	assert_return_code(
		maps_open(slice_from(virtual_aliases), "/", &f.options.sender_login_maps, NULL), 0);
	open_edge(&f, virtual_aliases, local_aliases);
	edge_policy.check_sender(f.edge, &client, "x@a.vm", &status);
	assert_int_equal(status.code, 250);
	maps_free(f.options.sender_login_maps);
	close_edge(&f);
}

static void test_mailboxes(void **state)
{
	struct fixture f = { 0 };
	struct arena arena = { 0 };
	struct edge_mailbox mailbox;

	(void)state;
	open_edge(&f, virtual_aliases, local_aliases);
	assert_int_equal(edge_find_mailbox(f.edge, "bob+x@vm1.vm", &arena, &mailbox, NULL),
			 MAP_FOUND);
	assert_int_equal(mailbox.kind, EDGE_MAILBOX_VIRTUAL);
	assert_string_equal(mailbox.path, "b/");
	assert_int_equal(edge_find_mailbox(f.edge, "ROOT+x@l.vm", &arena, &mailbox, NULL),
			 MAP_FOUND);
	assert_int_equal(mailbox.kind, EDGE_MAILBOX_HOME);
	assert_string_equal(mailbox.path, "Maildir/");
	assert_string_equal(mailbox.user, ROOT_USER);
	assert_int_equal(edge_find_mailbox(f.edge, "alice@a.vm", &arena, &mailbox, NULL),
			 MAP_NOT_FOUND);
	assert_int_equal(edge_find_mailbox(f.edge, "no.such.user@l.vm", &arena, &mailbox, NULL),
			 MAP_NOT_FOUND);
	assert_int_equal(edge_find_mailbox(f.edge, "../etc@l.vm", &arena, &mailbox, NULL),
			 MAP_NOT_FOUND);
	arena_done(&arena);
	close_edge(&f);
}

/* ---- limits ---- */

static void test_limits(void **state)
{
	struct buf deep = { 0 }, wide = { 0 };
	struct fixture f = { 0 };
	char *got, *deep_text, *wide_text;

	(void)state;
	buf_append_string(&deep, "inline:{ ");
	for (int i = 0; i < 20; i++)
		buf_printf(&deep, "{d%d@a.vm = d%d@a.vm}, ", i, i + 1);
	buf_append_string(&deep, "{z = z} }");
	buf_append_string(&wide, "inline:{ {w@a.vm = ");
	for (int i = 0; i < 20; i++)
		buf_printf(&wide, "w%d@b.c, ", i);
	buf_append_string(&wide, "} }");
	deep_text = buf_steal_string(&deep);
	wide_text = buf_steal_string(&wide);

	for (unsigned int limit = 19; limit <= 21; limit++) {
		f.options.recursion_limit = limit;
		open_edge(&f, deep_text, "inline:{ a = b }");
		got = expand(f.edge, "d0@a.vm");
		assert_string_equal(got, limit > 20 ? "d20@a.vm" : "451 4.6.0");
		free(got);
		close_edge(&f);

		f.options.expansion_limit = limit;
		open_edge(&f, wide_text, "inline:{ a = b }");
		got = expand(f.edge, "w@a.vm");
		assert_int_equal(strcmp(got, "451 4.6.0") == 0, limit < 20);
		free(got);
		close_edge(&f);
	}
	free(deep_text);
	free(wide_text);
}

/* ---- files to include ---- */

static void write_file(const char *path, const char *text)
{
	FILE *stream = fopen(path, "we");

	assert_non_null(stream);
	fputs(text, stream);
	fclose(stream);
}

static void expect(struct edge *edge, const char *recipient, const char *want)
{
	char *got = expand(edge, recipient);

	assert_string_equal(got, want);
	free(got);
}

static void test_includes(void **state)
{
	char dir[] = "/tmp/expand.XXXXXX", path[64], aliases[200];
	struct fixture f = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/members", dir);
	snprintf(aliases, sizeof(aliases),
		 "inline:{ {list = :include:%s}, {gone = :include:%s.not} }", path, path);
	write_file(path, "# a list\nalice@vm1.vm,\n  bob@vm1.vm\n\nx@b.c list\n");
	open_edge(&f, "inline:{ a = b }", aliases);
	expect(f.edge, "list@l.vm", "alice@vm1.vm bob@vm1.vm x@b.c list@vm1.vm");
	expect(f.edge, "gone@l.vm", "451 4.3.0");

	write_file(path, "carol@b.c, and.others@b.c\n");
	edge_refresh(f.edge, NULL);
	expect(f.edge, "list@l.vm", "carol@b.c and.others@b.c");
	write_file(path, "carol@b.c, |/bin/sh, x\n");
	edge_refresh(f.edge, NULL);
	expect(f.edge, "list@l.vm", "451 4.3.5");
	unlink(path);
	edge_refresh(f.edge, NULL);
	expect(f.edge, "list@l.vm", "451 4.3.5");
	close_edge(&f);
	rmdir(dir);
}

/* ---- random graphs beside a model ---- */

#define NODES 12

struct graph {
	unsigned int members[NODES]; /* a bit for each member; 0: no alias */
};

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void make_graph(struct graph *g, uint32_t *seed)
{
	*g = (struct graph){ 0 };
	for (int i = 0; i < NODES; i++)
		for (unsigned int n = next_random(seed) % 5; n > 0 && next_random(seed) % 3; n--)
			g->members[i] |= 1u << next_random(seed) % NODES;
}

/* What can be reached, and is no alias or stands for itself, too. */
static unsigned int model(const struct graph *g, int start)
{
	unsigned int seen = 1u << start, before = 0, leaves = 0;

	while (seen != before) {
		before = seen;
		for (int i = 0; i < NODES; i++)
			if (seen & 1u << i)
				seen |= g->members[i];
	}
	for (int i = 0; i < NODES; i++)
		if ((seen & 1u << i) && (!g->members[i] || (g->members[i] & 1u << i)))
			leaves |= 1u << i;
	return leaves;
}

static char *write_graph(const struct graph *g, const char *domain)
{
	struct buf out = { 0 };

	buf_append_string(&out, "inline:{ {zz = zz}");
	for (int i = 0; i < NODES; i++) {
		if (!g->members[i])
			continue;
		buf_printf(&out, ", {n%d%s =", i, domain[0] ? domain : "");
		for (int k = 0; k < NODES; k++)
			if (g->members[i] & 1u << k)
				buf_printf(&out, " n%d%s", k, domain[0] ? domain : "@l.vm");
		buf_append_string(&out, "}");
	}
	buf_append_string(&out, " }");
	return buf_steal_string(&out);
}

static void compare(struct fixture *f, const struct graph *g, int start, const char *domain)
{
	unsigned int want = model(g, start), got = 0;
	char recipient[32], *text;
	struct slice rest, word;

	snprintf(recipient, sizeof(recipient), "n%d%s", start, domain);
	text = expand(f->edge, recipient);
	if (!g->members[start]) {
		assert_string_equal(text, "-");
	} else if (want == 0) {
		assert_string_equal(text, "451 4.6.0");
	} else {
		rest = slice_from(text);
		while (slice_next_word(&rest, " ", &word)) {
			unsigned int bit = 1u << atoi(word.ptr + 1);

			assert_false(got & bit); /* each once */
			got |= bit;
		}
		assert_int_equal(got, want);
	}
	free(text);
}

static void test_random_graphs(void **state)
{
	uint32_t seed = 20261121;

	(void)state;
	for (int i = 0; i < 300; i++) {
		bool is_local = i % 2;
		struct fixture f = { 0 };
		struct graph g;
		char *text;

		make_graph(&g, &seed);
		text = write_graph(&g, is_local ? "" : "@a.vm");
		open_edge(&f, is_local ? "inline:{ a = b }" : text,
			  is_local ? text : "inline:{ a = b }");
		for (int start = 0; start < NODES; start++)
			compare(&f, &g, start, is_local ? "@l.vm" : "@a.vm");
		close_edge(&f);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expand),	      cmocka_unit_test(test_who_is_known),
		cmocka_unit_test(test_senders),	      cmocka_unit_test(test_mailboxes),
		cmocka_unit_test(test_limits),	      cmocka_unit_test(test_includes),
		cmocka_unit_test(test_random_graphs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
