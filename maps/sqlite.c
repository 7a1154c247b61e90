/*
 * sqlite - a small pool of connections, each with its prepared query
 *
 * A connection is used by one thread at a time, which takes it out of the pool
 * and puts it back. So lookups of several threads never wait for each other,
 * and there are never more connections than there were threads asking at once.
 *
 * A connection belongs to one file, by device and inode: a database that was
 * replaced by rename(2) is opened anew at the next lookup. SQLite itself sees
 * what is written to it in place, a changed schema too.
 *
 * Whoever finds the database locked has waited for it; for a second after that
 * nobody else waits, as every wait holds up all that the caller's thread serves.
 */
#include "maps/sqlite.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/macros.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "maps/internal.h"
#include "maps/lines.h"
#include "maps/sqlite_config.h"
#include "maps/sqlite_query.h"

#define IDLE_MAX	    8 /* connections kept */
#define IMPATIENT_MS	    1000
#define VALUE_MAX	    (1 << 20) /* bytes of one value of a row, of the query */
#define STEPS_BETWEEN_LOOKS 1000 /* of SQLite's machine, from one look at the clock to the next */

struct connection {
	struct connection *next;
	sqlite3 *db;
	sqlite3_stmt *query;
	dev_t device;
	ino_t inode;
	int64_t cpu_deadline_ms, wall_deadline_ms; /* of the query that runs */
};

struct sqlite_map {
	atomic_uint refs;
	struct arena arena;
	const char *name;
	const char *path;
	struct sqlite_config config;
	struct sqlite_query query;
	struct sqlite_format format;
	struct domains *domains; /* NULL: any key */
	bool is_of_accounts;
	atomic_int_least64_t impatient_until_ms;

	pthread_mutex_t lock;
	struct connection *idle; /* under lock, as is: */
	unsigned int idle_count;
};

/* ---- errors ---- */

/* Where something is wrong: the line of FILE.cf that is to blame. */
struct trouble {
	uint32_t line;
	struct error *err;
};

/* What SQLite says, by its code. */
static int database_error(struct trouble *trouble, uint32_t line, int r, const char *text)
{
	char shown[256];

	trouble->line = line;
	switch (r & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return error_set(trouble->err, -EAGAIN, "the database is locked");
	case SQLITE_INTERRUPT:
		return error_set(trouble->err, -EAGAIN,
				 "the query takes too long, and was cut off");
	default:
		return error_set(trouble->err, (r & 0xff) == SQLITE_ERROR ? -EINVAL : -EIO, "%s",
				 escape_cstr(slice_from(text), shown, sizeof(shown)));
	}
}

static uint32_t dbpath_line(const struct sqlite_map *map)
{
	return map->config.lines[SETTING_DBPATH];
}

uint32_t sqlite_map_line(const struct sqlite_map *map)
{
	return map->config.lines[SETTING_QUERY];
}

/* ---- connections ---- */

static int64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A thread that had to wait for a processor has not been slow itself. */
static int is_over_time(void *arg)
{
	const struct connection *c = arg;

	return cpu_ms() > c->cpu_deadline_ms || clock_mono_ms(&clock_system) > c->wall_deadline_ms;
}

static void close_connection(struct connection *c)
{
	sqlite3_finalize(c->query);
	sqlite3_close(c->db);
	free(c);
}

/* The file may have been written by somebody less trusted than its reader. */
static void be_careful(struct connection *c)
{
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_limit(c->db, SQLITE_LIMIT_ATTACHED, 0);
	sqlite3_limit(c->db, SQLITE_LIMIT_LENGTH, VALUE_MAX);
	sqlite3_progress_handler(c->db, STEPS_BETWEEN_LOOKS, is_over_time, c);
}

/* What a lookup may spend from now on. */
static void start_clock(struct sqlite_map *map, struct connection *c)
{
	int64_t now_ms = clock_mono_ms(&clock_system);
	bool is_impatient = now_ms < atomic_load(&map->impatient_until_ms);

	c->cpu_deadline_ms = cpu_ms() + SQLITE_CPU_MS;
	c->wall_deadline_ms = now_ms + SQLITE_WALL_MS;
	sqlite3_busy_timeout(c->db, is_impatient ? 0 : SQLITE_BUSY_MS);
}

/* Whether nothing but the one statement was there. */
static bool is_all(const char *tail)
{
	return !tail || tail[strspn(tail, "; \t\r\n")] == '\0';
}

