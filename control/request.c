/* request - jansson reads it; duplicate names, NUL in texts and broken UTF-8 are its errors */
#include "control/request.h"

#include <errno.h>
#include <jansson.h>

#include "base/escape.h"
#include "base/macros.h"
#include "base/memory.h"

#define NAME_SIZE	64   /* of what an error text repeats */
#define DESCRIPTION_MAX 1024 /* then it is long enough */

struct control_request {
	json_t *object;
	const char *command;
};

static const char *shown(const char *name, char out[NAME_SIZE])
{
	return escape_cstr(slice_from(name), out, NAME_SIZE);
}

int control_request_from(json_t *object, struct control_request **ret_request, struct error *err)
{
	const char *command = json_string_value(json_object_get(object, "command"));
	struct control_request *r;

	if (!command) {
		json_decref(object);
		return error_set(err, -EINVAL, "malformed request: no command");
	}
	r = memory_new(sizeof(*r));
	*r = (struct control_request){ .object = object, .command = command };
	*ret_request = r;
	return 0;
}

int control_request_parse(struct slice line, struct control_request **ret_request,
			  struct error *err)
{
	char text[JSON_ERROR_TEXT_LENGTH];
	json_error_t problem;
	json_t *object;

	if (line.len == 0)
		return error_set(err, -EINVAL, "empty request");
	object = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &problem);
	if (!object)
		return error_set(err, -EINVAL, "malformed request: %s",
				 escape_cstr(slice_from(problem.text), text, sizeof(text)));
	return control_request_from(object, ret_request, err);
}

void control_request_free(struct control_request *r)
{
	if (!r)
		return;
	json_decref(r->object);
	free(r);
}

const char *control_request_command(const struct control_request *r)
{
	return r->command;
}

static bool is_in(const char *names, const char *name)
{
	struct slice rest = slice_from(names), word;

	while (slice_next_word(&rest, " ", &word))
		if (slice_equal(word, slice_from(name)))
			return true;
	return false;
}

int control_request_allow(const struct control_request *r, const char *names, struct error *err)
{
	const char *name;
	json_t *value;
	char text[NAME_SIZE];

	json_object_foreach(r->object, name, value)
	{
		if (strcmp(name, "command") != 0 && !is_in(names, name))
			return error_set(err, -EINVAL, "unknown argument %s", shown(name, text));
	}
	return 0;
}

static int wrong_type(const char *name, const char *wanted, struct error *err)
{
	char text[NAME_SIZE];

	return error_set(err, -EINVAL, "argument %s: not %s", shown(name, text), wanted);
}

int control_request_flag(const struct control_request *r, const char *name, bool *ret,
			 struct error *err)
{
	const json_t *value = json_object_get(r->object, name);

	if (value && !json_is_boolean(value))
		return wrong_type(name, "true or false", err);
	if (value)
		*ret = json_is_true(value);
	return 0;
}

int control_request_number(const struct control_request *r, const char *name, int64_t *ret,
			   struct error *err)
{
	const json_t *value = json_object_get(r->object, name);

	if (value && !json_is_integer(value))
		return wrong_type(name, "a number", err);
	if (value)
		*ret = json_integer_value(value);
	return 0;
}

int control_request_text(const struct control_request *r, const char *name, const char **ret,
			 struct error *err)
{
	const json_t *value = json_object_get(r->object, name);

	if (value && !json_is_string(value))
		return wrong_type(name, "a text", err);
	if (value)
		*ret = json_string_value(value);
	return 0;
}

int control_request_texts(const struct control_request *r, const char *name,
			  int (*take)(void *arg, const char *text, struct error *err), void *arg,
			  struct error *err)
{
	const json_t *array = json_object_get(r->object, name);

	if (array && !json_is_array(array))
		return wrong_type(name, "a list", err);
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *text = json_string_value(json_array_get(array, i));
		int result = text ? take(arg, text, err) : wrong_type(name, "a list of texts", err);

		if (result < 0)
			return result;
	}
	return 0;
}

static void describe_text(struct buf *out, const char *text)
{
	buf_append_slice(out, slice_first(slice_from(text), DESCRIPTION_MAX));
}

static void describe_list(struct buf *out, const json_t *array, const char *separator)
{
	for (size_t i = 0; i < json_array_size(array) && buf_len(out) < DESCRIPTION_MAX; i++) {
		const char *text = json_string_value(json_array_get(array, i));

		buf_append_string(out, i > 0 ? separator : "");
		describe_text(out, text ? text : "?");
	}
}

/* "older_than" is --older-than on the command line. */
static void describe_name(struct buf *out, const char *name)
{
	size_t len = MIN(strlen(name), NAME_SIZE);

	buf_append_string(out, "--");
	for (size_t i = 0; i < len; i++)
		buf_append(out, name[i] == '_' ? "-" : &name[i], 1);
}

static void describe_value(struct buf *out, const char *name, const json_t *value)
{
	if (json_is_false(value))
		return;
	if (buf_len(out) > 0)
		buf_append_string(out, " ");
	if (json_is_array(value) && strcmp(name, "ids") == 0) {
		describe_list(out, value, " ");
		return;
	}
	describe_name(out, name);
	if (json_is_true(value))
		return;
	buf_append_string(out, "=");
	if (json_is_array(value))
		describe_list(out, value, ",");
	else if (json_is_string(value))
		describe_text(out, json_string_value(value));
	else if (json_is_integer(value))
		buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		buf_append_string(out, "?");
}

void control_request_describe(const struct control_request *r, struct buf *out)
{
	const char *name;
	json_t *value;

	json_object_foreach(r->object, name, value)
	{
		if (strcmp(name, "command") != 0 && buf_len(out) < DESCRIPTION_MAX)
			describe_value(out, name, value);
	}
}
