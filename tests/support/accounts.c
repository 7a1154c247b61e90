/*
 * accounts - the accounts of a smtpd_sasl_passdb for programs
 *
 * accounts PASSDB reads lines "USER PASSWORD" from standard input, and prints
 * a line for each: the name of the account, a tab, and "match" or "mismatch";
 * "unknown"; or "error: TEXT". The first line that is printed is the number
 * that accounts_secrets() gives.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/accounts.h"

static void answer(struct accounts *accounts, const char *user, const char *password)
{
	struct account account = { 0 };
	struct arena arena = { 0 };
	struct error err;
	int r = accounts_find(accounts, user, &arena, &account, &err);

	if (r < 0)
		printf("error: %s\n", err.text);
	else if (r == MAP_NOT_FOUND)
		printf("unknown\n");
	else
		printf("%s\t%s\n", account.name,
		       accounts_match(accounts, account.stored, password) ? "match" : "mismatch");
	account_wipe(&account);
	arena_done(&arena);
}

int main(int argc, char **argv)
{
	CLEANUP(accounts_freep) struct accounts *accounts = NULL;
	CLEANUP(free_strp) char *line = NULL;
	struct error err;
	size_t size = 0;

	if (argc != 2 || accounts_open(argv[1], &accounts, &err) < 0) {
		fprintf(stderr, "%s\n", argc != 2 ? "usage: accounts PASSDB" : err.text);
		return 1;
	}
	printf("%u\n", accounts_secrets(accounts));
	while (getline(&line, &size, stdin) > 0) {
		char *blank = strchr(line, ' ');

		if (!blank)
			return 1;
		*blank = '\0';
		blank[1 + strcspn(blank + 1, "\n")] = '\0';
		answer(accounts, line, blank + 1);
	}
	return 0;
}