/* Asked before SQLite sees it: a PRAGMA takes effect while it is prepared. */
static bool is_select(const char *sql)
{
	static const char *const verbs[] = { "SELECT", "WITH", "VALUES" };
	struct slice rest = slice_from(sql), word = SLICE("");

	slice_next_word(&rest, " \t\r\n(*'", &word);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (slice_equal_nocase(word, slice_from(verbs[i])))
			return true;
	return false;
}

/* MySQL's queries are brought along; SQLite has this one since 3.44. */
static int query_error(struct trouble *trouble, int r, const char *text)
{
	bool is_concat = strcasecmp(text, "no such function: CONCAT") == 0;

	return database_error(trouble, trouble->line, r,
			      is_concat ? "no such function: CONCAT; write a || b for CONCAT(a, b)"
					: text);
}

static int prepare(struct sqlite_map *map, struct connection *c, struct trouble *trouble)
{
	const char *tail = NULL;
	int r;

	trouble->line = sqlite_map_line(map);
	if (!is_select(map->query.sql))
		return error_set(trouble->err, -EINVAL, "query: expected a SELECT");
	r = sqlite3_prepare_v3(c->db, map->query.sql, -1, SQLITE_PREPARE_PERSISTENT, &c->query,
			       &tail);
	if (r != SQLITE_OK)
		return query_error(trouble, r, sqlite3_errmsg(c->db));
	if (!is_all(tail))
		return error_set(trouble->err, -EINVAL, "query: expected one statement");
	if (!sqlite3_stmt_readonly(c->query))
		return error_set(trouble->err, -EINVAL, "query: expected a SELECT");
	if (sqlite3_bind_parameter_count(c->query) != (int)map->query.field_count)
		return error_set(trouble->err, -EINVAL,
				 "query: parameters of SQL are not for operators");
	return 0;
}

static int open_connection(struct sqlite_map *map, const struct stat *st, struct connection **ret,
			   struct trouble *trouble)
{
	struct connection *c = memory_zeroed(sizeof(*c));
	int r;

	c->device = st->st_dev;
	c->inode = st->st_ino;
	r = sqlite3_open_v2(map->path, &c->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
	if (r == SQLITE_OK) {
		be_careful(c);
		start_clock(map, c);
		r = prepare(map, c, trouble);
	} else {
		r = database_error(trouble, dbpath_line(map), r,
				   c->db ? sqlite3_errmsg(c->db) : "out of memory");
	}
	if (r < 0)
		close_connection(c);
	else
		*ret = c;
	return r;
}

static struct connection *take_idle(struct sqlite_map *map)
{
	struct connection *c;

