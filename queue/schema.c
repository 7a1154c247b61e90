/*
 * schema - the format of queue.db
 *
 * The tables named q_… are ours and may change with the version. The views
 * are for people and their tools (docs/queue.md), and stay. How the bytes
 * survive a crash: docs/queue.md too.
 *
 * Bodies have a table of their own, so that listing and counting messages
 * never reads them. The due time of a message is that of its first recipient
 * that is due, NULL when all are held: one entry in one index for each
 * message, whatever the number of its recipients.
 */
#include "queue/schema.h"

#include <errno.h>

#include "base/macros.h"

#define VERSION	       5
#define ZEROES	       "x'0000000000000000000000000000000000000000000000000000000000000000'"
#define TEXT(macro)    TEXT_OF(macro)
#define TEXT_OF(value) #value

/* The first three only work before the first table is made. */
static const char file_pragmas[] = "PRAGMA page_size = 4096;"
				   "PRAGMA auto_vacuum = INCREMENTAL;"
				   "PRAGMA journal_mode = WAL;";

/*
 * FULL: a commit is synced when it returns; NORMAL would not do that in WAL
 * mode. secure_delete: Debian's default of ON costs three quarters of the
 * speed of deletes. No wal_autocheckpoint here: it would replace the hook of
 * sql.c, by which the queue's thread knows when to do that, after it has
 * handed out completions. cell_size_check finds damaged pages early.
 */
static const char connection_pragmas[] = "PRAGMA synchronous = FULL;"
					 "PRAGMA secure_delete = FAST;"
					 "PRAGMA journal_size_limit = 67108864;"
					 "PRAGMA cache_size = -16384;"
					 "PRAGMA temp_store = MEMORY;"
					 "PRAGMA cell_size_check = ON;";

