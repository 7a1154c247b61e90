/*
 * mailgen - sends numbered messages as fast as a server takes them
 *
 * Each connection runs one state machine that is named after the reply it
 * awaits. With pipelining MAIL, RCPT... and DATA leave in one write and their
 * replies are counted off in the same states. The 250 after the content is
 * always waited for before the next message, as it is what is measured.
 *
 * Messages differ in their number only, so the bulk of the content is made
 * once. The number stands in the envelope, in the header and in the body, and
 * X-Bench-Sum is the sum of all bytes behind the header, without the dots
 * that DATA stuffs (another hop may use BDAT): mailsink sees from it when a server cuts,
 * changes or mixes up messages. A refused message isn't tried again.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "bench/tally.h"
#include "bench/tool.h"
#include "bench/wire.h"

#define EVENTS	    64
#define LINE_TEXT   76		 /* characters of a body line, without CRLF */
#define CHUNK_SIZE  (256 * 1024) /* of a large body put into the output at a time */
#define DOMAIN_SIZE 256
#define LINE_LIMIT  8192 /* longest reply line that is waited for */

static const char usage[] =
	"Usage: mailgen [OPTION]... ADDRESS:PORT\n"
	"Sends numbered messages and prints one line of JSON; exits with 0 only if all got 250.\n"
	"  -t none|starttls|implicit  TLS (none)\n"
	"  -A FILE  CA that must have signed the server's certificate (trust anyone)\n"
	"  -c N     connections (20)\n"
	"  -m N     messages (10000)\n"
	"  -f N     number of the first message (1)\n"
	"  -s N     bytes of each message, header included (4096)\n"
	"  -k N     recipients of each message (1)\n"
	"  -d NAME  domain of the recipients (bench.test)\n"
	"  -D N     N domains in turn: n-0.NAME, n-1.NAME …\n"
	"  -r       a new connection for each message\n"
	"  -P       no pipelining\n"
	"  -R N     messages a second, evenly (0: as fast as they are taken)\n"
	"  -w N     give up when nothing happens for N seconds (60)\n"
	"  -o FILE  write the numbers that got 250 there, and when, one a line\n";

enum tls_mode { TLS_NONE, TLS_STARTTLS, TLS_IMPLICIT };

enum await {
	AWAIT_GREETING,
	AWAIT_EHLO,
	AWAIT_STARTTLS,
	AWAIT_MAIL,
	AWAIT_RCPT,
	AWAIT_DATA,
	AWAIT_DOT,
	AWAIT_QUIT,
};

struct options {
	struct tool_address address;
	enum tls_mode tls_mode;
	const char *ca_file, *domain, *ids_path;
	size_t size;
	unsigned int connections, messages, first_id, recipients, stall_s, rate, domains;
	bool reconnect, pipelining;
};

struct run {
	struct options options;
	int epoll_fd;
	SSL_CTX *tls;
	FILE *ids;
	struct bytes bulk; /* the body behind its first line, and the final dot */
	uint64_t bulk_sum;
	struct times latencies;
	unsigned int begun, accepted, refused, broken; /* messages */
	unsigned int opened, open;		       /* connections */
	double first_send, last_accept;
	double start;				/* of the first message that has its time */
	struct session *waiting, **waiting_end; /* for the time of their next message */
	char tls_text[64];
	bool stalled, complained;
};

struct session {
	struct run *run;
	struct wire wire;
	enum await await;
	bool pipelining;	 /* wanted and announced */
	unsigned int id;	 /* of the message in hand */
	unsigned int recipients; /* of it, not yet replied to */
	size_t bulk_sent;
	double began;
	struct session *next_waiting;
};

static uint64_t sum(const char *ptr, size_t len)
{
	uint64_t total = 0;

	for (size_t i = 0; i < len; i++)
		total += (unsigned char)ptr[i];
	return total;
}