	pthread_mutex_lock(&map->lock);
	c = map->idle;
	if (c) {
		map->idle = c->next;
		map->idle_count--;
	}
	pthread_mutex_unlock(&map->lock);
	return c;
}

static void put_back(struct sqlite_map *map, struct connection *c)
{
	bool is_kept;

	pthread_mutex_lock(&map->lock);
	is_kept = map->idle_count < IDLE_MAX;
	if (is_kept) {
		c->next = map->idle;
		map->idle = c;
		map->idle_count++;
	}
	pthread_mutex_unlock(&map->lock);
	if (!is_kept)
		close_connection(c);
}

/* A connection to the file that the path names now. */
static int connect_now(struct sqlite_map *map, struct connection **ret, struct trouble *trouble)
{
	struct connection *c;
	struct stat st;

	trouble->line = dbpath_line(map);
	if (stat(map->path, &st) < 0)
		return error_set(trouble->err, -errno, "dbpath: %s: %s", map->path,
				 strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(trouble->err, -EINVAL, "dbpath: %s: not a regular file",
				 map->path);
	while ((c = take_idle(map))) {
		if (c->device == st.st_dev && c->inode == st.st_ino) {
			start_clock(map, c);
			*ret = c;
			return 0;
		}
		close_connection(c);
	}
	return open_connection(map, &st, ret, trouble);
}

/* ---- life ---- */

/* A query for a domain that needs a query first would never end where it is its own. */
static int refuse_sql(struct slice list, struct error *err)
{
	struct slice item;
	int r;

	while ((r = map_list_next(&list, &item, err)) > 0) {
		while (item.len && item.ptr[0] == '!')
			item = slice_skip(item, 1);
		if (slice_starts_nocase(item, SLICE("sqlite:")))
			return error_set(err, -EINVAL,
					 "the domains of a sqlite: map can't be kept in another; "
					 "list them, or use a file");
	}
	return r;
}

static int open_domains(struct sqlite_map *map, const char *directory, struct error *err)
{
	const char *list = map->config.values[SETTING_DOMAIN];
	int r;

	if (!list || !list[0])
		return 0;
	r = refuse_sql(slice_from(list), err);
	return r < 0 ? r : domains_open(slice_from(list), directory, &map->domains, err);
}

static int parse_format(struct sqlite_map *map, struct error *err)
{
	const char *format = map->config.values[SETTING_RESULT_FORMAT];

	return sqlite_format_parse(format ? format : "%s", &map->query.needs, &map->format, err);
}

static void check_setting(struct complaints *complaints, uint32_t line, const char *setting, int r,
			  const struct error *err)
{
	if (r < 0)
		complain(complaints, line, "%s: %s", setting, err->text);
}

/* One row for everybody would be one password for everybody; and Dovecot's %u is the whole login. */
static void check_login(const struct sqlite_map *map, struct complaints *complaints)
{
	char source[512];

	if (!map->is_of_accounts || !map->query.sql)
		return;
	if (map->query.field_count == 0)
		complain(complaints, sqlite_map_line(map),
			 "query: it asks for no login; expected '%%s' in it");
	for (unsigned int i = 0; i < map->query.field_count; i++)
		if (map->query.fields[i] != FIELD_USER)
			return;
	if (map->query.field_count == 0 || !complaints->report)
		return;
	snprintf(source, sizeof(source), "%s:%u", map->name, (unsigned int)sqlite_map_line(map));
	complaints->report(complaints->arg, false, source,
			   "query: '%u' is what stands before the @ of a login; the whole login "
			   "is '%s'");
}

/* What the lines say, as far as it can be told without the database. */
static void read_settings(struct sqlite_map *map, struct slice text, const char *directory,
			  struct complaints *complaints)
{
	struct sqlite_config *config = &map->config;
	const char *const *values = config->values;
	struct error err = { 0 };

	sqlite_config_parse(text, map->is_of_accounts, &map->arena, config, complaints);
	if (values[SETTING_DBPATH])
		map->path = values[SETTING_DBPATH][0] == '/'
				    ? values[SETTING_DBPATH]
				    : arena_printf(&map->arena, "%s/%s", directory,
						   values[SETTING_DBPATH]);
	if (values[SETTING_QUERY])
		check_setting(complaints, config->lines[SETTING_QUERY], "query",
			      sqlite_query_parse(slice_from(values[SETTING_QUERY]), &map->arena,
						 &map->query, &err),
			      &err);
	check_login(map, complaints);
	check_setting(complaints, config->lines[SETTING_RESULT_FORMAT], "result_format",
		      parse_format(map, &err), &err);
	check_setting(complaints, config->lines[SETTING_DOMAIN], "domain",
		      open_domains(map, directory, &err), &err);
}

/*
 * The connection is not kept: SQLite's must not cross a fork(2), and who reads
 * the configuration may have another account than who asks.
 */
static int try_database(struct sqlite_map *map, struct complaints *complaints)
{
	struct connection *c = NULL;
	struct error error = { 0 };
	struct trouble trouble = { .err = &error };
	int r = connect_now(map, &c, &trouble);

	if (r == 0)
		close_connection(c);
	if (r == 0 || r == -EAGAIN)
		return 0;
	complain(complaints, trouble.line, "%s", error.text);
	if (complaints->err)
		complaints->err->code = r;
	return r;
}

int sqlite_map_new(struct slice text, const char *name, const char *directory, bool is_of_accounts,
		   map_report *report, void *arg, struct sqlite_map **ret_map, struct error *err)
{
	CLEANUP(sqlite_map_unrefp) struct sqlite_map *map = memory_zeroed(sizeof(*map));
	struct complaints complaints = { .name = name, .report = report, .arg = arg, .err = err };
	int r;

	atomic_init(&map->refs, 1);
	pthread_mutex_init(&map->lock, NULL);
	map->name = arena_strdup(&map->arena, name);
	map->is_of_accounts = is_of_accounts;
	read_settings(map, text, directory, &complaints);
	r = complaints.outcome < 0 ? complaints.outcome : try_database(map, &complaints);
	if (r < 0)
		return r;
	*ret_map = map;
	map = NULL;
	return 0;
}

struct sqlite_map *sqlite_map_ref(struct sqlite_map *map)
{
	atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
	return map;
}

void sqlite_map_unref(struct sqlite_map *map)
{
	struct connection *c;

	if (!map || atomic_fetch_sub_explicit(&map->refs, 1, memory_order_acq_rel) != 1)
		return;
	while ((c = take_idle(map)))
		close_connection(c);
	domains_free(map->domains);
	pthread_mutex_destroy(&map->lock);
	arena_done(&map->arena);
	free(map);
}

const char *sqlite_map_database(const struct sqlite_map *map)
{
	return map->path;
}

int sqlite_map_refresh(struct sqlite_map *map, struct error *err)
{
	return map->domains ? domains_refresh(map->domains, err) : MAP_NOT_CHANGED;
}

/* ---- asking ---- */

/* Whether the map is for keys of this domain. */
static int is_in_domains(struct sqlite_map *map, const struct sqlite_key *key, struct error *err)
{
	if (!map->domains)
		return MAP_FOUND;
	if (key->fields[FIELD_USER].len == 0 ||
	    key->fields[FIELD_USER].len == key->fields[FIELD_KEY].len)
		return MAP_NOT_FOUND; /* "@domain", or no '@' at all */
	return domains_match_exactly(map->domains, key->fields[FIELD_DOMAIN], err);
}

static int bind_fields(const struct sqlite_map *map, struct connection *c,
		       const struct sqlite_key *key)
{
	int r = SQLITE_OK;

	for (unsigned int i = 0; i < map->query.field_count && r == SQLITE_OK; i++) {
		struct slice value = key->fields[map->query.fields[i]];

		r = sqlite3_bind_text(c->query, (int)i + 1, value.len ? value.ptr : "",
				      (int)value.len, SQLITE_STATIC);
	}
	return r;
}

/* Values end up in routes, paths and logs: they are one line of text. */
static bool is_clean(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.ptr[i] < ' ' && s.ptr[i] != '\t') || s.ptr[i] == 0x7f)
			return false;
	return true;
}

