/*
 * pair - see the header; a loop gives each part its turn until nothing moves any more
 */
#include "tests/support/pair.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/client.h"
#include "smtp/server.h"

struct pair {
	const struct pair_options *options;
	struct slice choices;
	struct pair_message *messages;
	struct smtp_transaction *transactions;
	size_t count;

	struct smtp_client *client;
	struct buf client_out, client_in;
	size_t begun;	 /* transactions */
	size_t feeding;	 /* whose body is wanted; count: none */
	size_t fed;	 /* of it, bytes */
	bool is_ready;	 /* the client takes transactions */
	bool has_failed; /* or has quit */

	struct smtp_server *server;
	struct buf server_out, server_in;
	size_t receiving; /* transaction, from MAIL on; count: none */
	size_t mails;
	struct smtp_status answer; /* that is late; code 0: none */
	bool is_paused, is_over;
};

bool pair_is_text(struct slice body)
{
	for (size_t i = 0; i < body.len; i++) {
		if (body.ptr[i] == '\0' ||
		    (body.ptr[i] == '\r' && (i + 1 == body.len || body.ptr[i + 1] != '\n')) ||
		    (body.ptr[i] == '\n' && (i == 0 || body.ptr[i - 1] != '\r')))
			return false;
	}
	return true;
}

static bool ends_line(struct slice bytes)
{
	return bytes.len >= 2 && memcmp(bytes.ptr + bytes.len - 2, "\r\n", 2) == 0;
}

static uint8_t choose(struct pair *p)
{
	uint8_t choice = p->choices.len > 0 ? (uint8_t)p->choices.ptr[0] : 0;

	p->choices = slice_skip(p->choices, 1);
	return choice;
}

/* All of it, or some; of more than nothing always something. */
static size_t choose_length(struct pair *p, size_t all)
{
	uint8_t choice = choose(p);
	size_t some = choice % 4 == 3 ? (size_t)choice << 8 : choice / 4;

	return some == 0 || some > all ? all : some;
}

/* ---- the server's owner ---- */

static void reply(struct pair *p, int code, const char *text)
{
	struct smtp_status status;

	smtp_status_set(&status, code, ESC(0, 0, 0), "%s", text);
	if (choose(p) % 2)
		p->answer = status;
	else
		smtp_server_answer(p->server, &status);
}

static bool refuses(struct pair *p)
{
	return p->options->may_refuse && choose(p) % 8 == 7;
}

static void answer(struct pair *p, int good, int bad)
{
	if (refuses(p))
		reply(p, bad, "no");
	else
		reply(p, good, "yes");
}

static void on_mail(void *arg, const struct smtp_mail *mail)
{
	struct pair *p = arg;

	p->receiving = (size_t)strtoul(mail->sender, NULL, 10);
	/* Some may not have come so far, but none comes twice, or behind a later one. */
	assert(p->receiving >= p->mails && p->receiving < p->begun);
	assert(mail->body_binary == p->messages[p->receiving].is_binary);
	p->mails = p->receiving + 1;
	if (refuses(p)) {
		p->receiving = p->count;
		reply(p, 451, "no");
	} else {
		reply(p, 250, "yes");
	}
}

static void on_rcpt(void *arg, const struct smtp_rcpt *rcpt)
{
	struct pair *p = arg;

	assert((size_t)strtoul(rcpt->recipient, NULL, 10) == p->receiving);
	answer(p, 250, 550);
}

static void on_data(void *arg, const char *verb)
{
	(void)verb;
	answer(arg, 354, 451);
}

static void on_body(void *arg, struct slice bytes)
{
	struct pair *p = arg;

	assert(bytes.len > 0 && !p->is_paused);
	buf_append_slice(&p->messages[p->receiving].arrived, bytes);
	if (choose(p) % 8 == 7) {
		p->is_paused = true;
		smtp_server_pause(p->server);
	}
}

static void on_end_of_data(void *arg)
{
	struct pair *p = arg;
	struct pair_message *m = &p->messages[p->receiving];

	m->is_taken = !refuses(p);
	p->receiving = p->count;
	if (m->is_taken)
		reply(p, 250, "taken");
	else
		reply(p, 554, "not taken");
}

static void on_reset(void *arg, const struct smtp_status *why)
{
	struct pair *p = arg;

	(void)why;
	assert(p->receiving < p->count);
	buf_clear(&p->messages[p->receiving].arrived);
	p->receiving = p->count;
}

static void on_quit(void *arg)
{
	struct pair *p = arg;

	p->is_over = true;
}

