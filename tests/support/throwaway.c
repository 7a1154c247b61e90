/* throwaway - the shell script does the work; MAKE_CERTS is its path */
#include "tests/support/throwaway.h"

#include <dirent.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void need(int condition, const char *what)
{
	if (condition)
		return;
	perror(what);
	abort();
}

char *throwaway_certs(void)
{
	const char *tmp = getenv("TMPDIR");
	char *directory, *argv[4];
	int status = -1;
	pid_t pid;

	need(asprintf(&directory, "%s/posthouse-test-XXXXXX", tmp ? tmp : "/tmp") > 0, "asprintf");
	need(mkdtemp(directory) != NULL, directory);

	argv[0] = strdup("sh");
	argv[1] = strdup(MAKE_CERTS);
	argv[2] = directory;
	argv[3] = NULL;
	need(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ) == 0, "sh");
	need(waitpid(pid, &status, 0) == pid && status == 0, MAKE_CERTS);
	free(argv[0]);
	free(argv[1]);
	return directory;
}

void throwaway_remove(char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	need(dir != NULL, directory);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			unlink(throwaway_path(directory, entry->d_name));
	}
	closedir(dir);
	rmdir(directory);
	free(directory);
}

const char *throwaway_path(const char *directory, const char *name)
{
	static char paths[8][4096];
	static unsigned int turn;
	char *path = paths[turn++ % 8];

	need(snprintf(path, sizeof(paths[0]), "%s/%s", directory, name) < (int)sizeof(paths[0]),
	     name);
	return path;
}
