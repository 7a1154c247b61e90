/*
 * queuefill - puts numbered messages into a queue directory, without a server
 *
 * Through the queue's own interface, so what is measured afterwards is a queue
 * as a server would have left it. The messages are those of mailgen but for
 * the trace fields, and mailsink knows them. Appends share commits; each
 * message is released at once, as nobody works on it.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench/tool.h"
#include "queue/queue.h"

#define IN_FLIGHT 256
#define HEAD_SIZE 1024
#define LINE_TEXT 76 /* characters of a body line, without CRLF */

static const char usage[] =
	"Usage: queuefill [OPTION]... DIRECTORY\n"
	"Puts numbered messages into a queue and prints one line of JSON.\n"
	"  -m N     messages (10000)\n"
	"  -f N     number of the first message (1)\n"
	"  -s N     bytes of each message (1024)\n"
	"  -d NAME  domain of the recipients (bench.test)\n"
	"  -D N     domains: N-1.NAME, N-2.NAME... in turn (0: NAME itself)\n"
	"  -u N     due in N seconds; -S N: spread over N seconds from then on\n";

struct options {
	unsigned int messages, first_id, size, domains, due_s, spread_s;
	const char *domain, *directory;
};

struct fill {
	struct options options;
	struct queue *queue;
	struct queue_port *port;
	int event_fd;
	struct buf bulk; /* the body behind its first line */
	uint64_t bulk_sum;
	unsigned int begun, done, in_flight;
};

struct item {
	struct queue_append append;
	struct fill *fill;
};

static uint64_t sum(const char *ptr, size_t len)
{
	uint64_t total = 0;

	for (size_t i = 0; i < len; i++)
		total += (unsigned char)ptr[i];
	return total;
}

static void make_bulk(struct fill *f)
{
	char line[LINE_TEXT + 3];

	for (size_t i = 0; i < LINE_TEXT; i++)
		line[i] = (char)('a' + 7 * i % 26);
	memcpy(line + LINE_TEXT, "\r\n", 3);
	while (buf_len(&f->bulk) + HEAD_SIZE / 2 < f->options.size)
		buf_append_string(&f->bulk, line);
	f->bulk_sum = sum(buf_slice(&f->bulk).ptr, buf_len(&f->bulk));
}

static void format_domain(const struct options *o, unsigned int id, char *out, size_t size)
{
	if (o->domains > 0)
		snprintf(out, size, "n-%u.%s", id % o->domains + 1, o->domain);
	else
		snprintf(out, size, "%s", o->domain);
}

static void append_body(struct fill *f, struct queue_message *m, unsigned int id,
			const char *recipient)
{
	char body[64], head[HEAD_SIZE];
	int body_len = snprintf(body, sizeof(body), "\r\nThis is message %010u.\r\n", id);
	int n = snprintf(head, sizeof(head),
			 "From: <from-%u@mailgen.test>\r\n"
			 "To: <%s>\r\n"
			 "Subject: message %u\r\n"
			 "Message-ID: <%u@mailgen.test>\r\n"
			 "X-Bench-Id: %u\r\n"
			 "X-Bench-Sum: %llu\r\n"
			 "%s",
			 id, recipient, id, id, id,
			 (unsigned long long)(sum(body, (size_t)body_len) + f->bulk_sum), body);

	queue_body_append(m->body, (struct slice){ head, (size_t)n });
	queue_body_append(m->body, buf_slice(&f->bulk));
}

static struct queue_message *make_message(struct fill *f)
{
	const struct options *o = &f->options;
	unsigned int id = o->first_id + f->begun;
	struct queue_message *m = queue_message_new(f->queue);
	struct queue_recipient *r;
	char domain[256], recipient[300], sender[64];
	struct error err;