static const struct smtp_server_events server_events = {
	.mail = on_mail,
	.rcpt = on_rcpt,
	.data = on_data,
	.body = on_body,
	.end_of_data = on_end_of_data,
	.reset = on_reset,
	.quit = on_quit,
};

/* ---- the client's owner ---- */

static void on_ready(void *arg, const struct smtp_capabilities *capabilities)
{
	struct pair *p = arg;

	(void)capabilities;
	p->is_ready = true;
}

static size_t index_of(const struct pair *p, const struct smtp_transaction *t)
{
	assert(t >= p->transactions && t < p->transactions + p->count);
	return (size_t)(t - p->transactions);
}

static void on_body_wanted(void *arg, const struct smtp_transaction *t)
{
	struct pair *p = arg;

	assert(p->feeding == p->count);
	p->feeding = index_of(p, t);
	p->fed = 0;
}

static void stop_feeding(struct pair *p, const struct smtp_transaction *t)
{
	if (p->feeding == index_of(p, t))
		p->feeding = p->count;
}

static void on_recipient(void *arg, const struct smtp_transaction *t, unsigned int index,
			 const struct smtp_status *status)
{
	struct pair *p = arg;
	struct pair_message *m = &p->messages[index_of(p, t)];

	assert(index < m->recipient_count && m->told < m->recipient_count && !m->is_broken);
	m->told++;
	if (smtp_status_class(status) == SMTP_DELIVERED)
		m->delivered++;
	else
		m->code = status->code;
}

static void on_done(void *arg, const struct smtp_transaction *t)
{
	struct pair *p = arg;
	const struct pair_message *m = &p->messages[index_of(p, t)];

	assert(m->told == m->recipient_count);
	stop_feeding(p, t);
}

static void on_broken(void *arg, const struct smtp_transaction *t, enum smtp_break how,
		      const struct smtp_status *status)
{
	struct pair *p = arg;
	struct pair_message *m = &p->messages[index_of(p, t)];

	assert(smtp_status_class(status) != SMTP_DELIVERED);
	assert(how == SMTP_BREAK_MESSAGE || !m->is_taken);
	m->is_broken = true;
	stop_feeding(p, t);
}

static void on_failed(void *arg, const struct smtp_status *status)
{
	struct pair *p = arg;

	(void)status;
	p->has_failed = true;
}

static const struct smtp_client_events client_events = {
	.ready = on_ready,
	.body_wanted = on_body_wanted,
	.recipient = on_recipient,
	.done = on_done,
	.broken = on_broken,
	.failed = on_failed,
};

/* ---- turns: each returns whether it has done anything ---- */

/* Of exactly its size, so that the sanitizer sees a read beyond it. */
static size_t give(size_t (*input)(struct pair *p, struct slice bytes), struct pair *p,
		   struct slice bytes)
{
	char *exact = malloc(bytes.len);
	size_t used;

	assert(exact);
	memcpy(exact, bytes.ptr, bytes.len);
	used = input(p, slice_of(exact, bytes.len));
	assert(used <= bytes.len);
	free(exact);
	return used;
}

static size_t into_server(struct pair *p, struct slice bytes)
{
	return smtp_server_input(p->server, bytes);
}

static size_t into_client(struct pair *p, struct slice bytes)
{
	return smtp_client_input(p->client, bytes);
}

static bool move(struct pair *p, struct buf *from, struct buf *to,
		 size_t (*input)(struct pair *p, struct slice bytes))
{
	size_t n = choose_length(p, buf_len(from)), used = 0;

	buf_append_slice(to, slice_first(buf_slice(from), n));
	buf_consume(from, n);
	if (buf_len(to) > 0)
		used = give(input, p, buf_slice(to));
	buf_consume(to, used);
	return n + used > 0;
}

static bool to_server(struct pair *p)
{
	if (p->is_over || p->is_paused || smtp_server_is_waiting(p->server))
		return false;
	return move(p, &p->client_out, &p->server_in, into_server);
}

static bool to_client(struct pair *p)
{
	if (p->has_failed)
		return false;
	return move(p, &p->server_out, &p->client_in, into_client);
}

static bool answer_late(struct pair *p)
{
	struct smtp_status status = p->answer;

	if (status.code == 0)
		return false;
	p->answer.code = 0;
	smtp_server_answer(p->server, &status);
	return true;
}

static bool resume(struct pair *p)
{
	if (!p->is_paused)
		return false;
	p->is_paused = false;
	smtp_server_resume(p->server);
	return true;
}

