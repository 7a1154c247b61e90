/*
 * mailsink - swallows mail as cheaply as possible, and counts what arrives
 *
 * Content is searched for its end and summed up where it lies in the input;
 * only a header that comes in chunks is stored until it is whole. Each message
 * of mailgen tells its number and the sum of its body, without stuffed dots,
 * since a server may take it with DATA and pass it on with BDAT; arrivals are
 * counted for each number and recipient, so that lost, doubled, changed and
 * mixed up messages all show.
 *
 * A message of mailgen also tells when it was sent, so it is known how long it
 * was on its way.
 *
 * A session may be hung or its reply delayed on purpose. The delay is the same
 * for all, so those who wait are a plain queue whose head is due first.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/tally.h"
#include "bench/tool.h"
#include "bench/wire.h"

#define EVENTS	       64
#define END_OF_CONTENT "\r\n.\r\n"
#define LINE_LIMIT     8192
#define HEADER_LIMIT   (256 * 1024)

static const char usage[] =
	"Usage: mailsink [OPTION]... ADDRESS:PORT\n"
	"Swallows mail until SIGTERM. Prints where it listens (port 0: any), one line of JSON "
	"when\n"
	"all that was expected is there, and one at the end.\n"
	"  -t none|starttls|implicit  TLS (none); starttls offers it, and takes mail without, too\n"
	"  -C FILE  certificate chain\n"
	"  -K FILE  its key\n"
	"  -n N     messages expected\n"
	"  -k N     recipients expected of each message (1)\n"
	"  -D N     reply to the end of each message after N ms only\n"
	"  -T       reply 451 to each recipient\n"
	"  -X chunking|pipelining  do not offer it; may be given twice\n"
	"  -i N     print a line of JSON after each N messages\n"
	"  -H connect|mail|dot  hang: never greet, or never reply to that\n"
	"  -o FILE  at the end, write each number and how often it came, one a line\n"
	"  -a       and when it came first\n";

enum tls_mode { TLS_NONE, TLS_STARTTLS, TLS_IMPLICIT };
enum hang { HANG_NEVER, HANG_CONNECT, HANG_MAIL, HANG_DOT };
enum extension { CHUNKING, PIPELINING, EXTENSIONS };
enum state {
	STATE_COMMAND,
	STATE_HEADER,  /* of the content; looking for the blank line */
	STATE_BODY,    /* looking for the dot */
	STATE_CHUNK,   /* counting the octets of BDAT */
	STATE_DELAYED, /* content is there; the reply has to wait */
	STATE_HUNG,    /* whatever comes is dropped */
};

struct options {
	struct tool_address address;
	enum tls_mode tls_mode;
	enum hang hang;
	const char *cert_file, *key_file, *ids_path;
	unsigned int expected, recipients, delay_ms, interval;
	bool is_deferring, with_arrivals;
	bool has[EXTENSIONS];
};

struct session {
	struct sink *sink;
	struct wire wire;
	enum state state;
	unsigned int recipients;
	unsigned int envelope_id, id;	     /* 0: it has none */
	bool is_mixed;			     /* numbers of the envelope differ */
	uint64_t sum, expected_sum, sent_us; /* sent_us: 0 when it does not say */
	struct bytes head;		     /* of a message in chunks, until it is whole */
	size_t chunk_left;
	bool is_last_chunk, has_chunks, has_header;
	double due;
	struct session *next_delayed;
	struct session *next, **link; /* among all; *link points here */
};

struct sink {
	struct options options;
	int epoll_fd, listen_fd, signal_fd;
	SSL_CTX *tls;
	struct session *sessions;
	struct session *delayed, **delayed_end;
	struct tally tally; /* recipients of each number */
	unsigned int messages, complete, clear, mangled, unnumbered;
	unsigned int connections, tls_sessions, resumed, broken, deferred, chunked;
	struct times latencies; /* of the messages that say when they were sent */
	double first, last;
	bool stopping;
};