static int take_row(const struct sqlite_map *map, struct connection *c,
		    const struct sqlite_key *key, uint64_t *count, struct buf *out,
		    struct error *err)
{
	const char *text = (const char *)sqlite3_column_text(c->query, 0);
	struct slice value = { text, text ? (size_t)sqlite3_column_bytes(c->query, 0) : 0 };

	if (!text && sqlite3_column_type(c->query, 0) != SQLITE_NULL)
		return error_set(err, -ENOMEM, "out of memory");
	if (!is_clean(value))
		return error_set(err, -EINVAL, "a value holds control characters");
	if (!sqlite_format_apply(&map->format, key, value, out))
		return 0;
	if (map->config.expansion_limit && ++*count > map->config.expansion_limit)
		return error_set(err, -E2BIG, "more than the %u rows of expansion_limit",
				 (unsigned int)map->config.expansion_limit);
	if (buf_len(out) > SQLITE_RESULT_MAX)
		return error_set(err, -E2BIG, "a result of more than %d bytes", SQLITE_RESULT_MAX);
	return 0;
}

/* What becomes of the rows: joined to out, or the only one taken over to row. */
struct answer {
	struct buf *out;
	struct map_row *row;
	struct arena *arena; /* of row */
};

static void take_names(struct connection *c, const struct answer *answer)
{
	int count = sqlite3_column_count(c->query);
	const char **names = arena_alloc(answer->arena, (size_t)count * sizeof(*names));

	for (int i = 0; i < count; i++)
		names[i] = arena_strdup(answer->arena, sqlite3_column_name(c->query, i));
	answer->row->names = names;
	answer->row->count = (size_t)count;
}

static int take_only_row(struct connection *c, const struct answer *answer, struct error *err)
{
	struct map_row *row = answer->row;
	const char **values;

	if (row->values)
		return error_set(err, -E2BIG, "more than one row");
	values = arena_alloc(answer->arena, row->count * sizeof(*values));
	for (size_t i = 0; i < row->count; i++) {
		const char *text = (const char *)sqlite3_column_text(c->query, (int)i);
		size_t len = text ? (size_t)sqlite3_column_bytes(c->query, (int)i) : 0;

		if (!text && sqlite3_column_type(c->query, (int)i) != SQLITE_NULL)
			return error_set(err, -ENOMEM, "out of memory");
		if (len > SQLITE_RESULT_MAX)
			return error_set(err, -E2BIG, "a value of more than %d bytes",
					 SQLITE_RESULT_MAX);
		if (!is_clean(slice_of(text, len)))
			return error_set(err, -EINVAL, "a value holds control characters");
		values[i] = text ? arena_slicedup(answer->arena, slice_of(text, len)) : NULL;
	}
	row->values = values;
	return 0;
}

