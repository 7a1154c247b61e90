/*
 * fuzz_control - a request on the control socket, and its arguments by every type
 *
 * The first half of this is what the server does with any bytes; then each
 * argument that a handler may ask for is asked for, as the wrong type too.
 */
#include <errno.h>
#include <string.h>

#include "control/request.h"
#include "tests/fuzz/fuzz.h"

#define MANY 100000

static void check_text(const char *text)
{
	MUST(text && strlen(text) < 512);
	for (; *text; text++)
		MUST((unsigned char)*text >= ' ' && *text != 0x7f);
}

static int take(void *arg, const char *text, struct error *err)
{
	size_t *count = arg;

	MUST(text);
	return ++*count > MANY ? error_set(err, -E2BIG, "many") : 0;
}

static void check_result(int r, const struct error *err)
{
	MUST(r == 0 || r == -EINVAL || r == -E2BIG);
	if (r < 0)
		check_text(err->text);
}

static void ask_all(const struct control_request *request)
{
	static const char *const names[] = { "command",	 "ids",	     "all",	     "sender",
					     "next_hop", "statuses", "older_than_s", "dry_run" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct error err = { 0 };
		const char *text = NULL;
		int64_t number = 0;
		bool flag = false;
		size_t count = 0;

		check_result(control_request_flag(request, names[i], &flag, &err), &err);
		check_result(control_request_number(request, names[i], &number, &err), &err);
		check_result(control_request_text(request, names[i], &text, &err), &err);
		check_result(control_request_texts(request, names[i], take, &count, &err), &err);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_request *request = NULL;
	struct buf description = { 0 };
	struct error err = { 0 };
	int r = control_request_parse(slice_of((const char *)data, size), &request, &err);

	check_result(r, &err);
	MUST((r == 0) == (request != NULL));
	if (r < 0)
		return 0;
	MUST(control_request_command(request));
	check_result(control_request_allow(request, "ids all sender dry_run", &err), &err);
	ask_all(request);
	control_request_describe(request, &description);
	MUST(buf_len(&description) < 4096);
	buf_done(&description);
	control_request_free(request);
	return 0;
}