/* Text in lines, CRLF last. Every eighth line begins with a stuffed dot (RFC 5321 section 4.5.2). */
static void make_bulk(struct run *run, size_t len)
{
	const size_t line_size = LINE_TEXT + 2;
	char *p;

	if (len % line_size == 1)
		len--; /* no line is that short */
	p = malloc(len + 3);
	if (!p)
		tool_die("out of memory");
	run->bulk = (struct bytes){ .mem = p, .end = len + 3 };

	run->bulk_sum = 0;
	for (size_t at = 0, n; at < len; at += n + 2) {
		n = (len - at < line_size ? len - at : line_size) - 2;
		for (size_t i = 0; i < n; i++)
			p[at + i] = (char)('a' + (7 * i + at) % 26);
		if (at / line_size % 8 == 0 && n >= 2)
			p[at] = p[at + 1] = '.';
		memcpy(p + at + n, "\r\n", 2);
		run->bulk_sum += sum(p + at, n + 2) - (p[at] == '.' ? '.' : 0);
	}
	memcpy(p + len, ".\r\n", 3);
}

/* The domain of a message's recipients; out is room for one that must be made. */
static const char *domain_of(const struct options *o, unsigned int id, char *out, size_t out_size)
{
	if (o->domains == 0)
		return o->domain;
	snprintf(out, out_size, "n-%u.%s", id % o->domains, o->domain);
	return out;
}

/* The part of a message that has its number in it. Returns its length. */
static size_t format_head(const struct run *run, unsigned int id, double began, char *out,
			  size_t out_size)
{
	char body[64], domain[DOMAIN_SIZE];
	int body_len = snprintf(body, sizeof(body), "\r\nThis is message %010u.\r\n", id);
	uint64_t body_sum = sum(body, (size_t)body_len) + run->bulk_sum;
	int n = snprintf(out, out_size,
			 "From: <from-%u@mailgen.test>\r\n"
			 "To: <to-%u-0@%s>\r\n"
			 "Subject: message %u\r\n"
			 "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
			 "Message-ID: <%u@mailgen.test>\r\n"
			 "X-Bench-Id: %u\r\n"
			 "X-Bench-Sent: %020llu\r\n"
			 "X-Bench-Sum: %llu\r\n"
			 "%s",
			 id, id, domain_of(&run->options, id, domain, sizeof(domain)), id, id, id,
			 (unsigned long long)(began * 1e6), (unsigned long long)body_sum, body);

	if (n < 0 || (size_t)n >= out_size)
		tool_die("the domain is too long");
	return (size_t)n;
}

static void complain(struct session *s, const char *what, const char *text)
{
	struct run *run = s->run;

	if (run->complained) /* the first one tells enough; the report has the count */
		return;
	run->complained = true;
	fprintf(stderr, "mailgen: message %u: %s: %s\n", s->id, what, text);
}

static void put_recipient(struct session *s)
{
	const struct options *o = &s->run->options;
	char domain[DOMAIN_SIZE];

	wire_printf(&s->wire, "RCPT TO:<to-%u-%u@%s>\r\n", s->id, o->recipients - s->recipients,
		    domain_of(o, s->id, domain, sizeof(domain)));
}

/* When the next message is due. One that comes late was late to be sent, and is so counted. */
static double next_time(const struct run *run)
{
	return run->start + run->begun / (double)run->options.rate;
}

/* Whether it is not yet time for another message; then the session waits. */
static bool must_wait(struct session *s)
{
	struct run *run = s->run;

	if (run->options.rate == 0)
		return false;
	if (run->begun == 0)
		run->start = tool_now();
	if (next_time(run) <= tool_now())
		return false;
	s->next_waiting = NULL;
	*run->waiting_end = s;
	run->waiting_end = &s->next_waiting;
	return true;
}

static void begin_message(struct session *s)
{
	struct run *run = s->run;

	if (must_wait(s))
		return;
	if (!run->options.reconnect)
		s->began = run->options.rate ? next_time(run) : tool_now();

	s->id = run->options.first_id + run->begun++;
	s->recipients = run->options.recipients;
	s->await = AWAIT_MAIL;
	if (run->first_send == 0)
		run->first_send = s->began;

	wire_printf(&s->wire, "MAIL FROM:<from-%u@mailgen.test>\r\n", s->id);
	if (!s->pipelining)
		return;
	for (; s->recipients > 0; s->recipients--)
		put_recipient(s);
	s->recipients = run->options.recipients;
	wire_printf(&s->wire, "DATA\r\n");
}

