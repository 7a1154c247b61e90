/* test_edge - who may send what through an edge (interface.md section 5.6 in words) */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <sqlite3.h>

#include "base/macros.h"
#include "edge/edge.h"

static const struct {
	const char *client, *user, *sender, *recipient;
	int sender_code, recipient_code;
} cases[] = {
	/* nobody in particular: to our mailboxes only, and not as one of us */
	{ "192.0.2.7", NULL, "bob@vm2.vm", "alice@vm1.vm", 250, 250 },
	{ "192.0.2.7", NULL, "bob@vm2.vm", "ALICE@VM1.vm", 250, 250 },
	{ "192.0.2.7", NULL, "", "alice@vm1.vm", 250, 250 },
	{ "192.0.2.7", NULL, "bob@vm2.vm", "nobody@vm1.vm", 250, 550 },
	{ "192.0.2.7", NULL, "bob@vm2.vm", "beta@vm3.vm", 250, 554 },
	{ "192.0.2.7", NULL, "alice@vm1.vm", "test1@vm1.vm", 553, 250 },
	{ "192.0.2.7", NULL, "Alice@VM1.VM", "test1@vm1.vm", 553, 250 },
	{ "192.0.2.7", NULL, "nobody@vm1.vm", "test1@vm1.vm", 553, 250 },
	{ "127.0.0.1", NULL, "alice@vm1.vm", "bob@vm2.vm", 553,
	  554 }, /* no privilege of this host */
	/* a user: anywhere, as himself */
	{ "192.0.2.7", "alice@vm1.vm", "alice@vm1.vm", "bob@vm2.vm", 250, 250 },
	{ "192.0.2.7", "alice@vm1.vm", "ALICE@vm1.vm", "bob@vm2.vm", 250, 250 },
	{ "192.0.2.7", "alice@vm1.vm", "test1@vm1.vm", "bob@vm2.vm", 553, 250 },
	{ "192.0.2.7", "alice@vm1.vm", "ceo@vm2.vm", "bob@vm2.vm", 553, 250 },
	{ "192.0.2.7", "alice@vm1.vm", "", "bob@vm2.vm", 250, 250 },
	/* a trusted network: anything */
	{ "10.0.0.9", NULL, "alice@vm1.vm", "bob@vm2.vm", 250, 250 },
};

struct fixture {
	char dir[32], users[64];
	struct edge_options options;
	struct net_prefix network;
	struct edge *edge;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err;
	char passdb[100];
	FILE *stream;

