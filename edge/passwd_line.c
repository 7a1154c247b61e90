/*
 * Where Dovecot ignores a line that it cannot make sense of, we refuse the
 * file: an account that is gone would have its mail returned. Extra fields by
 * which Dovecot lets fewer in than the password does must not be ignored either.
 */
#include "edge/passwd_line.h"

#include <errno.h>

#include "base/macros.h"
#include "edge/scheme.h"

#define EXTRA_FIELD 7 /* counted from 0 */

/* What restricts a login, or makes it another's, in ways that we do not follow. */
static const char *const refused[] = {
	"allow_nets", "allow_real_nets", "user", "username", "domain",
	"login_user", "password",	 "pass", "scheme",   "noauthenticate",
};

static struct slice trim_start(struct slice s)
{
	while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s = slice_skip(s, 1);
	return s;
}

bool passwd_line_next(struct slice *rest, struct slice *ret_line)
{
	size_t n = slice_find(*rest, '\n');

	if (rest->len == 0)
		return false;
	*ret_line = slice_first(*rest, n);
	*rest = slice_skip(*rest, n + 1);
	if (ret_line->len > 0 && ret_line->ptr[ret_line->len - 1] == '\r')
		ret_line->len--;
	return true;
}

struct slice passwd_line_user(struct slice line)
{
	line = trim_start(line);
	if (line.len == 0 || line.ptr[0] == '#')
		return slice_first(line, 0);
	return slice_first(line, slice_find(line, ':'));
}

static struct slice field(struct slice line, unsigned int number)
{
	while (number-- > 0)
		line = slice_skip(line, slice_find(line, ':') + 1);
	return slice_first(line, slice_find(line, ':'));
}

/* The last field takes what is left, colons and all, as IPv6 addresses have them. */
static struct slice extra_fields(struct slice line)
{
	for (unsigned int i = 0; i < EXTRA_FIELD; i++)
		line = slice_skip(line, slice_find(line, ':') + 1);
	return line;
}

bool passwd_extra_is_refused(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (slice_equal(name, slice_from(refused[i])))
			return true;
	return false;
}

static int check_extra(struct slice line, struct passwd_line *ret, struct error *err)
{
	struct slice rest = extra_fields(line), word;

	while (slice_next_word(&rest, " ", &word)) {
		struct slice name = slice_first(word, slice_find(word, '='));

		if (passwd_extra_is_refused(name))
			return error_set(err, -EINVAL, "the extra field %.*s " PASSWD_EXTRA_REFUSED,
					 (int)name.len, name.ptr);
		if (slice_equal(name, SLICE("nologin"))) {
			ret->password = SLICE("");
			ret->is_closed = true;
		}
		if (slice_equal(name, SLICE("nopassword")))
			ret->warning = "the extra field nopassword is not obeyed: nobody logs in "
				       "here without a password";
	}
	return 0;
}

static int check_user(struct slice user, struct error *err)
{
	if (user.len == 0)
		return error_set(err, -EINVAL, "expected user:password");
	if (user.len > PASSWD_USER_MAX)
		return error_set(err, -EINVAL, "the user name is too long");
	for (size_t i = 0; i < user.len; i++)
		if ((unsigned char)user.ptr[i] <= ' ' || user.ptr[i] == 0x7f)
			return error_set(err, -EINVAL,
					 "white space or a control character in the user name");
	return 0;
}

int passwd_line_parse(struct slice line, struct passwd_line *ret, struct error *err)
{
	struct slice start = trim_start(line);
	int r;

	*ret = (struct passwd_line){ 0 };
	if (start.len == 0 || start.ptr[0] == '#')
		return 0;
	ret->user = field(start, 0);
	if (ret->user.len == start.len)
		return error_set(err, -EINVAL, "expected user:password");
	r = check_user(ret->user, err);
	if (r < 0)
		return r;
	ret->password = field(start, 1);
	if (start.len < line.len)
		ret->warning = "white space in front of the user name: Dovecot would not find it";
	if (ret->password.len > 0)
		r = scheme_validate(ret->password, err);
	return r < 0 ? r : check_extra(start, ret, err);
}
