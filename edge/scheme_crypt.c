/*
 * crypt(3) tells its methods apart by what is stored, whichever scheme the
 * operator has named. What a hash costs stands in it, so that a single line
 * could keep a thread busy for hours: the costs are bounded.
 */
#include "edge/scheme_internal.h"

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"

#define ROUNDS_MAX	1000000 /* of $5$ and $6$: a second */
#define BCRYPT_COST_MAX 14	/* doubles with each step: two seconds */
#define BCRYPT_COST_NEW 10
#define BCRYPT_KEY_MAX	72 /* it reads no more of a password */

/* crypt(3) would take any two letters as the salt of the old DES method: ask for a whole hash. */
static bool is_hash(const char *setting)
{
	int r = crypt_checksalt(setting);

	if (r == CRYPT_SALT_INVALID || r == CRYPT_SALT_METHOD_DISABLED)
		return false;
	return setting[0] == '$' || setting[0] == '_' || strlen(setting) == 13;
}

static bool is_too_costly(const char *setting)
{
	static const char rounds[] = "$rounds=";

	if (strncmp(setting, "$2", 2) == 0 && setting[2] && setting[3] == '$')
		return strtoul(setting + 4, NULL, 10) > BCRYPT_COST_MAX;
	if (setting[0] == '$' && strncmp(setting + 2, rounds, sizeof(rounds) - 1) == 0)
		return strtoul(setting + 2 + sizeof(rounds) - 1, NULL, 10) > ROUNDS_MAX;
	return false;
}

int scheme_crypt_validate(struct slice raw, struct error *err)
{
	char setting[CRYPT_OUTPUT_SIZE];

	if (!slice_copy(raw, setting, sizeof(setting)))
		return error_set(err, -EINVAL, "the password hash is too long");
	if (!is_hash(setting))
		return error_set(err, -EINVAL, "the password is no hash that crypt(3) knows");
	if (is_too_costly(setting))
		return error_set(
			err, -EINVAL,
			"the password hash would take seconds to check: at most %d rounds, "
			"or a cost of %d with $2y$",
			ROUNDS_MAX, BCRYPT_COST_MAX);
	return 0;
}

bool scheme_crypt_matches(const struct scheme *scheme, struct slice raw, const char *password)
{
	struct crypt_data *memory = calloc(1, sizeof(*memory));
	char setting[CRYPT_OUTPUT_SIZE];
	const char *hash = NULL;
	bool match;

	(void)scheme;
	if (memory && slice_copy(raw, setting, sizeof(setting)))
		hash = crypt_r(password, setting, memory);
	/* Failure is NULL or a string that begins with '*', which is no hash. */
	match = hash && hash[0] != '*' && strlen(hash) == raw.len &&
		scheme_equal(hash, raw.ptr, raw.len);
	if (memory)
		explicit_bzero(memory, sizeof(*memory));
	free(memory);
	return match;
}

int scheme_crypt_make(const struct scheme *scheme, const char *password, struct buf *out,
		      struct error *err)
{
	bool is_bcrypt = strcmp(scheme->setting, "$2y$") == 0;
	struct crypt_data *memory;
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *hash = NULL;
	int r = 0;

	if (is_bcrypt && strlen(password) > BCRYPT_KEY_MAX)
		return error_set(err, -EINVAL,
				 "{%s} reads %d bytes of a password: this one is longer",
				 scheme->name, BCRYPT_KEY_MAX);
	if (!crypt_gensalt_rn(scheme->setting, is_bcrypt ? BCRYPT_COST_NEW : 0, NULL, 0, setting,
			      sizeof(setting)))
		return error_set(err, -errno, "{%s}: crypt(3) of this system cannot make it: %s",
				 scheme->name, strerror(errno));
	memory = calloc(1, sizeof(*memory));
	if (memory)
		hash = crypt_r(password, setting, memory);
	if (hash && hash[0] != '*')
		buf_append_string(out, hash);
	else
		r = error_set(err, -ENOMEM, "{%s}: crypt(3) could not make it", scheme->name);
	if (memory)
		explicit_bzero(memory, sizeof(*memory));
	free(memory);
	return r;
}