static const char tables[] =
	"CREATE TABLE q_state ("
	"	id INTEGER PRIMARY KEY CHECK (id = 1),"
	"	ids_mark INTEGER NOT NULL," /* no id from here on was ever used */
	"	messages INTEGER NOT NULL,"
	"	recipients INTEGER NOT NULL," /* that are pending */
	"	bytes INTEGER NOT NULL,"
	"	ledger_row INTEGER NOT NULL DEFAULT 0," /* the last, with its hash */
	"	ledger_hash BLOB NOT NULL DEFAULT " ZEROES ","
	"	anchor_row INTEGER NOT NULL DEFAULT 0," /* in front of the first that is kept */
	"	anchor_hash BLOB NOT NULL DEFAULT " ZEROES ","
	"	anchor_ms INTEGER NOT NULL DEFAULT 0" /* the time of that row; 0: there was none */
	") STRICT;"
	"INSERT INTO q_state (id, ids_mark, messages, recipients, bytes) VALUES (1, 0, 0, 0, 0);"

	"CREATE TABLE q_message ("
	"	id INTEGER PRIMARY KEY,"
	"	arrived_ms INTEGER NOT NULL,"
	"	due_ms INTEGER,"
	"	size INTEGER NOT NULL,"
	"	checksum INTEGER NOT NULL," /* XXH3 of the body */
	"	in_file INTEGER NOT NULL,"  /* bodies/X/ID; else the body is in q_body */
	"	body_8bit INTEGER NOT NULL,"
	"	smtputf8 INTEGER NOT NULL,"
	"	dsn_return INTEGER NOT NULL," /* enum smtp_return */
	"	kind INTEGER NOT NULL,"	      /* enum queue_kind */
	"	envelope_id TEXT NOT NULL,"
	"	sender TEXT NOT NULL,"
	"	client_ip TEXT NOT NULL,"
	"	hello TEXT NOT NULL,"
	"	protocol TEXT NOT NULL,"
	"	auth_user TEXT NOT NULL,"
	"	tls_protocol TEXT NOT NULL,"
	"	tls_cipher TEXT NOT NULL,"
	"	cert_name TEXT NOT NULL DEFAULT ''," /* of the client's certificate */
	"	cert_fingerprint TEXT NOT NULL DEFAULT '',"
	"	cert_verified INTEGER NOT NULL DEFAULT 0,"
	"	body_binary INTEGER NOT NULL DEFAULT 0,"
	"	requiretls INTEGER NOT NULL DEFAULT 0"
	") STRICT;"
	"CREATE INDEX q_message_due ON q_message (due_ms) WHERE due_ms IS NOT NULL;"

	"CREATE TABLE q_body ("
	"	message INTEGER PRIMARY KEY,"
	"	bytes BLOB NOT NULL"
	") STRICT;"

	"CREATE TABLE q_recipient ("
	"	message INTEGER NOT NULL,"
	"	position INTEGER NOT NULL," /* 0, 1, … within the message */
	"	status INTEGER NOT NULL,"   /* enum queue_status */
	"	attempts INTEGER NOT NULL,"
	"	due_ms INTEGER NOT NULL,"
	"	reply_code INTEGER NOT NULL,"
	"	notify INTEGER NOT NULL," /* enum smtp_notify, or-ed */
	"	is_warned INTEGER NOT NULL,"
	"	is_returning INTEGER NOT NULL,"
	"	orcpt TEXT NOT NULL,"
	"	address TEXT NOT NULL,"
	"	original TEXT NOT NULL,"
	"	next_hop TEXT NOT NULL,"
	"	enhanced TEXT NOT NULL,"
	"	reason TEXT NOT NULL,"
	"	waits_for INTEGER NOT NULL DEFAULT 0,"
	"	PRIMARY KEY (message, position)"
	") STRICT, WITHOUT ROWID;"

	"CREATE TABLE q_ledger ("
	"	row INTEGER PRIMARY KEY," /* 1, 2, … in the order of commits */
	"	time_ms INTEGER NOT NULL,"
	"	message INTEGER NOT NULL,"
	"	status INTEGER NOT NULL," /* enum queue_status */
	"	has_tls_policy INTEGER NOT NULL,"
	"	verified INTEGER NOT NULL,"
	"	resumed INTEGER NOT NULL,"
	"	sender TEXT NOT NULL,"
	"	recipient TEXT NOT NULL,"
	"	transport TEXT NOT NULL,"
	"	next_hop TEXT NOT NULL,"
	"	peer TEXT NOT NULL,"
	"	source TEXT NOT NULL,"
	"	reply TEXT NOT NULL,"
	"	level TEXT NOT NULL,"
	"	mode TEXT NOT NULL,"
	"	protocol TEXT NOT NULL,"
	"	cipher TEXT NOT NULL,"
	"	peer_name TEXT NOT NULL,"
	"	fingerprint TEXT NOT NULL,"
	"	by_peer INTEGER NOT NULL DEFAULT 0," /* the reply is the peer's */
	"	kind INTEGER NOT NULL DEFAULT 0,"    /* enum queue_ledger_kind */
	"	in_clear INTEGER NOT NULL DEFAULT 0,"
	"	verified_by TEXT NOT NULL DEFAULT '',"
	"	pubkey_fingerprint TEXT NOT NULL DEFAULT '',"
	"	arrived_ms INTEGER NOT NULL DEFAULT 0," /* from here on: how the message came in */
	"	size INTEGER NOT NULL DEFAULT 0,"
	"	client_ip TEXT NOT NULL DEFAULT '',"
	"	hello TEXT NOT NULL DEFAULT '',"
	"	origin_protocol TEXT NOT NULL DEFAULT '',"
	"	auth_user TEXT NOT NULL DEFAULT '',"
	"	origin_tls_protocol TEXT NOT NULL DEFAULT '',"
	"	origin_tls_cipher TEXT NOT NULL DEFAULT '',"
	"	cert_name TEXT NOT NULL DEFAULT '',"
	"	cert_fingerprint TEXT NOT NULL DEFAULT '',"
	"	cert_verified INTEGER NOT NULL DEFAULT 0,"
	"	hash BLOB NOT NULL DEFAULT x''" /* of this row and the hash of the one before */
	") STRICT;";