	strcpy(f->dir, "/tmp/edge.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->users, sizeof(f->users), "%s/users", f->dir);
	snprintf(passdb, sizeof(passdb), "passwd-file:%s", f->users);
	stream = fopen(f->users, "we");
	fputs("alice@vm1.vm:{PLAIN}alice\ntest1@vm1.vm:{PLAIN}test1\n", stream);
	fclose(stream);

	f->options.hostname = "mta1.vm1.vm";
	f->options.mailbox_base = f->dir;
	f->options.passdb = passdb;
	assert_return_code(net_prefix_parse(SLICE("10.0.0.0/8"), &f->network, &err), 0);
	f->options.networks.prefixes = &f->network;
	f->options.networks.count = 1;
	assert_return_code(domains_open(SLICE("vm1.vm"), "/", &f->options.mailbox_domains, &err),
			   0);
	if (edge_new(&f->options, &f->edge, &err) < 0)
		fail_msg("%s", err.text);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	edge_free(f->edge);
	domains_free(f->options.mailbox_domains);
	unlink(f->users);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void test_who_may_send(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_address address;
		struct mta_client client = { .address = &address,
					     .hello = "",
					     .user = cases[i].user };
		struct smtp_status status;

		assert_true(net_address_parse_ip(slice_from(cases[i].client), 1, &address));
		edge_policy.check_sender(f->edge, &client, cases[i].sender, &status);
		if (status.code != cases[i].sender_code)
			fail_msg("case %zu, sender: %d %s", i, status.code, status.text);
		edge_policy.check_recipient(f->edge, &client, cases[i].sender, cases[i].recipient,
					    &status);
		if (status.code != cases[i].recipient_code)
			fail_msg("case %zu, recipient: %d %s", i, status.code, status.text);
	}
}

static void test_keys(void **state)
{
	static const struct {
		const char *maps, *address, *value; /* value NULL: not found */
	} keys[] = {
		{ "inline:{ alice@vm1.vm=a, alice=b, @vm1.vm=c }", "Alice@VM1.vm", "a" },
		{ "inline:{ alice=b, @vm1.vm=c }", "alice@vm1.vm", "b" },
		{ "inline:{ alice=b, @vm1.vm=c }", "bob@vm1.vm", "c" },
		{ "inline:{ alice=b, @vm2.vm=c }", "alice@vm2.vm", "c" },
		{ "inline:{ alice=b }", "alice@vm2.vm", NULL },
		{ "inline:{ vm1.vm=b }", "alice@vm1.vm", NULL },
		{ "regexp:{ {/^alice$/ a}, {/^@/ b} }", "alice@vm1.vm", NULL },
		{ "regexp:{ {!/^alice@/ a} }", "alice@vm1.vm", NULL },
		{ "regexp:{ {/^(.*)@vm1/ $1} }", "alice@vm1.vm", "alice" },
		{ "static:x", "alice@vm1.vm", "x" },
		{ "inline:{ alice@vm1.vm=a }", "\"alice\"@vm1.vm", "a" },
		{ "inline:{ alice@vm1.vm=a }", "alice+x@vm1.vm", "a" },
		{ "inline:{ alice@vm1.vm=a, alice+x@vm1.vm=b }", "Alice+X@vm1.vm", "b" },
		{ "inline:{ alice=a, @vm1.vm=c }", "alice+x@vm1.vm", "a" },
		{ "inline:{ alice=a, alice+x=b }", "alice+x@vm1.vm", "b" },
		{ "inline:{ alice=a, alice+x=b }", "alice-x@vm1.vm", NULL },
		{ "regexp:{ {/^alice@/ a} }", "alice+x@vm1.vm", NULL },
	};
	struct fixture *f = *state;

	f->options.origin = "VM1.vm";
	f->options.recipient_delimiter = "+";
	f->options.passdb = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct maps *maps = NULL;
		struct edge *edge = NULL;
		struct arena arena = { 0 };
		struct map_result owners = { 0 };
		struct edge_mailbox mailbox = { 0 };
		int r = keys[i].value ? MAP_FOUND : MAP_NOT_FOUND;

		assert_return_code(maps_open(slice_from(keys[i].maps), "/", &maps, NULL), 0);
		f->options.sender_login_maps = f->options.mailbox_maps = maps;
		assert_return_code(edge_new(&f->options, &edge, NULL), 0);
		assert_int_equal(edge_find_owners(edge, keys[i].address, &arena, &owners, NULL), r);
		assert_int_equal(edge_find_mailbox(edge, keys[i].address, &arena, &mailbox, NULL),
				 r);
		if (r == MAP_FOUND && (strcmp(owners.value, keys[i].value) != 0 ||
				       strcmp(mailbox.path, keys[i].value) != 0))
			fail_msg("%s: %s: %s", keys[i].maps, keys[i].address, owners.value);
		arena_done(&arena);
		edge_free(edge);
		maps_free(maps);
	}
}

/* Without maps a user is what he logs in as, and has its mailbox, whatever is behind a '+'. */
static void test_extensions_of_accounts(void **state)
{
	struct fixture *f = *state;
	struct net_address address;
	struct mta_client client = { .address = &address, .hello = "", .user = "alice@vm1.vm" };
	struct smtp_status as_other, as_self;
	struct arena arena = { 0 };
	struct edge_mailbox mailbox;
	struct edge *edge = NULL;
	char passdb[100];

	snprintf(passdb, sizeof(passdb), "passwd-file:%s", f->users);
	f->options.passdb = passdb;
	f->options.recipient_delimiter = "+";
	assert_return_code(edge_new(&f->options, &edge, NULL), 0);
	assert_true(net_address_parse_ip(SLICE("192.0.2.7"), 1, &address));
	edge_policy.check_sender(edge, &client, "alice+x@vm1.vm", &as_self);
	edge_policy.check_sender(edge, &client, "test1+x@vm1.vm", &as_other);
	assert_int_equal(as_self.code, 250);
	assert_int_equal(as_other.code, 553);
	assert_int_equal(edge_find_mailbox(edge, "alice+x@vm1.vm", &arena, &mailbox, NULL),
			 MAP_FOUND);
	assert_string_equal(mailbox.path, "vm1.vm/alice/");
	assert_int_equal(edge_find_mailbox(edge, "bob+x@vm1.vm", &arena, &mailbox, NULL),
			 MAP_NOT_FOUND);
	arena_done(&arena);
	edge_free(edge);
}