static void report(struct sink *k, const char *event)
{
	const struct options *o = &k->options;

	times_sort(&k->latencies);
	printf("{\"event\": \"%s\", \"messages\": %u, \"distinct\": %u, \"missing\": %u, "
	       "\"doubled\": %u, \"mangled\": %u, \"unnumbered\": %u, \"clear\": %u, ",
	       event, k->messages, tally_above(&k->tally, 0),
	       o->expected > k->complete ? o->expected - k->complete : 0,
	       tally_above(&k->tally, o->recipients), k->mangled, k->unnumbered, k->clear);
	printf("\"connections\": %u, \"tls_sessions\": %u, \"resumed\": %u, \"broken\": %u, "
	       "\"deferred\": %u, \"chunked\": %u, ",
	       k->connections, k->tls_sessions, k->resumed, k->broken, k->deferred, k->chunked);
	printf("\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, "
	       "\"first\": %.6f, \"last\": %.6f, \"cpu_seconds\": %.4f}\n",
	       times_percentile_ms(&k->latencies, 0.5), times_percentile_ms(&k->latencies, 0.99),
	       times_percentile_ms(&k->latencies, 1), k->first, k->last, tool_cpu());
	fflush(stdout);
}

static void count(struct sink *k, unsigned int id, unsigned int recipients)
{
	unsigned int before = tally_add(&k->tally, id, recipients, k->last);

	if (before < k->options.recipients && before + recipients >= k->options.recipients &&
	    ++k->complete == k->options.expected)
		report(k, "complete");
}

static void message_swallowed(struct session *s)
{
	struct sink *k = s->sink;

	k->last = tool_now();
	if (k->messages++ == 0)
		k->first = k->last;
	k->clear += !s->wire.ssl;
	k->chunked += s->has_chunks;
	if (s->sent_us)
		times_add(&k->latencies, k->last * 1e6 - (double)s->sent_us);
	if (k->options.interval && k->messages % k->options.interval == 0) {
		printf("{\"event\": \"progress\", \"messages\": %u, \"at\": %.6f}\n", k->messages,
		       k->last);
		fflush(stdout);
	}
	if (s->id == 0 || s->id > 2 * TOOL_NUMBER_MAX) {
		k->unnumbered++;
		return;
	}
	if (s->sum != s->expected_sum || s->is_mixed || s->envelope_id != s->id) {
		if (k->mangled++ == 0)
			fprintf(stderr, "mailsink: message %u isn't what mailgen has sent\n",
				s->id);
	}
	count(k, s->id, s->recipients);
}

static void transaction_reset(struct session *s)
{
	s->recipients = s->envelope_id = s->id = 0;
	s->is_mixed = s->has_chunks = s->has_header = false;
	s->head.start = s->head.end = 0;
	s->sum = s->expected_sum = s->sent_us = 0;
}

static void reply(struct session *s, const char *line)
{
	wire_printf(&s->wire, "%s\r\n", line);
}

static void reply_to_dot(struct session *s)
{
	message_swallowed(s);
	transaction_reset(s);
	s->state = STATE_COMMAND;
	reply(s, "250 2.0.0 Ok: swallowed");
}

static void content_ended(struct session *s)
{
	struct sink *k = s->sink;

	if (k->options.hang == HANG_DOT) {
		s->state = STATE_HUNG;
	} else if (k->options.delay_ms > 0) {
		s->state = STATE_DELAYED;
		s->due = tool_now() + k->options.delay_ms / 1e3;
		s->next_delayed = NULL;
		*k->delayed_end = s;
		k->delayed_end = &s->next_delayed;
	} else {
		reply_to_dot(s);
	}
}

static const char *find(const char *text, size_t len, const char *word)
{
	return memmem(text, len, word, strlen(word));
}

/* The number behind a word of a header or an address; 0 when it is not there. */
static uint64_t number_behind(const char *text, size_t len, const char *word)
{
	const char *found = find(text, len, word);

	/* Stops at the CR or NUL that ends every line. */
	return found ? strtoull(found + strlen(word), NULL, 10) : 0;
}

