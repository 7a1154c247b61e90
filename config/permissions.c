/*
 * Looks at owner and mode bits, since check often runs as somebody else than
 * the server will; access control lists and read-only mounts are not seen.
 */
#include "config/state.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/macros.h"
#include "mta/drop.h"

#define GROUPS_MAX 64

void config_check_user(struct config *c)
{
	const char *user = config_value(c, CONFIG_USER);

	if (user && user[0] != '\0' && !getpwnam(user))
		config_report_setting(c, CONFIG_USER, CONFIG_ERROR,
				      "%s: there is no such account; create it, as by useradd "
				      "--system %s, or set user",
				      user, user);
}

static bool is_member(const struct passwd *account, gid_t group)
{
	gid_t groups[GROUPS_MAX];
	int count = GROUPS_MAX;

	if (getgrouplist(account->pw_name, account->pw_gid, groups, &count) < 0)
		count = GROUPS_MAX;
	for (int i = 0; i < count; i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* right is S_IROTH or S_IWOTH; the same bits stand further up for group and owner. */
static bool may(const struct passwd *account, const struct stat *st, mode_t right)
{
	if (account->pw_uid == 0)
		return true;
	if (st->st_uid == account->pw_uid)
		return st->st_mode & (right << 6);
	if (is_member(account, st->st_gid))
		return st->st_mode & (right << 3);
	return st->st_mode & right;
}

/* Whom the server runs as; NULL when there is no such account, which is reported elsewhere. */
static const struct passwd *account_of(const struct config *c)
{
	const char *user = config_value(c, CONFIG_USER);

	return user && user[0] != '\0' ? getpwnam(user) : getpwuid(geteuid());
}

void config_check_directory(struct config *c, enum config_parameter_id id)
{
	const char *path = config_value(c, id);
	const struct passwd *account;
	struct stat st;

	if (!path)
		return;
	if (stat(path, &st) < 0) {
		/* One that is absent is made when the server starts. */
		if (errno != ENOENT)
			config_report_setting(c, id, CONFIG_ERROR, "%s: %s", path, strerror(errno));
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		config_report_setting(c, id, CONFIG_ERROR, "%s: not a directory", path);
		return;
	}
	account = account_of(c);
	if (account && !may(account, &st, S_IWOTH))
		config_report_setting(c, id, CONFIG_ERROR,
				      "%s: %s may not write there, which the server runs as; chown "
				      "it, or name another directory",
				      path, account->pw_name);
}

void config_check_queue_files(struct config *c)
{
	static const char *const names[] = { "queue.db", "queue.db-wal", "queue.db-shm",
					     "queue.lock", "bodies" };
	const char *directory = config_value(c, CONFIG_QUEUE_DIRECTORY);
	const struct passwd *account = account_of(c);

	for (size_t i = 0; directory && account && i < ARRAY_SIZE(names); i++) {
		char path[PATH_MAX];
		struct stat st;

		if (snprintf(path, sizeof(path), "%s/%s", directory, names[i]) <
			    (int)sizeof(path) &&
		    stat(path, &st) == 0 &&
		    (!may(account, &st, S_IROTH) || !may(account, &st, S_IWOTH)))
			config_report_setting(c, CONFIG_QUEUE_DIRECTORY, CONFIG_ERROR,
					      "%s: %s, which the server runs as, may not read and "
					      "write it; chown -R %s %s",
					      path, account->pw_name, account->pw_name, directory);
	}
}

static bool has_queue(const char *directory)
{
	char path[PATH_MAX];
	struct stat st;

	return snprintf(path, sizeof(path), "%s/queue.db", directory) < (int)sizeof(path) &&
	       stat(path, &st) == 0;
}

/*
 * What the server would make, and what somebody has made of it. Only of what is
 * there: it is made when the server starts.
 */
void config_check_drop_directory(struct config *c)
{
	const char *queue = config_value(c, CONFIG_QUEUE_DIRECTORY);
	const struct passwd *account = account_of(c);
	struct stat st;

	if (!queue || !account || stat(queue, &st) < 0)
		return;
	if (!(st.st_mode & S_IXOTH))
		config_report_setting(c, CONFIG_QUEUE_DIRECTORY, CONFIG_WARNING,
				      "%s: sendmail works for root and %s only, as others cannot "
				      "get to " DROP_DIRECTORY " in there; chmod o+x %s",
				      queue, account->pw_name, queue);
	if (lstat(c->drop_directory, &st) < 0) {
		/* Where a server has been it has made one. */
		if (errno == ENOENT && has_queue(queue))
			config_report_setting(c, CONFIG_QUEUE_DIRECTORY, CONFIG_WARNING,
					      "%s: is missing, and nobody can send by sendmail; "
					      "the server makes it when it starts",
					      c->drop_directory);
		return;
	}
	if (!S_ISDIR(st.st_mode) || st.st_uid != account->pw_uid)
		config_report_setting(
			c, CONFIG_QUEUE_DIRECTORY, CONFIG_ERROR,
			"%s: must be a directory that belongs to %s, which the server "
			"runs as",
			c->drop_directory, account->pw_name);
	else if ((st.st_mode & 07777) != DROP_DIRECTORY_MODE || st.st_gid != account->pw_gid)
		config_report_setting(c, CONFIG_QUEUE_DIRECTORY, CONFIG_WARNING,
				      "%s: must have mode %o and group %lu, so that every account "
				      "can send mail, and none read another's; the server mends "
				      "it when it starts",
				      c->drop_directory, DROP_DIRECTORY_MODE,
				      (unsigned long)account->pw_gid);
}

/* A file that root can read at the start must be there for the account, too, when it changes. */
void config_check_readable(struct config *c, enum config_parameter_id id, const char *path)
{
	const struct passwd *account = c->is_only_asked ? NULL : account_of(c);
	struct stat st;

	if (account && stat(path, &st) == 0 && !may(account, &st, S_IROTH))
		config_report_setting(c, id, CONFIG_ERROR,
				      "%s: %s, which the server runs as, may not read it; chgrp it "
				      "to a group of that account and chmod g+r",
				      path, account->pw_name);
}

void config_check_socket(struct config *c, enum config_parameter_id id, const char *path)
{
	const struct passwd *account = account_of(c);
	struct stat st;

	if (!account || stat(path, &st) < 0)
		return;
	if (!S_ISSOCK(st.st_mode))
		config_report_setting(c, id, CONFIG_ERROR, "%s: not a socket", path);
	else if (!may(account, &st, S_IWOTH))
		config_report_setting(c, id, CONFIG_WARNING,
				      "%s: %s, which the server runs as, may not connect to it; "
				      "let its unix_listener have user = %s",
				      path, account->pw_name, account->pw_name);
}

void config_check_map_readable(struct config *c, enum config_parameter_id id, struct map *map)
{
	struct arena arena = { 0 };
	const char *database = map_database(map, &arena);

	if (map_file(map))
		config_check_readable(c, id, map_file(map));
	if (database)
		config_check_readable(c, id, database);
	arena_done(&arena);
}

void config_check_key_readable(struct config *c, enum config_parameter_id id, const char *path)
{
	const struct passwd *account = account_of(c);
	struct stat st;

	if (account && stat(path, &st) == 0 && !may(account, &st, S_IROTH))
		config_report_setting(c, id, CONFIG_WARNING,
				      "%s: %s, which the server runs as, may not read it, so a new "
				      "key needs a restart; for a reload, chgrp it to a group of "
				      "that account and chmod g+r",
				      path, account->pw_name);
}

/* The configuration itself is read again by a reload. */
void config_check_file_readable(struct config *c)
{
	const struct passwd *account = account_of(c);
	struct stat st;

	if (account && stat(c->file, &st) == 0 && !may(account, &st, S_IROTH))
		config_report(c, c->file, 1, CONFIG_WARNING,
			      "%s, which the server runs as, may not read this file, so it cannot "
			      "be reloaded; chgrp it to a group of that account and chmod g+r",
			      account->pw_name);
}

void config_check_secret(struct config *c, enum config_parameter_id id, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	if (st.st_mode & S_IWOTH)
		config_report_setting(c, id, CONFIG_WARNING,
				      "%s: every account of this host may change it; chmod o-w",
				      path);
	if (st.st_mode & S_IROTH)
		config_report_setting(c, id, CONFIG_WARNING,
				      "%s: every account of this host may read it; take that away "
				      "by chmod o-r, so that the server's account still may",
				      path);
}

void config_check_passwords(struct config *c, enum config_parameter_id id, const char *path)
{
	const struct passwd *account = account_of(c);
	struct stat st;
	bool needs_group;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	needs_group = account && account->pw_uid != 0 && account->pw_uid != st.st_uid &&
		      is_member(account, st.st_gid);
	if (st.st_mode & S_IROTH)
		config_report_setting(
			c, id, CONFIG_WARNING,
			"%s: every account of this host may read the passwords in it; "
			"chmod o-r",
			path);
	else if ((st.st_mode & S_IRGRP) && !needs_group)
		config_report_setting(c, id, CONFIG_WARNING,
				      "%s: a group may read the passwords in it, which the server "
				      "does not need; chmod g-r",
				      path);
}