/* An alias that keeps the local part passes on no route of a stranger's. */
static void test_routes_through_aliases(void **state)
{
	static const struct {
		const char *client, *recipient;
		int code;
	} tries[] = {
		{ "192.0.2.7", "bob@old.vm", 250 },
		{ "192.0.2.7", "bob%vm9.vm@old.vm", 554 },
		{ "192.0.2.7", "vm9.vm!bob@old.vm", 554 },
		{ "192.0.2.7", "\"bob@vm9.vm\"@old.vm", 554 },
		{ "192.0.2.7", "x!y@old.vm", 250 },
		{ "192.0.2.7", "x!z@old.vm", 250 },
		{ "10.0.0.9", "bob%vm9.vm@old.vm", 250 },
	};
	struct fixture *f = *state;
	struct maps *aliases = NULL;
	struct edge *edge = NULL;
	char passdb[100];

	snprintf(passdb, sizeof(passdb), "passwd-file:%s", f->users);
	f->options.passdb = passdb;
	assert_return_code(maps_open(SLICE("inline:{ @old.vm = @new.vm, x!y@old.vm = bob@new.vm, "
					   "x!z@old.vm = x!z@vm1.vm, x!z@vm1.vm = alice@vm1.vm }"),
				     "/", &aliases, NULL),
			   0);
	f->options.virtual_aliases = aliases;
	assert_return_code(domains_open(SLICE("old.vm"), "/", &f->options.alias_domains, NULL), 0);
	assert_return_code(edge_new(&f->options, &edge, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		struct net_address address;
		struct mta_client client = { .address = &address, .hello = "" };
		struct smtp_status status;

		assert_true(net_address_parse_ip(slice_from(tries[i].client), 1, &address));
		edge_policy.check_recipient(edge, &client, "", tries[i].recipient, &status);
		if (status.code != tries[i].code)
			fail_msg("%s: %d %s", tries[i].recipient, status.code, status.text);
	}
	edge_free(edge);
	domains_free(f->options.alias_domains);
	maps_free(aliases);
}

static sqlite3 *execute(const char *path, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	return db;
}

/* While nobody can tell whether alice+x is an account of its own, it is not alice's. */
static void test_extension_or_account(void **state)
{
	struct fixture *f = *state;
	struct net_address address;
	struct mta_client client = { .address = &address, .hello = "", .user = "alice@vm1.vm" };
	struct smtp_status status;
	struct edge *edge = NULL;
	char passdb[100], db[100];
	FILE *cf = fopen(f->users, "we");
	sqlite3 *lock;

	fputs("dbpath = db\nquery = SELECT password FROM mailbox WHERE username = '%s'\n", cf);
	fclose(cf);
	snprintf(db, sizeof(db), "%s/db", f->dir);
	sqlite3_close(execute(db, "CREATE TABLE mailbox (username, password);"
				  "INSERT INTO mailbox VALUES ('alice@vm1.vm', '{PLAIN}a'),"
				  " ('alice+x@vm1.vm', '{PLAIN}x')"));
	snprintf(passdb, sizeof(passdb), "sqlite:%s", f->users);
	f->options.passdb = passdb;
	f->options.recipient_delimiter = "+";
	assert_return_code(edge_new(&f->options, &edge, NULL), 0);
	assert_true(net_address_parse_ip(SLICE("192.0.2.7"), 1, &address));
	edge_policy.check_sender(edge, &client, "alice+y@vm1.vm", &status);
	assert_int_equal(status.code, 250);
	edge_policy.check_sender(edge, &client, "alice+x@vm1.vm", &status);
	assert_int_equal(status.code, 553);
	lock = execute(db, "BEGIN EXCLUSIVE");
	edge_policy.check_sender(edge, &client, "alice+x@vm1.vm", &status);
	assert_int_equal(status.code, 451);
	sqlite3_close(lock);
	edge_free(edge);
	unlink(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_who_may_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extensions_of_accounts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_routes_through_aliases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extension_or_account, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