static int run_query(const struct sqlite_map *map, struct connection *c,
		     const struct sqlite_key *key, const struct answer *answer,
		     struct trouble *trouble)
{
	uint64_t count = 0;
	int r = bind_fields(map, c, key), taken = 0;

	trouble->line = sqlite_map_line(map);
	if (answer->row)
		take_names(c, answer);
	while (taken == 0 && (r == SQLITE_OK || r == SQLITE_ROW)) {
		r = sqlite3_step(c->query);
		if (r == SQLITE_ROW && answer->row)
			taken = take_only_row(c, answer, trouble->err);
		else if (r == SQLITE_ROW)
			taken = take_row(map, c, key, &count, answer->out, trouble->err);
	}
	if (taken < 0 || r == SQLITE_DONE)
		return taken;
	return database_error(trouble, trouble->line, r, sqlite3_errmsg(c->db));
}

/* What failed for a reason that may be the connection's own is not asked again. */
static void finish_query(struct sqlite_map *map, struct connection *c, int r)
{
	sqlite3_reset(c->query);
	sqlite3_clear_bindings(c->query);
	if (r < 0 && r != -EAGAIN)
		close_connection(c);
	else
		put_back(map, c);
}

static int ask(struct sqlite_map *map, const struct sqlite_key *key, const struct answer *answer,
	       struct error *err)
{
	struct trouble trouble = { .err = err };
	struct connection *c = NULL;
	int r = connect_now(map, &c, &trouble);

	if (r == 0) {
		r = run_query(map, c, key, answer, &trouble);
		finish_query(map, c, r);
	}
	if (r == -EAGAIN)
		atomic_store(&map->impatient_until_ms, clock_mono_ms(&clock_system) + IMPATIENT_MS);
	if (r < 0)
		error_prefix(err, "%s:%u", map->name, (unsigned int)trouble.line);
	return r;
}

static bool is_utf8(struct slice s)
{
	while (s.len) {
		uint32_t code;
		size_t n = (unsigned char)s.ptr[0] < 0x80 ? 1 : utf8_sequence(s, &code);

		if (n == 0)
			return false;
		s = slice_skip(s, n);
	}
	return true;
}

/* Takes a key apart, folded. MAP_NOT_FOUND: there is nothing to be asked. */
static int split_key(struct sqlite_map *map, struct slice key, char folded[SQLITE_KEY_MAX],
		     struct sqlite_key *ret, struct error *err)
{
	if (key.len > SQLITE_KEY_MAX || slice_find(key, '\0') != key.len)
		return error_set(err, -EINVAL,
				 "%s: a key that is longer than %d bytes, or holds a NUL",
				 map->name, SQLITE_KEY_MAX);
	table_fold(folded, key);
	if (!is_utf8(key) || !sqlite_key_split(slice_of(folded, key.len), &map->query.needs, ret))
		return MAP_NOT_FOUND;
	return is_in_domains(map, ret, err);
}

int sqlite_map_select(struct sqlite_map *map, struct slice key, struct arena *arena,
		      struct map_row *ret, struct error *err)
{
	struct answer answer = { .row = ret, .arena = arena };
	struct sqlite_key parts;
	struct error unused;
	char folded[SQLITE_KEY_MAX];
	int r;

	*ret = (struct map_row){
		.scheme = arena_strdup(arena, map->config.values[SETTING_DEFAULT_PASS_SCHEME]),
	};
	r = split_key(map, key, folded, &parts, err);
	if (r == MAP_FOUND)
		r = ask(map, &parts, &answer, err ? err : &unused);
	if (r == 0 && !ret->values)
		r = MAP_NOT_FOUND;
	if (r < 0)
		map_row_wipe(ret);
	return r;
}

int sqlite_map_lookup(struct sqlite_map *map, struct slice key, struct arena *arena,
		      const char **ret_value, struct error *err)
{
	struct error unused;
	struct sqlite_key parts;
	struct buf out = { 0 };
	char folded[SQLITE_KEY_MAX];
	int r = split_key(map, key, folded, &parts, err);

	if (r != MAP_FOUND)
		return r;
	r = ask(map, &parts, &(struct answer){ .out = &out }, err ? err : &unused);
	if (r == 0)
		r = buf_len(&out) > 0 ? MAP_FOUND : MAP_NOT_FOUND;
	if (r == MAP_FOUND && ret_value)
		*ret_value = arena_slicedup(arena, buf_slice(&out));
	if (out.mem)
		explicit_bzero(out.mem, out.size); /* it may be a password */
	buf_done(&out);
	return r;
}
