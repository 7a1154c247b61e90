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
#define BCRYPT_KEY_MAX	72			    /* it reads no more of a password */
#define YESCRYPT_MAX	((size_t)256 * 1024 * 1024) /* bytes */

static bool starts_with(const char *setting, const char *prefix)
{
	return strncmp(setting, prefix, strlen(prefix)) == 0;
}

/* 13 characters without a prefix are the old DES, salt and all. */
static bool is_des(const char *setting)
{
	static const char alphabet[] =
		"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	return strlen(setting) == 13 && strspn(setting, alphabet) == 13;
}

/*
 * Methods whose cost can be told. crypt(3) would take any two letters as the
 * salt of DES, too: ask for a whole hash.
 */
static bool is_hash(const char *setting)
{
	static const char *const methods[] = { "$1$",  "$5$",  "$6$", "$2a$",
					       "$2b$", "$2y$", "$y$", "$gy$" };
	int r = crypt_checksalt(setting);

	if (r == CRYPT_SALT_INVALID || r == CRYPT_SALT_METHOD_DISABLED)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (starts_with(setting, methods[i]))
			return true;
	return is_des(setting);
}

/* A number of one character, 1 to 48; larger ones have more. 0: it is none. */
static unsigned int yescrypt_number(char c)
{
	static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (unsigned int)(at - digits) + 1 : 0;
}

/*
 * "$y$" or "$gy$", then flags, the logarithm of N, and r; it takes 128 * N * r
 * bytes. What is not of that form, as with parameters that crypt(3) never makes,
 * is taken for too much.
 */
static size_t yescrypt_memory(const char *setting)
{
	const char *parameters = strchr(setting + 1, '$') + 1;
	unsigned int log_n, r;

	if (strlen(parameters) < 4 || parameters[0] != 'j' || parameters[3] != '$')
		return SIZE_MAX;
	log_n = yescrypt_number(parameters[1]);
	r = yescrypt_number(parameters[2]);
	return log_n == 0 || r == 0 || log_n > 24 ? SIZE_MAX : ((size_t)128 * r) << log_n;
}

static bool is_yescrypt(const char *setting)
{
	return starts_with(setting, "$y$") || starts_with(setting, "$gy$");
}

static bool is_too_costly(const char *setting)
{
	static const char rounds[] = "$rounds=";

	if (is_yescrypt(setting))
		return yescrypt_memory(setting) > YESCRYPT_MAX;
	if (starts_with(setting, "$2"))
		return strtoul(setting + 4, NULL, 10) > BCRYPT_COST_MAX;
	if (setting[0] == '$' && starts_with(setting + 2, rounds))
		return strtoul(setting + 2 + sizeof(rounds) - 1, NULL, 10) > ROUNDS_MAX;
	return false;
}

size_t scheme_crypt_memory(struct slice raw)
{
	char setting[CRYPT_OUTPUT_SIZE];

	return slice_copy(raw, setting, sizeof(setting)) && is_yescrypt(setting)
		       ? yescrypt_memory(setting)
		       : 0;
}

int scheme_crypt_validate(struct slice raw, struct error *err)
{
	char setting[CRYPT_OUTPUT_SIZE];

	if (!slice_copy(raw, setting, sizeof(setting)))
		return error_set(err, -EINVAL, "the password hash is too long");
	if (!is_hash(setting))
		return error_set(
			err, -EINVAL,
			"the password is no hash of crypt(3); expected one that begins with "
			"$6$, $5$, $1$, $2y$, $2b$, $2a$, $y$ or $gy$");
	if (is_too_costly(setting))
		return error_set(
			err, -EINVAL,
			"the password hash would take too long or too much memory to check: "
			"at most %d rounds, "
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
