/* queue_view - see queue_view.h */
#include "cli/queue_view.h"

#include <errno.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/ask.h"
#include "cli/cli.h"

int queue_view_open(struct queue_view *v, const struct config *config)
{
	const char *directory = config_value(config, CONFIG_QUEUE_DIRECTORY);
	struct error err = { 0 };
	int r;

	*v = (struct queue_view){ .config = config, .now_ms = clock_wall_ms(&clock_system) };
	cli_print_errors(config); /* a misspelled queue_directory is another queue */
	if (config_mode(config) == 0 || !directory)
		return CLI_CONFIG;
	r = queue_reader_open(directory, &v->reader, &err);
	return r < 0 && r != -ENOENT ? queue_view_fail(config, &err) : CLI_DONE;
}

void queue_view_close(struct queue_view *v)
{
	queue_reader_close(v->reader);
	free(v->active);
	*v = (struct queue_view){ .reader = NULL };
}

int queue_view_fail(const struct config *config, const struct error *err)
{
	const char *directory = config_value(config, CONFIG_QUEUE_DIRECTORY);
	const struct passwd *owner = NULL;
	struct error more = *err;
	struct stat st;

	if ((err->code == -EACCES || err->code == -EPERM) && directory) {
		if (stat(directory, &st) == 0)
			owner = getpwuid(st.st_uid);
		/* Who acts as root does so as this account. */
		if (owner && geteuid() == owner->pw_uid)
			error_set(&more, err->code, "%s; all in there must be %s's: chown -R %s %s",
				  err->text, owner->pw_name, owner->pw_name, directory);
		else
			error_set(&more, err->code, "%s; only root and %s%s may do this", err->text,
				  owner ? "the account " : "the account of the server",
				  owner ? owner->pw_name : "");
	}
	return cli_fail(&more);
}

int queue_view_load(struct queue_view *v, const char *name, struct queue_message **ret)
{
	struct error err = { 0 };
	int64_t id;
	int r = QUEUE_READER_NOT_FOUND;

	if (v->reader && queue_id_parse(name, &id))
		r = queue_reader_load(v->reader, id, ret, &err);
	if (r < 0)
		return queue_view_fail(v->config, &err);
	if (r == QUEUE_READER_NOT_FOUND) {
		cli_error("%s: no such message in the queue", name);
		return CLI_NO;
	}
	return CLI_DONE;
}

/* ---- what a server works on ---- */

static int compare_ids(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

static void take_ids(struct queue_view *v, const json_t *ids)
{
	size_t count = json_array_size(ids);

	v->active = memory_grow(v->active, (v->active_count + count) * sizeof(*v->active));
	for (size_t i = 0; i < count; i++) {
		const char *name = json_string_value(json_array_get(ids, i));

		if (name && queue_id_parse(name, &v->active[v->active_count]))
			v->active_count++;
	}
}

static void ask_active(struct queue_view *v, struct control_client *client)
{
	struct error err;
	int r = control_send(client, json_pack("{s:s}", "command", "queue active"), &err);

	while (r == 0) {
		json_t *object = NULL;

		r = control_receive(client, &object, &err);
		if (r == 0 || r == CONTROL_DONE)
			take_ids(v, json_object_get(object, "ids"));
		json_decref(object);
	}
}

void queue_view_ask_server(struct queue_view *v)
{
	CLEANUP(control_client_closep) struct control_client *client = ask_try(v->config);

	if (!client || !v->reader)
		return;
	v->is_server_running = true;
	ask_active(v, client);
	if (v->active_count > 0)
		qsort(v->active, v->active_count, sizeof(*v->active), compare_ids);
	v->now_ms = clock_wall_ms(&clock_system);
	queue_reader_set_active(v->reader, v->active, v->active_count, v->now_ms);
}

bool queue_view_is_active(const struct queue_view *v, const struct queue_message *m,
			  const struct queue_recipient *r)
{
	return v->reader && queue_reader_is_active(v->reader, m, r);
}

const char *queue_view_status(const struct queue_view *v, const struct queue_message *m,
			      const struct queue_recipient *r)
{
	return queue_view_is_active(v, m, r) ? "active" : queue_status_name(r->status);
}