/* Every message that ever had an attempt can be traced; ids grow, so the end of the index is hot. */
#define LEDGER_INDEX "CREATE INDEX q_ledger_message ON q_ledger (message);"

/*
 * An index of all addresses would double what the ledger costs, as every row
 * changes other pages of it. So there is one record for each block of 256 rows,
 * made when nobody waits, with hashes of the addresses in it; and of the times
 * one of each block is enough.
 */
#define LEDGER_TRACE                                                                               \
	"CREATE TABLE q_ledger_block ("                                                            \
	"	block INTEGER PRIMARY KEY," /* row >> 8 */                                         \
	"	addresses BLOB NOT NULL"    /* four bytes of each */                               \
	") STRICT;"                                                                                \
	"CREATE INDEX q_ledger_time ON q_ledger (time_ms) WHERE row & 255 = 0;"                    \
	"CREATE INDEX q_ledger_gap ON q_ledger (row) WHERE kind = 3;" /* QUEUE_LEDGER_GAP */

/* What waits for a next hop that is down: only deferrals are ever in it. */
#define WAITING_INDEX                                                                              \
	"CREATE INDEX q_recipient_waiting ON q_recipient (waits_for, message)"                     \
	" WHERE status = 1 AND waits_for <> 0;"

/* For the views: ids, times and states as the rest of the program writes them. */
#define ID(column)   "printf('%X', " column ")"
#define TIME(column) "strftime('%Y-%m-%dT%H:%M:%fZ', " column " / 1000.0, 'unixepoch')"
#define STATUS                                                                                     \
	"CASE status WHEN 0 THEN 'queued' WHEN 1 THEN 'deferred' WHEN 2 THEN 'held'"               \
	" WHEN 3 THEN 'delivered' WHEN 4 THEN 'bounced' WHEN 5 THEN 'deleted' END"
#define TLS(column) "CASE WHEN has_tls_policy THEN " column " END"

/* clang-format off */
static const char views[] =
	"CREATE VIEW messages AS SELECT "
	ID("id") " AS id, "
	TIME("arrived_ms") " AS arrived_at, "
	"size, "
	"sender, "
	"envelope_id, "
	"CASE kind WHEN 0 THEN 'mail' WHEN 1 THEN 'report' WHEN 2 THEN 'double-bounce' END AS kind, "
	"body_8bit, "
	"smtputf8, "
	"client_ip, "
	"hello, "
	"protocol, "
	"auth_user, "
	"tls_protocol, "
	"tls_cipher, "
	"cert_name, "
	"cert_fingerprint, "
	"cert_verified, "
	"body_binary, "
	"requiretls "
	"FROM q_message;"

	"CREATE VIEW recipients AS SELECT "
	ID("message") " AS id, "
	"address, "
	"original, "
	STATUS " AS status, "
	"attempts, "
	"CASE WHEN status < 2 THEN " TIME("due_ms") " END AS next_attempt_at, "
	"next_hop, "
	"reply_code, "
	"enhanced AS enhanced_status, "
	"reason, "
	"orcpt, "
	"CASE WHEN notify & 1 THEN 'NEVER' WHEN notify THEN substr("
	"CASE WHEN notify & 2 THEN ',SUCCESS' ELSE '' END || "
	"CASE WHEN notify & 4 THEN ',FAILURE' ELSE '' END || "
	"CASE WHEN notify & 8 THEN ',DELAY' ELSE '' END, 2) ELSE '' END AS notify, "
	"is_warned, "
	"is_returning "
	"FROM q_recipient;"

	"CREATE VIEW ledger AS SELECT "
	"row, "
	TIME("time_ms") " AS time, "
	ID("message") " AS id, "
	"sender, "
	"recipient, "
	"transport, "
	"next_hop, "
	"peer, "
	"source, "
	STATUS " AS status, "
	"reply, "
	TLS("level") " AS tls_level, "
	TLS("mode") " AS tls_mode, "
	TLS("protocol") " AS tls_protocol, "
	TLS("cipher") " AS tls_cipher, "
	TLS("verified") " AS tls_verified, "
	TLS("peer_name") " AS tls_peer_name, "
	TLS("fingerprint") " AS tls_fingerprint, "
	TLS("resumed") " AS tls_resumed, "
	TLS("verified_by") " AS tls_verified_by, "
	TLS("pubkey_fingerprint") " AS tls_pubkey_fingerprint, "
	"by_peer, "
	"in_clear "
	"FROM q_ledger WHERE kind = 0;";