static uint64_t sum(const char *ptr, size_t len)
{
	const unsigned char *p = (const unsigned char *)ptr;
	uint64_t total = 0;

	for (size_t i = 0; i < len; i++)
		total += p[i];
	return total;
}

/* Dots stuffed in front of lines (RFC 5321 section 4.5.2) whose CRLF begins in the first n bytes. */
static uint64_t stuffed_dots(const char *in, size_t n, size_t len)
{
	size_t end = n + 2 < len ? n + 2 : len;
	uint64_t dots = 0;

	for (const char *p = in; (p = find(p, (size_t)(in + end - p), "\r\n.")); p += 3)
		dots++;
	return dots;
}

/* Of content that came by DATA. What ends n bytes must lie before the final dot. */
static void sum_up(struct session *s, size_t n)
{
	const char *in = wire_input(&s->wire);

	s->sum += sum(in, n) - '.' * stuffed_dots(in, n, wire_input_len(&s->wire));
	wire_eat(&s->wire, n);
}

/* The header is in[0..len), up to the CRLF before the blank line. */
static void read_header(struct session *s, const char *in, size_t len)
{
	s->id = (unsigned int)number_behind(in, len, "\r\nX-Bench-Id: ");
	s->expected_sum = number_behind(in, len, "\r\nX-Bench-Sum: ");
	s->sent_us = number_behind(in, len, "\r\nX-Bench-Sent: ");
	s->sum -= '\r' + '\n'; /* of the header's last line, which is eaten with the body */
	s->has_header = true;
}

/* Returns false when more input is needed. */
static bool eat_header(struct session *s)
{
	const char *in = wire_input(&s->wire);
	size_t len = wire_input_len(&s->wire);
	const char *blank = find(in, len, "\r\n\r\n");
	const char *dot = find(in, blank ? (size_t)(blank - in) + 4 : len, END_OF_CONTENT);
	const char *header_end = dot ? dot : blank;

	if (len >= 3 && memcmp(in, ".\r\n", 3) == 0) { /* nothing at all */
		wire_eat(&s->wire, 3);
		content_ended(s);
		return true;
	}
	if (!header_end)
		return false;
	/* The line end may belong to the dot: it stays for eat_body(), and is not part of the sum. */
	read_header(s, in, (size_t)(header_end - in));
	wire_eat(&s->wire, (size_t)(header_end - in));
	s->state = STATE_BODY;
	return true;
}

static bool eat_body(struct session *s)
{
	const char *in = wire_input(&s->wire);
	size_t len = wire_input_len(&s->wire);
	const char *dot = find(in, len, END_OF_CONTENT);

	if (!dot) {
		sum_up(s, len > 4 ? len - 4 : 0); /* what is left may be its beginning */
		return false;
	}
	sum_up(s, (size_t)(dot - in));
	s->sum += '\r' + '\n';
	wire_eat(&s->wire, 5);
	content_ended(s);
	return true;
}

/* Chunks end anywhere, in a header too. */
static void gather_header(struct session *s, const char *ptr, size_t len)
{
	struct bytes *head = &s->head;
	const char *blank;

	bytes_put(head, ptr, len);
	blank = find(head->mem, head->end, "\r\n\r\n");
	if (!blank)
		return;
	read_header(s, head->mem, (size_t)(blank - head->mem));
	s->sum += sum(blank, head->end - (size_t)(blank - head->mem));
}

static void chunk_ended(struct session *s)
{
	s->state = STATE_COMMAND;
	if (s->recipients == 0)
		reply(s, "503 5.5.1 No recipients");
	else if (s->is_last_chunk)
		content_ended(s);
	else
		reply(s, "250 2.0.0 Ok: chunk");
}

static bool eat_chunk(struct session *s)
{
	size_t n = wire_input_len(&s->wire);

	if (n > s->chunk_left)
		n = s->chunk_left;
	if (s->has_header)
		s->sum += sum(wire_input(&s->wire), n);
	else if (n > 0)
		gather_header(s, wire_input(&s->wire), n);
	wire_eat(&s->wire, n);
	s->chunk_left -= n;
	if (s->chunk_left > 0)
		return false;
	chunk_ended(s);
	return true;
}