	format_domain(o, id, domain, sizeof(domain));
	snprintf(recipient, sizeof(recipient), "to-%u-0@%s", id, domain);
	snprintf(sender, sizeof(sender), "from-%u@mailgen.test", id);
	m->sender = arena_strdup(&m->arena, sender);
	m->origin.client_ip = "127.0.0.1";
	m->origin.hello = "queuefill.test";
	m->origin.protocol = "ESMTP";
	r = queue_message_add_recipient(m, recipient, recipient);
	r->due_ms += 1000 * (int64_t)o->due_s;
	if (o->spread_s > 0)
		r->due_ms += 1000 * (int64_t)o->spread_s * f->begun / o->messages;
	append_body(f, m, id, recipient);
	if (queue_body_finish(m->body, &err) < 0)
		tool_die("%s", err.text);
	return m;
}

static void appended(struct queue_request *request)
{
	struct queue_append *append = CONTAINER_OF(request, struct queue_append, request);
	struct item *item = CONTAINER_OF(append, struct item, append);
	struct queue_release release = { .id = append->message->id };

	if (request->result < 0)
		tool_die("%s", request->error.text);
	queue_submit_release(item->fill->port, &release);
	queue_message_free(append->message);
	item->fill->in_flight--;
	item->fill->done++;
	free(item);
}

static void submit(struct fill *f)
{
	struct item *item = calloc(1, sizeof(*item));

	if (!item)
		tool_die("out of memory");
	item->fill = f;
	item->append.request.done = appended;
	item->append.message = make_message(f);
	f->begun++;
	f->in_flight++;
	queue_submit_append(f->port, &item->append);
}

static void wake(void *arg)
{
	struct fill *f = arg;

	eventfd_write(f->event_fd, 1);
}

static void fill_queue(struct fill *f)
{
	eventfd_t value;

	while (f->done < f->options.messages) {
		while (f->in_flight < IN_FLIGHT && f->begun < f->options.messages)
			submit(f);
		eventfd_read(f->event_fd, &value);
		queue_port_dispatch(f->port);
	}
}

static struct options parse_options(int argc, char **argv)
{
	struct options o = {
		.messages = 10000, .first_id = 1, .size = 1024, .domain = "bench.test"
	};
	int c;

	while ((c = getopt(argc, argv, "m:f:s:d:D:u:S:h")) != -1) {
		switch (c) {
		case 'm':
			o.messages = tool_parse_number(optarg);
			break;
		case 'f':
			o.first_id = tool_parse_number(optarg);
			break;
		case 's':
			o.size = tool_parse_number(optarg);
			break;
		case 'd':
			o.domain = optarg;
			break;
		case 'D':
			o.domains = tool_parse_number(optarg);
			break;
		case 'u':
			o.due_s = tool_parse_number(optarg);
			break;
		case 'S':
			o.spread_s = tool_parse_number(optarg);
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (argc - optind != 1 || strlen(o.domain) > 200) {
		fputs(usage, stderr);
		exit(2);
	}
	o.directory = argv[optind];
	return o;
}

static void warn(void *arg, const char *text)
{
	(void)arg;
	fprintf(stderr, "queuefill: %s\n", text);
}

int main(int argc, char **argv)
{
	struct fill fill = { .options = parse_options(argc, argv) };
	struct queue_options options = { .directory = fill.options.directory,
					 .clock = &clock_system,
					 .warn = warn };
	struct error err;
	double began;

	fill.event_fd = eventfd(0, EFD_CLOEXEC);
	if (fill.event_fd < 0)
		tool_die("eventfd: %s", strerror(errno));
	if (queue_open(&options, &fill.queue, &err) < 0)
		tool_die("%s", err.text);
	fill.port = queue_port_new(fill.queue, wake, &fill);
	make_bulk(&fill);
	began = tool_now();
	fill_queue(&fill);
	printf("{\"messages\": %u, \"seconds\": %.3f, \"cpu_seconds\": %.3f}\n", fill.done,
	       tool_now() - began, tool_cpu());
	queue_port_free(fill.port);
	queue_close(fill.queue);
	buf_done(&fill.bulk);
	close(fill.event_fd);
	return 0;
}