static const char marks[] =
	"PRAGMA application_id = " TEXT(QUEUE_APPLICATION_ID) ";"
	"PRAGMA user_version = " TEXT(VERSION) ";";

/*
 * What makes version n + 1 out of version n; the views are made anew after the
 * last step. Columns that come later stand behind the others, so every
 * statement of ours names the columns that it means.
 */
static const char *const migrations[VERSION] = {
	[1] =
		"ALTER TABLE q_message ADD COLUMN smtputf8 INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_message ADD COLUMN dsn_return INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_message ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_message ADD COLUMN envelope_id TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_recipient ADD COLUMN notify INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_recipient ADD COLUMN is_warned INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_recipient ADD COLUMN is_returning INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_recipient ADD COLUMN orcpt TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_recipient ADD COLUMN waits_for INTEGER NOT NULL DEFAULT 0;"
		LEDGER_INDEX WAITING_INDEX,
	[2] =
		"ALTER TABLE q_ledger ADD COLUMN by_peer INTEGER NOT NULL DEFAULT 0;",
	[3] =
		"ALTER TABLE q_state ADD COLUMN ledger_row INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_state ADD COLUMN ledger_hash BLOB NOT NULL DEFAULT " ZEROES ";"
		"ALTER TABLE q_state ADD COLUMN anchor_row INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_state ADD COLUMN anchor_hash BLOB NOT NULL DEFAULT " ZEROES ";"
		"ALTER TABLE q_state ADD COLUMN anchor_ms INTEGER NOT NULL DEFAULT 0;"
		"UPDATE q_state SET ledger_row = (SELECT coalesce(max(row), 0) FROM q_ledger),"
		" anchor_row = (SELECT coalesce(max(row), 0) FROM q_ledger);"
		"ALTER TABLE q_message ADD COLUMN cert_name TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_message ADD COLUMN cert_fingerprint TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_message ADD COLUMN cert_verified INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_ledger ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_ledger ADD COLUMN in_clear INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_ledger ADD COLUMN verified_by TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN pubkey_fingerprint TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN arrived_ms INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_ledger ADD COLUMN size INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_ledger ADD COLUMN client_ip TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN hello TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN origin_protocol TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN auth_user TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN origin_tls_protocol TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN origin_tls_cipher TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN cert_name TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN cert_fingerprint TEXT NOT NULL DEFAULT '';"
		"ALTER TABLE q_ledger ADD COLUMN cert_verified INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_ledger ADD COLUMN hash BLOB NOT NULL DEFAULT x'';"
		LEDGER_TRACE,
	[4] =
		"ALTER TABLE q_message ADD COLUMN body_binary INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE q_message ADD COLUMN requiretls INTEGER NOT NULL DEFAULT 0;",
};
/* clang-format on */

static const char drop_views[] = "DROP VIEW IF EXISTS messages;"
				 "DROP VIEW IF EXISTS recipients;"
				 "DROP VIEW IF EXISTS ledger;";