static bool feed(struct pair *p)
{
	struct slice rest, piece;
	bool is_last;

	if (p->feeding == p->count)
		return false;
	rest = slice_skip(p->messages[p->feeding].body, p->fed);
	piece = slice_first(rest, choose_length(p, rest.len));
	/* That it was the last one may be found only when there are no more. */
	is_last = piece.len == rest.len && (rest.len == 0 || choose(p) % 4 != 3);
	p->fed += piece.len;
	if (is_last)
		p->feeding = p->count;
	smtp_client_body(p->client, piece, is_last);
	return true;
}

static bool begin(struct pair *p)
{
	if (!p->is_ready || p->has_failed || p->begun == p->count ||
	    !smtp_client_has_room(p->client))
		return false;
	smtp_client_transaction(p->client, &p->transactions[p->begun++]);
	return true;
}

/* The server has closed, and the client has read all that it said. */
static bool close_connection(struct pair *p)
{
	if (!p->is_over || p->has_failed || buf_len(&p->server_out) > 0)
		return false;
	smtp_client_lost(p->client, "lost connection with server");
	assert(p->has_failed);
	return true;
}

static void run(struct pair *p)
{
	bool has_moved;

	do {
		has_moved = begin(p);
		has_moved |= feed(p);
		has_moved |= to_server(p);
		has_moved |= answer_late(p);
		has_moved |= resume(p);
		has_moved |= to_client(p);
		has_moved |= close_connection(p);
	} while (has_moved);
}

/* ---- from outside ---- */

static struct smtp_transaction *new_transactions(const struct pair_message *messages, size_t count)
{
	static const struct smtp_recipient recipients[PAIR_RECIPIENTS_MAX];
	struct smtp_transaction *transactions = calloc(count + 1, sizeof(*transactions));

	assert(transactions);
	for (size_t i = 0; i < count; i++) {
		struct smtp_recipient *own = malloc(sizeof(recipients));
		struct buf address = { 0 };

		assert(own && messages[i].recipient_count - 1 < PAIR_RECIPIENTS_MAX);
		memcpy(own, recipients, sizeof(recipients));
		buf_printf(&address, "%zu@x.test", i);
		transactions[i] = (struct smtp_transaction){
			.sender = buf_steal_string(&address),
			.recipients = own,
			.recipient_count = messages[i].recipient_count,
			.size = messages[i].body.len,
			.body_binary = messages[i].is_binary,
		};
		for (unsigned int n = 0; n < messages[i].recipient_count; n++)
			own[n].address = transactions[i].sender;
	}
	return transactions;
}

static void check(const struct pair *p, const struct pair_message *m)
{
	struct slice arrived = buf_slice(&m->arrived);
	bool is_whole = m->is_binary || m->body.len == 0 || ends_line(m->body);

	assert(m->told == m->recipient_count || m->is_broken || p->has_failed);
	assert(m->delivered == 0 || m->is_taken);
	if (!m->is_taken)
		return;
	assert(m->delivered > 0 || m->is_broken);
	assert(m->is_binary || pair_is_text(m->body));
	if (!is_whole) {
		assert(ends_line(arrived));
		arrived.len -= 2;
	}
	assert(slice_equal(arrived, m->body));
}

void pair_run(const struct pair_options *options, struct pair_message *messages, size_t count)
{
	struct smtp_server_options server_options = { .hostname = "server.test",
						      .discarded = options->discarded };
	struct smtp_client_options client_options = { .hello = "client.test",
						      .no_pipelining = options->no_pipelining };
	struct pair p = { .options = options,
			  .choices = options->choices,
			  .messages = messages,
			  .transactions = new_transactions(messages, count),
			  .count = count,
			  .feeding = count,
			  .receiving = count };

	p.server = smtp_server_new(&server_options, &server_events, &p, &p.server_out);
	p.client = smtp_client_new(&client_options, &client_events, &p, &p.client_out);
	smtp_server_greet(p.server, false);
	run(&p);
	assert(p.begun == count || p.has_failed);
	for (size_t i = 0; i < count; i++) {
		check(&p, &messages[i]);
		free((char *)p.transactions[i].sender);
		free((struct smtp_recipient *)p.transactions[i].recipients);
	}
	smtp_client_free(p.client);
	smtp_server_free(p.server);
	free(p.transactions);
	buf_done(&p.client_in);
	buf_done(&p.client_out);
	buf_done(&p.server_in);
	buf_done(&p.server_out);
}