static void cmd_ehlo(struct session *s)
{
	struct sink *k = s->sink;

	if (s->wire.ssl) {
		k->tls_sessions++;
		k->resumed += SSL_session_reused(s->wire.ssl) != 0;
	}
	transaction_reset(s);
	wire_printf(&s->wire,
		    "250-mailsink.test\r\n%s%s%s250-8BITMIME\r\n"
		    "250-ENHANCEDSTATUSCODES\r\n250 SIZE 0\r\n",
		    k->options.tls_mode == TLS_STARTTLS && !s->wire.ssl ? "250-STARTTLS\r\n" : "",
		    k->options.has[PIPELINING] ? "250-PIPELINING\r\n" : "",
		    k->options.has[CHUNKING] ? "250-CHUNKING\r\n" : "");
}

static void cmd_starttls(struct session *s)
{
	struct sink *k = s->sink;

	if (k->options.tls_mode != TLS_STARTTLS || s->wire.ssl) {
		reply(s, "503 5.5.1 Not here");
		return;
	}
	reply(s, "220 2.0.0 Go ahead");
	wire_send(&s->wire);
	if (wire_input_len(&s->wire) > 0 || wire_output_len(&s->wire) > 0) {
		/* More in the clear could be injected (RFC 3207 section 5): no client does that. */
		fprintf(stderr, "mailsink: the client does not wait for the reply to STARTTLS\n");
		s->wire.ended = true;
		return;
	}
	wire_start_tls(&s->wire, k->tls, true);
}

static void cmd_mail(struct session *s, const char *line)
{
	transaction_reset(s);
	s->envelope_id = (unsigned int)number_behind(line, strlen(line), "<from-");
	if (s->sink->options.hang == HANG_MAIL)
		s->state = STATE_HUNG;
	else
		reply(s, "250 2.1.0 Ok");
}

static void cmd_rcpt(struct session *s, const char *line)
{
	if (s->sink->options.is_deferring) {
		s->sink->deferred++;
		reply(s, "451 4.2.1 Not now");
		return;
	}
	s->recipients++;
	if (number_behind(line, strlen(line), "<to-") != s->envelope_id)
		s->is_mixed = true;
	reply(s, "250 2.1.5 Ok");
}

static void cmd_data(struct session *s)
{
	if (s->recipients == 0) {
		reply(s, "503 5.5.1 No recipients");
		return;
	}
	s->state = STATE_HEADER;
	reply(s, "354 End with a dot");
}

/* "BDAT 1234" or "BDAT 1234 LAST" (RFC 3030 section 2): the octets follow whatever the reply. */
static void cmd_bdat(struct session *s, const char *line)
{
	char *end;

	s->chunk_left = strtoul(line + 4, &end, 10);
	s->is_last_chunk = strcasecmp(end, " LAST") == 0;
	s->has_chunks = true;
	if (end == line + 4 || (*end && !s->is_last_chunk) || !s->sink->options.has[CHUNKING]) {
		/* Where the next command begins is not known: nothing good can follow. */
		reply(s, "501 5.5.4 No such chunk");
		wire_send(&s->wire);
		s->wire.ended = true;
		return;
	}
	s->state = STATE_CHUNK;
}

static void on_command(struct session *s, const char *line)
{
	if (strncasecmp(line, "MAIL", 4) == 0) {
		cmd_mail(s, line);
	} else if (strncasecmp(line, "RCPT", 4) == 0) {
		cmd_rcpt(s, line);
	} else if (strcasecmp(line, "DATA") == 0) {
		cmd_data(s);
	} else if (strncasecmp(line, "BDAT ", 5) == 0) {
		cmd_bdat(s, line);
	} else if (strncasecmp(line, "EHLO", 4) == 0) {
		cmd_ehlo(s);
	} else if (strcasecmp(line, "STARTTLS") == 0) {
		cmd_starttls(s);
	} else if (strncasecmp(line, "HELO", 4) == 0 || strcasecmp(line, "RSET") == 0 ||
		   strncasecmp(line, "NOOP", 4) == 0) {
		transaction_reset(s);
		reply(s, "250 2.0.0 Ok");
	} else if (strcasecmp(line, "QUIT") == 0) {
		reply(s, "221 2.0.0 Bye");
		wire_send(&s->wire);
		s->wire.ended = true;
	} else {
		reply(s, "502 5.5.2 Not here");
	}
}