#define FUTURE 100 /* no format of ours is that far away: the header is damaged */
#define OURS                                                                                       \
	"SELECT count(*) FROM sqlite_schema WHERE name IN"                                         \
	" ('q_state', 'q_message', 'q_body', 'q_recipient', 'q_ledger')"

/* Neither empty nor marked as ours: somebody else's, or damaged. */
static int judge_stranger(struct sql *sql, bool is_bare, struct error *err)
{
	int64_t ours = 0, pages = 0;
	int r = sql_query_int(sql, OURS, &ours, err);

	if (r == 0)
		r = sql_query_int(sql, "PRAGMA page_count", &pages, err);
	if (r < 0)
		return r;
	if (ours >= 3 || (is_bare && pages > 3))
		return error_set(err, -EUCLEAN, "the header of the queue database is damaged");
	if (is_bare)
		return error_set(err, -ENOENT, "the queue database is empty");
	return error_set(err, -EINVAL, "this database is no queue of ours");
}

/* Returns 0 with a version that we know, -ENOENT when it is empty, or an error. */
static int read_version(struct sql *sql, int64_t *ret_version, struct error *err)
{
	int64_t application = 0, version = 0, objects = 0;
	int r;

	r = sql_query_int(sql, "PRAGMA application_id", &application, err);
	if (r == 0)
		r = sql_query_int(sql, "PRAGMA user_version", &version, err);
	if (r == 0)
		r = sql_query_int(sql, "SELECT count(*) FROM sqlite_schema", &objects, err);
	if (r < 0)
		return r;

	if (application != QUEUE_APPLICATION_ID || version < 1 || version > VERSION + FUTURE)
		return judge_stranger(sql, application == 0 && version == 0 && objects == 0, err);
	if (version > VERSION)
		return error_set(err, -EPROTONOSUPPORT,
				 "the queue database has format %lld, made by a newer version; "
				 "this one knows formats up to %d",
				 (long long)version, VERSION);
	*ret_version = version;
	return 0;
}

int queue_schema_check(struct sql *sql, struct error *err)
{
	int64_t version = 0;
	int r = read_version(sql, &version, err);

	if (r == 0 && version < VERSION)
		return error_set(err, -EPROTONOSUPPORT,
				 "the queue database has format %lld, made by an older version; "
				 "the next start of the server brings it to format %d",
				 (long long)version, VERSION);
	return r;
}

/* What fails is rolled back when the connection is closed. */
static int exec_all(struct sql *sql, const char *const *texts, size_t count, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = sql_exec(sql, texts[i], err);
	return r;
}

/* In one transaction: after a crash there is all of it or nothing. */
static int create(struct sql *sql, struct error *err)
{
	const char *const texts[] = {
		file_pragmas, "BEGIN IMMEDIATE",
		tables,	      LEDGER_INDEX LEDGER_TRACE WAITING_INDEX,
		views,	      marks,
		"COMMIT",
	};

	return exec_all(sql, texts, ARRAY_SIZE(texts), err);
}

/* In one transaction too. */
static int migrate(struct sql *sql, int64_t version, struct error *err)
{
	const char *const rest[] = { drop_views, views, marks, "COMMIT" };
	int r = sql_exec(sql, "BEGIN IMMEDIATE", err);

	for (int64_t i = version; i < VERSION && r == 0; i++)
		r = sql_exec(sql, migrations[i], err);
	if (r == 0)
		r = exec_all(sql, rest, ARRAY_SIZE(rest), err);
	return r;
}

int queue_schema_prepare(struct sql *sql, struct error *err)
{
	struct error reason = { 0 };
	int64_t version = VERSION;
	int r = read_version(sql, &version, &reason);

	if (r == -ENOENT)
		r = create(sql, &reason);
	if (r == 0)
		r = sql_exec(sql, connection_pragmas, &reason);
	if (r == 0 && version < VERSION)
		r = migrate(sql, version, &reason);
	return r < 0 ? error_set(err, r, "%s", reason.text) : 0;
}
