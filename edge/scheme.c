#include "edge/scheme.h"

#include <crypt.h>
#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"

static const char *const plain_schemes[] = { "PLAIN", "CLEARTEXT" };
static const char *const crypt_schemes[] = { "CRYPT", "MD5-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT",
					     "BLF-CRYPT" };

enum method { METHOD_UNKNOWN, METHOD_PLAIN, METHOD_CRYPT };

static bool is_one_of(struct slice name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (slice_equal_nocase(name, slice_from(names[i])))
			return true;
	return false;
}

/* Split "{SCHEME}rest". */
static enum method split(struct slice stored, struct slice *ret_name, struct slice *ret_rest)
{
	*ret_name = SLICE("CRYPT");
	*ret_rest = stored;
	if (stored.len > 0 && stored.ptr[0] == '{') {
		size_t end = slice_find(stored, '}');

		*ret_name = slice_skip(slice_first(stored, end), 1);
		*ret_rest = slice_skip(stored, end + 1);
	}
	if (is_one_of(*ret_name, plain_schemes, ARRAY_SIZE(plain_schemes)))
		return METHOD_PLAIN;
	if (is_one_of(*ret_name, crypt_schemes, ARRAY_SIZE(crypt_schemes)))
		return METHOD_CRYPT;
	return METHOD_UNKNOWN;
}

/* crypt(3) would take any two letters as the salt of the old DES method: ask for a whole hash. */
static bool is_hash(const char *setting)
{
	int r = crypt_checksalt(setting);

	if (r == CRYPT_SALT_INVALID || r == CRYPT_SALT_METHOD_DISABLED)
		return false;
	return setting[0] == '$' || setting[0] == '_' || strlen(setting) == 13;
}

int scheme_validate(struct slice stored, struct error *err)
{
	struct slice name, rest;
	enum method method = split(stored, &name, &rest);
	char setting[CRYPT_OUTPUT_SIZE];

	if (method == METHOD_UNKNOWN)
		return error_set(err, -EINVAL,
				 "password scheme {%.*s} is not known; expected PLAIN, CLEARTEXT, "
				 "CRYPT, MD5-CRYPT, SHA256-CRYPT, SHA512-CRYPT or BLF-CRYPT",
				 (int)MIN(name.len, 40u), name.ptr);
	if (rest.len == 0)
		return error_set(err, -EINVAL, "the password is empty");
	if (method == METHOD_PLAIN)
		return 0;
	if (!slice_copy(rest, setting, sizeof(setting)))
		return error_set(err, -EINVAL, "the password hash is too long");
	if (!is_hash(setting))
		return error_set(err, -EINVAL, "the password is no hash that crypt(3) knows%s",
				 stored.ptr[0] == '{' ? "" : "; for a plain one write {PLAIN}");
	return 0;
}

/* Time depends on the length of what was given, not on how much of it is right. */
static bool equal_in_constant_time(const char *given, struct slice wanted)
{
	size_t len = strlen(given);
	unsigned char difference = len != wanted.len;

	for (size_t i = 0; i < len; i++)
		difference |= (unsigned char)given[i] ^
			      (unsigned char)(wanted.len ? wanted.ptr[i % wanted.len] : 0);
	return difference == 0;
}

static bool crypt_matches(struct slice stored, const char *password)
{
	struct crypt_data *memory = calloc(1, sizeof(*memory));
	char setting[CRYPT_OUTPUT_SIZE];
	const char *hash = NULL;
	bool match;

	if (memory && slice_copy(stored, setting, sizeof(setting)))
		hash = crypt_r(password, setting, memory);
	/* Failure is NULL or a string that begins with '*', which is no hash. */
	match = hash && hash[0] != '*' && equal_in_constant_time(hash, stored);
	if (memory)
		explicit_bzero(memory, sizeof(*memory));
	free(memory);
	return match;
}

bool scheme_matches(struct slice stored, const char *password)
{
	struct slice name, rest;
	enum method method = split(stored, &name, &rest);

	if (method == METHOD_UNKNOWN || rest.len == 0)
		return false;
	return method == METHOD_PLAIN ? equal_in_constant_time(password, rest)
				      : crypt_matches(rest, password);
}