static bool eat_command(struct session *s)
{
	const char *line = wire_eat_line(&s->wire);

	if (line)
		on_command(s, line);
	return line != NULL;
}

/* Returns false when there is nothing (more) to be done now. */
static bool eat(struct session *s)
{
	switch (s->state) {
	case STATE_COMMAND:
		return eat_command(s);
	case STATE_HEADER:
		return eat_header(s);
	case STATE_BODY:
		return eat_body(s);
	case STATE_CHUNK:
		return eat_chunk(s);
	case STATE_HUNG:
		wire_eat(&s->wire, wire_input_len(&s->wire));
		return false;
	case STATE_DELAYED:
		break;
	}
	return false;
}

/* Clients may drop connections they keep for reuse as they like. */
static bool is_idle(const struct session *s)
{
	return s->state == STATE_COMMAND && s->recipients == 0 &&
	       (!s->wire.ssl || SSL_is_init_finished(s->wire.ssl));
}

static void session_free(struct session *s)
{
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	wire_done(&s->wire);
	free(s->head.mem);
	free(s);
}

static void advance(struct session *s)
{
	struct sink *k = s->sink;
	size_t limit = s->state == STATE_COMMAND ? LINE_LIMIT : HEADER_LIMIT;
	bool ended_before = s->wire.ended; /* what came with the end is still mail */

	while (s->wire.ended == ended_before && eat(s))
		;
	if (s->head.end > HEADER_LIMIT ||
	    (wire_input_len(&s->wire) > limit && s->state != STATE_DELAYED))
		s->wire.ended = true;
	wire_send(&s->wire);
	if (!s->wire.ended)
		return;
	if (s->wire.error && !is_idle(s) && k->broken++ == 0)
		fprintf(stderr, "mailsink: connection lost: %s\n", s->wire.error);
	if (s->state == STATE_DELAYED)
		wire_close(&s->wire); /* release_delayed() frees it */
	else
		session_free(s);
}

static void release_delayed(struct sink *k)
{
	double now = tool_now();

	while (k->delayed && k->delayed->due <= now) {
		struct session *s = k->delayed;

		k->delayed = s->next_delayed;
		if (!k->delayed)
			k->delayed_end = &k->delayed;
		if (s->wire.fd < 0) {
			session_free(s);
			continue;
		}
		reply_to_dot(s);
		advance(s);
	}
}

static void session_open(struct sink *k, struct session *s, int fd)
{
	s->sink = k;
	s->next = k->sessions;
	s->link = &k->sessions;
	if (s->next)
		s->next->link = &s->next;
	k->sessions = s;
	wire_open(&s->wire, fd, k->epoll_fd, s);
	k->connections++;
}

/*
 * Postfix's tlsproxy writes a message in pieces and leaves Nagle's algorithm on: each
 * would wait 40 ms for a delayed acknowledgement, and half of its speed were gone.
 * That isn't what is to be measured. The kernel forgets the option, so it is set
 * before each read.
 */