static void put_content(struct session *s)
{
	char head[2048];
	size_t n = format_head(s->run, s->id, s->began, head, sizeof(head));

	wire_put(&s->wire, head, n);
	s->bulk_sent = 0;
	s->await = AWAIT_DOT;
}

/* Send what is there, and of the content as much as the socket takes. */
static void push(struct session *s)
{
	const struct bytes *bulk = &s->run->bulk;

	for (;;) {
		size_t left = s->await == AWAIT_DOT ? bulk->end - s->bulk_sent : 0;

		if (left > 0 && wire_output_len(&s->wire) < CHUNK_SIZE) {
			size_t n = left < CHUNK_SIZE ? left : CHUNK_SIZE;

			wire_put(&s->wire, bulk->mem + s->bulk_sent, n);
			s->bulk_sent += n;
			left -= n;
		}
		wire_send(&s->wire);
		if (s->wire.ended || wire_output_len(&s->wire) > 0 || left == 0)
			return;
	}
}

static void open_session(struct session *s)
{
	struct run *run = s->run;
	int fd;

	s->began = tool_now(); /* with -r making the connection is part of each message */
	fd = tool_connect(&run->options.address);
	if (fd < 0)
		tool_die("connect: %s", strerror(errno));
	wire_open(&s->wire, fd, run->epoll_fd, s);
	run->opened++;
	run->open++;
	s->await = AWAIT_GREETING;
	if (run->options.tls_mode == TLS_IMPLICIT)
		wire_start_tls(&s->wire, run->tls, false);
}

static void close_session(struct session *s)
{
	wire_close(&s->wire);
	s->run->open--;
}

static bool has_more(const struct run *run)
{
	return run->begun < run->options.messages;
}

static void reopen_session(struct session *s)
{
	close_session(s);
	if (has_more(s->run))
		open_session(s);
}

static void quit(struct session *s)
{
	wire_printf(&s->wire, "QUIT\r\n");
	s->await = AWAIT_QUIT;
}

static void message_accepted(struct session *s)
{
	struct run *run = s->run;
	double now = tool_now();

	times_add(&run->latencies, (now - s->began) * 1e6);
	run->accepted++;
	run->last_accept = now;
	if (run->ids)
		fprintf(run->ids, "%u %.6f\n", s->id, now);
	if (has_more(run) && !run->options.reconnect)
		begin_message(s);
	else
		quit(s);
}

static void session_ready(struct session *s)
{
	struct run *run = s->run;

	if (!run->tls_text[0] && s->wire.ssl)
		snprintf(run->tls_text, sizeof(run->tls_text), "%s %s",
			 SSL_get_version(s->wire.ssl), SSL_get_cipher_name(s->wire.ssl));
	if (has_more(run))
		begin_message(s);
	else
		quit(s);
}

/* What the server can do is asked again after the handshake (RFC 3207 section 4.2). */
static void say_ehlo(struct session *s)
{
	s->pipelining = false;
	wire_printf(&s->wire, "EHLO mailgen.test\r\n");
	s->await = AWAIT_EHLO;
}

/* The reply that each state hopes for, as its first digit. */
static const char hoped_for[] = {
	[AWAIT_GREETING] = '2', [AWAIT_EHLO] = '2', [AWAIT_STARTTLS] = '2', [AWAIT_MAIL] = '2',
	[AWAIT_RCPT] = '2',	[AWAIT_DATA] = '3', [AWAIT_DOT] = '2',	    [AWAIT_QUIT] = '2',
};

