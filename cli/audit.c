/* audit - see audit.h */
#include "cli/audit.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/escape.h"
#include "base/macros.h"
#include "base/memory.h"

#define NAME_MAX_BYTES	    32
#define ARGUMENTS_MAX_BYTES 512
#define STATUS_MAX_BYTES    256
#define LOOKUP_SIZE	    16384 /* what an entry of the user database may take */

struct line {
	struct loop_work work;
	struct log *log;
	struct buf text; /* up to the user, and behind it */
	size_t user_at;
	bool is_user_known;
	uid_t uid;
	char user[64];
};

/* "alice(1000)"; "1000" where there is no such account. */
static void name_user(struct line *l)
{
	CLEANUP(free_strp) char *memory = memory_new(LOOKUP_SIZE);
	struct passwd account, *found = NULL;
	struct buf name = { 0 };

	if (!l->is_user_known) {
		snprintf(l->user, sizeof(l->user), "unknown");
		return;
	}
	if (getpwuid_r(l->uid, &account, memory, LOOKUP_SIZE, &found) == 0 && found)
		escape_text(&name, slice_from(found->pw_name), NAME_MAX_BYTES);
	snprintf(l->user, sizeof(l->user), buf_len(&name) > 0 ? "%.*s(%lu)" : "%.*s%lu",
		 (int)buf_len(&name), buf_slice(&name).ptr ? buf_slice(&name).ptr : "",
		 (unsigned long)l->uid);
	buf_done(&name);
}

static void finish(struct line *l)
{
	struct slice text = buf_slice(&l->text);

	log_write(l->log, "control", LOG_LEVEL_INFO, "%.*s%s%.*s", (int)l->user_at, text.ptr,
		  l->user, (int)(text.len - l->user_at), text.ptr + l->user_at);
	buf_done(&l->text);
	free(l);
}

static void on_work(struct loop_work *work)
{
	name_user(CONTAINER_OF(work, struct line, work));
}

static void on_done(struct loop_work *work)
{
	finish(CONTAINER_OF(work, struct line, work));
}

/* Between quotes, and with none inside: nobody can write fields of his own. */
static void append_arguments(struct buf *out, const char *arguments)
{
	size_t start = buf_len(out) + 1;

	buf_append_string(out, "\"");
	escape_text(out, slice_from(arguments), ARGUMENTS_MAX_BYTES);
	for (size_t i = start; i < buf_len(out); i++)
		if (out->mem[out->start + i] == '"')
			out->mem[out->start + i] = '\'';
	buf_append_string(out, "\"");
}

void audit_write(struct loop *loop, struct log *log, const struct audit *audit)
{
	struct line *l = memory_zeroed(sizeof(*l));

	*l = (struct line){
		.work = { .work = on_work, .done = on_done },
		.log = log,
		.is_user_known = audit->is_user_known,
		.uid = audit->uid,
	};
	buf_printf(&l->text, "action=%s, by=", audit->action);
	l->user_at = buf_len(&l->text);
	buf_append_string(&l->text, ", args=");
	append_arguments(&l->text, audit->arguments);
	if (audit->counts)
		buf_printf(&l->text, ", %s", audit->counts);
	buf_append_string(&l->text, ", status=");
	escape_text(&l->text, slice_from(audit->status), STATUS_MAX_BYTES);
	if (loop) {
		loop_work(loop, &l->work);
	} else {
		name_user(l);
		finish(l);
	}
}