static void acknowledge_at_once(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

static void accept_all(struct sink *k)
{
	for (;;) {
		int fd = accept4(k->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct session *s;

		if (fd < 0)
			return; /* none is left, or it is gone again */
		s = calloc(1, sizeof(*s));
		if (!s)
			tool_die("out of memory");
		session_open(k, s, fd);
		if (k->options.tls_mode == TLS_IMPLICIT)
			wire_start_tls(&s->wire, k->tls, true);
		if (k->options.hang == HANG_CONNECT)
			s->state = STATE_HUNG;
		else
			reply(s, "220 mailsink.test ESMTP");
		wire_send(&s->wire);
	}
}

static void watch(struct sink *k, int fd, void *owner)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = owner };

	if (fd < 0 || epoll_ctl(k->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		tool_die("%s", strerror(errno));
}

static int wait_ms(const struct sink *k)
{
	double left_s;

	if (!k->delayed)
		return -1;
	left_s = k->delayed->due - tool_now();
	return left_s > 0 ? (int)(left_s * 1e3) + 1 : 0;
}

static void run_sink(struct sink *k)
{
	struct epoll_event events[EVENTS];

	while (!k->stopping) {
		int n = epoll_wait(k->epoll_fd, events, EVENTS, wait_ms(k));

		if (n < 0 && errno != EINTR)
			tool_die("epoll_wait: %s", strerror(errno));
		for (int i = 0; i < n; i++) {
			struct session *s = events[i].data.ptr;

			if (events[i].data.ptr == &k->listen_fd) {
				accept_all(k);
			} else if (events[i].data.ptr == &k->signal_fd) {
				k->stopping = true;
			} else {
				acknowledge_at_once(s->wire.fd);
				wire_receive(&s->wire);
				advance(s);
			}
		}
		release_delayed(k);
	}
}

static struct options parse_options(int argc, char **argv)
{
	static const char *const tls_modes[] = { "none", "starttls", "implicit", NULL };
	static const char *const hangs[] = { "never", "connect", "mail", "dot", NULL };
	static const char *const extensions[] = { "chunking", "pipelining", NULL };
	struct options o = { .recipients = 1, .has = { true, true } };
	int c;

	while ((c = getopt(argc, argv, "t:C:K:n:k:D:TX:H:i:o:ah")) != -1) {
		switch (c) {
		case 't':
			o.tls_mode = (enum tls_mode)tool_parse_word(optarg, tls_modes);
			break;
		case 'C':
			o.cert_file = optarg;
			break;
		case 'K':
			o.key_file = optarg;
			break;
		case 'n':
			o.expected = tool_parse_number(optarg);
			break;
		case 'k':
			o.recipients = tool_parse_number(optarg);
			break;
		case 'D':
			o.delay_ms = tool_parse_number(optarg);
			break;
		case 'T':
			o.is_deferring = true;
			break;
		case 'X':
			o.has[tool_parse_word(optarg, extensions)] = false;
			break;
		case 'i':
			o.interval = tool_parse_number(optarg);
			break;
		case 'H':
			o.hang = (enum hang)tool_parse_word(optarg, hangs);
			break;
		case 'o':
			o.ids_path = optarg;
			break;
		case 'a':
			o.with_arrivals = true;
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (argc - optind != 1 || (o.tls_mode != TLS_NONE && (!o.cert_file || !o.key_file))) {
		fputs(usage, stderr);
		exit(2);
	}
	o.address = tool_parse_address(argv[optind]);
	return o;
}

static void start(struct sink *k)
{
	const struct options *o = &k->options;
	uint16_t port = 0;
	sigset_t signals;

	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);

	if (o->tls_mode != TLS_NONE)
		k->tls = wire_server_context(o->cert_file, o->key_file);
	k->tally.has_times = o->with_arrivals;
	k->delayed_end = &k->delayed;
	k->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	k->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	k->listen_fd = tool_listen(&o->address, &port);
	watch(k, k->signal_fd, &k->signal_fd);
	watch(k, k->listen_fd, &k->listen_fd);
	printf("listening on %s:%u\n", o->address.host, port);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sink sink = { .options = parse_options(argc, argv) };

	start(&sink);
	run_sink(&sink);
	report(&sink, "end");
	if (sink.options.ids_path)
		tally_write(&sink.tally, sink.options.ids_path);
	while (sink.sessions)
		session_free(sink.sessions);
	tally_done(&sink.tally);
	times_done(&sink.latencies);
	SSL_CTX_free(sink.tls);
	return 0;
}
