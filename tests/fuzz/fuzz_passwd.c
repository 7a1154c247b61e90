/*
 * fuzz_passwd - lines of a password file, and stored passwords, of any bytes
 *
 * What a line has must parse again when it is listed; what is not valid keeps
 * nothing and matches nothing. Hashes that are made to be slow are left to the
 * unit tests.
 */
#include "tests/fuzz/fuzz.h"

#include "edge/passwd.h"
#include "edge/passwd_edit.h"
#include "edge/passwd_line.h"

static bool is_quick(struct slice stored)
{
	const char *name = scheme_name(stored);

	return !strstr(name, "CRYPT") && !strstr(name, "ARGON2") && !strstr(name, "SCRAM");
}

static void check_stored(struct slice stored)
{
	char password[SCHEME_STORED_MAX + 1] = "";
	struct scheme_scram scram;
	struct error err = { 0 };
	bool is_valid = scheme_validate(stored, &err) == 0;
	unsigned int secrets = scheme_secrets(stored);

	MUST(is_valid || (secrets == 0 && err.text[0]));
	MUST(scheme_cleartext(stored, password) == !!(secrets & SCHEME_CLEARTEXT));
	MUST(!(secrets & SCHEME_CLEARTEXT) || scheme_matches(stored, password));
	MUST(scheme_scram(stored, SCHEME_SCRAM_SHA_1, &scram) == (secrets == SCHEME_SCRAM_SHA_1));
	MUST(scheme_scram(stored, SCHEME_SCRAM_SHA_256, &scram) ==
	     (secrets == SCHEME_SCRAM_SHA_256));
	if (is_quick(stored))
		MUST(is_valid || !scheme_matches(stored, "x"));
	scheme_memory(stored);
	scheme_cram_md5_matches(stored, SLICE("<1@x>"), SLICE("00000000000000000000000000000000"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of((const char *)data, size), line;
	struct passwd_line account;
	struct error err;

	check_stored(rest);
	passwd_validate(rest, "f", &err);
	while (passwd_line_next(&rest, &line)) {
		if (passwd_line_parse(line, &account, &err) < 0 || account.user.len == 0)
			continue;
		MUST(slice_equal(account.user, passwd_line_user(line)));
		MUST(account.password.len == 0 || scheme_validate(account.password, &err) == 0);
	}
	return 0;
}