/* The last line of a reply has come. */
static void on_reply(struct session *s, const char *line)
{
	struct run *run = s->run;

	if (line[0] != hoped_for[s->await]) {
		complain(s, "refused", line);
		if (s->await < AWAIT_MAIL) {
			close_session(s); /* it would be the same again */
			return;
		}
		run->refused += s->await != AWAIT_QUIT;
		reopen_session(s);
		return;
	}
	switch (s->await) {
	case AWAIT_GREETING:
		say_ehlo(s);
		break;
	case AWAIT_EHLO:
		if (run->options.tls_mode == TLS_STARTTLS && !s->wire.ssl) {
			wire_printf(&s->wire, "STARTTLS\r\n");
			s->await = AWAIT_STARTTLS;
		} else {
			session_ready(s);
		}
		break;
	case AWAIT_STARTTLS:
		if (wire_input_len(&s->wire) > 0)
			tool_die("the server sends more in the clear behind its 220 to STARTTLS");
		wire_start_tls(&s->wire, run->tls, false);
		say_ehlo(s);
		break;
	case AWAIT_MAIL:
		s->await = AWAIT_RCPT;
		if (!s->pipelining)
			put_recipient(s);
		break;
	case AWAIT_RCPT:
		s->recipients--;
		if (s->recipients == 0)
			s->await = AWAIT_DATA;
		if (!s->pipelining && s->recipients > 0)
			put_recipient(s);
		else if (!s->pipelining)
			wire_printf(&s->wire, "DATA\r\n");
		break;
	case AWAIT_DATA:
		put_content(s);
		break;
	case AWAIT_DOT:
		message_accepted(s);
		break;
	case AWAIT_QUIT:
		reopen_session(s);
		break;
	}
}

static void on_line(struct session *s, const char *line)
{
	bool is_last = strlen(line) < 4 || line[3] != '-';

	if (s->await == AWAIT_EHLO && strlen(line) > 4 && strcasecmp(line + 4, "PIPELINING") == 0)
		s->pipelining = s->run->options.pipelining;
	if (is_last)
		on_reply(s, line);
}

static void on_end(struct session *s)
{
	if (s->await == AWAIT_QUIT) {
		reopen_session(s);
		return;
	}
	complain(s, "connection lost", s->wire.error ? s->wire.error : "closed by the server");
	if (s->await < AWAIT_MAIL) {
		close_session(s);
		return;
	}
	s->run->broken++;
	reopen_session(s);
}

static void on_event(struct session *s)
{
	char *line;

	wire_receive(&s->wire);
	while ((line = wire_eat_line(&s->wire)))
		on_line(s, line);
	if (wire_input_len(&s->wire) > LINE_LIMIT)
		tool_die("the server sends an endless line");
	if (s->wire.fd >= 0 && !s->wire.ended)
		push(s);
	if (s->wire.ended)
		on_end(s);
}

static int wait_ms(const struct run *run)
{
	double left_s;

	if (!run->waiting)
		return (int)run->options.stall_s * 1000;
	left_s = next_time(run) - tool_now();
	return left_s > 0 ? (int)(left_s * 1e3) + 1 : 0;
}

/* Those whose time has come. Nothing is left for the last ones when others were faster. */
static void release_waiting(struct run *run)
{
	while (run->waiting && (!has_more(run) || next_time(run) <= tool_now())) {
		struct session *s = run->waiting;

		run->waiting = s->next_waiting;
		if (!run->waiting)
			run->waiting_end = &run->waiting;
		if (has_more(run))
			begin_message(s);
		else
			quit(s);
		push(s);
		if (s->wire.ended)
			on_end(s);
	}
}

static void run_sessions(struct run *run)
{
	struct epoll_event events[EVENTS];

	while (run->open > 0) {
		int n = epoll_wait(run->epoll_fd, events, EVENTS, wait_ms(run));

		if (n == 0 && !run->waiting) {
			fprintf(stderr, "mailgen: nothing happened for %u s\n",
				run->options.stall_s);
			run->stalled = true;
			return;
		}
		if (n < 0 && errno != EINTR)
			tool_die("epoll_wait: %s", strerror(errno));
		for (int i = 0; i < n; i++)
			on_event(events[i].data.ptr);
		release_waiting(run);
	}
}

static void report(struct run *run)
{
	double seconds = run->accepted ? run->last_accept - run->first_send : 0;

	times_sort(&run->latencies);
	printf("{\"messages\": %u, \"accepted\": %u, \"refused\": %u, \"broken\": %u, "
	       "\"stalled\": %s, \"connections\": %u, \"tls\": \"%s\", "
	       "\"first_send\": %.6f, \"last_accept\": %.6f, \"per_second\": %.1f, "
	       "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"cpu_seconds\": %.4f}\n",
	       run->options.messages, run->accepted, run->refused, run->broken,
	       run->stalled ? "true" : "false", run->opened, run->tls_text, run->first_send,
	       run->last_accept, seconds > 0 ? run->accepted / seconds : 0,
	       times_percentile_ms(&run->latencies, 0.5),
	       times_percentile_ms(&run->latencies, 0.99), times_percentile_ms(&run->latencies, 1),
	       tool_cpu());
}

static struct options parse_options(int argc, char **argv)
{
	struct options o = { .domain = "bench.test",
			     .size = 4096,
			     .connections = 20,
			     .messages = 10000,
			     .first_id = 1,
			     .recipients = 1,
			     .stall_s = 60,
			     .pipelining = true };
	static const char *const tls_modes[] = { "none", "starttls", "implicit", NULL };
	int c;

	while ((c = getopt(argc, argv, "t:A:c:m:f:s:k:d:D:rPR:w:o:h")) != -1) {
		switch (c) {
		case 't':
			o.tls_mode = (enum tls_mode)tool_parse_word(optarg, tls_modes);
			break;
		case 'A':
			o.ca_file = optarg;
			break;
		case 'c':
			o.connections = tool_parse_number(optarg);
			break;
		case 'm':
			o.messages = tool_parse_number(optarg);
			break;
		case 'f':
			o.first_id = tool_parse_number(optarg);
			break;
		case 's':
			o.size = tool_parse_number(optarg);
			break;
		case 'k':
			o.recipients = tool_parse_number(optarg);
			break;
		case 'd':
			o.domain = optarg;
			break;
		case 'D':
			o.domains = tool_parse_number(optarg);
			break;
		case 'r':
			o.reconnect = true;
			break;
		case 'P':
			o.pipelining = false;
			break;
		case 'R':
			o.rate = tool_parse_number(optarg);
			break;
		case 'w':
			o.stall_s = tool_parse_number(optarg);
			break;
		case 'o':
			o.ids_path = optarg;
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (strlen(o.domain) + 16 > DOMAIN_SIZE)
		tool_die("%s: too long", o.domain);
	if (argc - optind != 1 || !o.connections || !o.messages || !o.recipients || !o.stall_s) {
		fputs(usage, stderr);
		exit(2);
	}
	o.address = tool_parse_address(argv[optind]);
	return o;
}

static void prepare(struct run *run)
{
	const struct options *o = &run->options;
	char head[2048];
	size_t head_len = format_head(run, o->first_id, 0, head, sizeof(head));

	make_bulk(run, o->size > head_len ? o->size - head_len : 0);
	if (o->tls_mode != TLS_NONE)
		run->tls = wire_client_context(o->ca_file);
	if (o->ids_path) {
		run->ids = fopen(o->ids_path, "we");
		if (!run->ids)
			tool_die("%s: %s", o->ids_path, strerror(errno));
	}
	run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (run->epoll_fd < 0)
		tool_die("epoll_create1: %s", strerror(errno));
}

static void done(struct run *run)
{
	if (run->ids && fclose(run->ids) != 0)
		tool_die("%s: %s", run->options.ids_path, strerror(errno));
	close(run->epoll_fd);
	SSL_CTX_free(run->tls);
	free(run->bulk.mem);
	times_done(&run->latencies);
}

int main(int argc, char **argv)
{
	struct run run = { .options = parse_options(argc, argv) };
	struct session *sessions = calloc(run.options.connections, sizeof(*sessions));
	bool all_accepted;

	run.waiting_end = &run.waiting;
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	if (!sessions)
		tool_die("out of memory");
	prepare(&run);
	for (unsigned int i = 0; i < run.options.connections; i++) {
		sessions[i].run = &run;
		open_session(&sessions[i]);
	}
	run_sessions(&run);
	report(&run);
	for (unsigned int i = 0; i < run.options.connections; i++)
		wire_done(&sessions[i].wire);
	free(sessions);
	all_accepted = run.accepted == run.options.messages;
	done(&run);
	return all_accepted ? 0 : 1;
}
