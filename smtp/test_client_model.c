/*
 * test_client_model - random servers, several transactions in flight, and a
 * model of what each recipient must be told
 *
 * The server reads the client's bytes as a server does, and decides by chance
 * what becomes of each command; each of its texts is unique. So the model knows
 * which text every recipient has to get, whoever else is in flight, and which
 * message was stored for whom. Replies come late, in pieces, and sometimes the
 * session ends by 421 or without a word. The seed is in every complaint.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "smtp/client.h"

#define MAILS	       40
#define RECIPIENTS_MAX 4
#define ROUNDS	       3000
#define NOBODY	       -1
#define REASON	       "lost connection with mx"

struct recipient {
	char address[32];
	char expected[64]; /* what the server has said of it; "": nothing yet */
	bool is_stored, is_told;
	struct smtp_status told;
};

struct mail {
	char sender[32], body[400];
	size_t body_len;
	struct smtp_transaction transaction;
	struct smtp_recipient addresses[RECIPIENTS_MAX];
	struct recipient recipients[RECIPIENTS_MAX];
	unsigned int count;
	bool is_on, is_over, is_given, is_seen; /* seen: the server has read its MAIL */
	enum smtp_break how;
	bool is_broken;
};

struct game {
	uint64_t seed, random;
	bool chunking, pipelining;
	struct smtp_client *client;
	struct buf output, replies; /* on their way */
	unsigned int replied;	    /* bytes of replies that the client has not used up */
	struct mail mails[MAILS];
	unsigned int begun, words;
	struct mail *giving;
	size_t given;
	bool is_ready, has_failed;

	/* the server */
	struct buf input;
	bool in_data, has_gone, is_sulking; /* sulking: a chunk was refused */
	int mail;			    /* index, or NOBODY */
	bool accepted[RECIPIENTS_MAX];
	struct buf body;
};

static uint32_t chance(struct game *g, uint32_t n)
{
	g->random = g->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(g->random >> 33) % n;
}

#define HOLDS(g, fact)                                                                             \
	do {                                                                                       \
		if (!(fact))                                                                       \
			fail_msg("seed %" PRIu64 ", line %d: %s", (g)->seed, __LINE__, #fact);     \
	} while (0)

/* ---- the server ---- */

/* With a text that nothing else has; its own copy is for the model. */
static void reply(struct game *g, int code, char expected[64])
{
	char text[64];

	snprintf(text, sizeof(text), "%d no. %u", code, ++g->words);
	buf_printf(&g->replies, "%s\r\n", text);
	if (expected)
		strcpy(expected, text);
}

static unsigned int accepted_count(const struct game *g)
{
	unsigned int count = 0;

	for (size_t i = 0; i < RECIPIENTS_MAX; i++)
		count += g->accepted[i];
	return count;
}

static void forget_mail(struct game *g)
{
	g->mail = NOBODY;
	g->is_sulking = false;
	memset(g->accepted, 0, sizeof(g->accepted));
	buf_clear(&g->body);
}

/* Everybody whom nothing has decided gets this. */
static void decide_rest(struct game *g, const char *text, bool is_stored)
{
	struct mail *m = &g->mails[g->mail];

	for (unsigned int i = 0; i < m->count; i++) {
		struct recipient *r = &m->recipients[i];

		if (r->expected[0])
			continue;
		strcpy(r->expected, text);
		r->is_stored = is_stored && g->accepted[i];
	}
}

static void serve_rset(struct game *g)
{
	forget_mail(g);
	reply(g, 250, NULL);
}

static void serve_mail(struct game *g, const char *line)
{
	char text[64];
	unsigned int i;

	if (g->mail != NOBODY) {
		reply(g, 503, NULL);
		HOLDS(g, !"a MAIL in a transaction");
	}
	HOLDS(g, sscanf(line, "MAIL FROM:<s%u@x>", &i) == 1 && i < MAILS);
	HOLDS(g, !g->mails[i].is_seen);
	g->mails[i].is_seen = true;
	g->mail = (int)i;
	if (chance(g, 10) > 0) {
		reply(g, 250, NULL);
		return;
	}
	reply(g, chance(g, 2) ? 450 : 550, text);
	decide_rest(g, text, false);
	forget_mail(g);
}

static void serve_rcpt(struct game *g, const char *line)
{
	unsigned int i, k;

	HOLDS(g, sscanf(line, "RCPT TO:<r%u.%u@y>", &i, &k) == 2);
	if (g->mail == NOBODY) {
		reply(g, 503, NULL);
		return;
	}
	HOLDS(g, (int)i == g->mail && k < g->mails[i].count);
	if (chance(g, 5) > 0) {
		g->accepted[k] = true;
		reply(g, 250, NULL);
	} else {
		reply(g, chance(g, 2) ? 450 : 550, g->mails[i].recipients[k].expected);
	}
}

/* All of a message is there. */
static void serve_end(struct game *g)
{
	const struct mail *m = &g->mails[g->mail];
	struct slice body = buf_slice(&g->body);
	static const int codes[] = { 250, 250, 250, 250, 450, 550 };
	int code = codes[chance(g, ARRAY_SIZE(codes))];
	char text[64];

	HOLDS(g, slice_equal(body, slice_of(m->body, m->body_len)));
	reply(g, code, text);
	decide_rest(g, text, code == 250);
}

/* Some servers stay in the transaction when a message is refused, some leave it. */
static void after_refusal(struct game *g)
{
	if (chance(g, 2))
		forget_mail(g);
}

static void serve_chunk(struct game *g, struct slice bytes, bool is_last)
{
	char text[64];

	if (g->mail == NOBODY || accepted_count(g) == 0 || g->is_sulking) {
		reply(g, 503, NULL);
		if (is_last && g->mail != NOBODY)
			after_refusal(g);
		return;
	}
	buf_append_slice(&g->body, bytes);
	if (!is_last && chance(g, 8) == 0) {
		reply(g, chance(g, 2) ? 452 : 552, text);
		decide_rest(g, text, false);
		g->is_sulking = true;
	} else if (!is_last) {
		reply(g, 250, NULL);
	} else {
		int mail = g->mail;

		serve_end(g);
		if (g->mails[mail].recipients[0].expected[0] == '2' || chance(g, 2))
			forget_mail(g);
		else if (g->mails[mail].count > 1 && chance(g, 2))
			forget_mail(g);
		/* RFC 3030: what has been taken is over in any case */
		for (unsigned int i = 0; g->mail != NOBODY && i < g->mails[mail].count; i++)
			if (g->mails[mail].recipients[i].is_stored)
				forget_mail(g);
	}
}

static void serve_data(struct game *g)
{
	char text[64];

	if (g->mail == NOBODY || accepted_count(g) == 0) {
		/* Some take an empty message that is for nobody. */
		if (g->mail != NOBODY && chance(g, 2)) {
			g->in_data = true;
			buf_append_string(&g->replies, "354 go\r\n");
		} else {
			reply(g, 503, NULL);
		}
		return;
	}
	if (chance(g, 8) == 0) {
		reply(g, 451, text);
		decide_rest(g, text, false);
		return;
	}
	g->in_data = true;
	buf_append_string(&g->replies, "354 go\r\n");
}

static void serve_dot(struct game *g)
{
	g->in_data = false;
	if (accepted_count(g) == 0) {
		HOLDS(g, buf_len(&g->body) == 0);
		reply(g, 554, NULL);
	} else {
		serve_end(g);
	}
	forget_mail(g);
}

/* The server has had enough. */
static bool leaves(struct game *g)
{
	if (chance(g, 150) > 0)
		return false;
	g->has_gone = true;
	if (chance(g, 2))
		buf_append_string(&g->replies, "421 enough\r\n");
	else if (chance(g, 2))
		buf_clear(&g->replies); /* what was said last never arrives */
	return true;
}

static void serve_line(struct game *g, const char *line)
{
	if (g->in_data) {
		if (strcmp(line, ".") == 0)
			serve_dot(g);
		else
			buf_printf(&g->body, "%s\r\n", line + (line[0] == '.'));
		return;
	}
	if (strncmp(line, "EHLO", 4) == 0)
		buf_printf(&g->replies, "250-mx\r\n%s%s250 8BITMIME\r\n",
			   g->pipelining ? "250-PIPELINING\r\n" : "",
			   g->chunking ? "250-CHUNKING\r\n" : "");
	else if (leaves(g))
		return;
	else if (strcmp(line, "RSET") == 0)
		serve_rset(g);
	else if (strncmp(line, "MAIL", 4) == 0)
		serve_mail(g, line);
	else if (strncmp(line, "RCPT", 4) == 0)
		serve_rcpt(g, line);
	else if (strcmp(line, "DATA") == 0)
		serve_data(g);
	else
		HOLDS(g, !"a command that is known");
}

/* The front of what has come, if it is whole. */
static bool serve_next(struct game *g)
{
	struct slice in = buf_slice(&g->input);
	size_t n = slice_find(in, '\n');
	char line[512];
	size_t len;

	if (n == in.len || g->has_gone)
		return false;
	HOLDS(g, n > 0 && n < sizeof(line) && in.ptr[n - 1] == '\r');
	memcpy(line, in.ptr, n - 1);
	line[n - 1] = '\0';
	if (!g->in_data && sscanf(line, "BDAT %zu", &len) == 1) {
		if (in.len < n + 1 + len)
			return false;
		if (!leaves(g))
			serve_chunk(g, slice_of(in.ptr + n + 1, len), strstr(line, " LAST"));
		buf_consume(&g->input, n + 1 + len);
		return true;
	}
	buf_consume(&g->input, n + 1);
	serve_line(g, line);
	return true;
}

/* ---- the owner ---- */

static struct mail *mail_of(struct game *g, const struct smtp_transaction *t)
{
	struct mail *m = CONTAINER_OF(t, struct mail, transaction);

	HOLDS(g, m->is_on && !m->is_over);
	return m;
}

static void give_some(struct game *g)
{
	struct mail *m = g->giving;
	size_t n = m->body_len - g->given;
	bool is_last = chance(g, 2);

	if (!is_last)
		n = chance(g, (uint32_t)n + 1);
	if (is_last) {
		g->giving = NULL;
		m->is_given = true;
	}
	smtp_client_body(g->client, slice_of(m->body + g->given, n), is_last);
	g->given += n;
}

/* Lines of random lengths, some of which begin with dots. */
static void write_body(struct game *g, struct mail *m)
{
	unsigned int lines = chance(g, 6);

	for (unsigned int i = 0; i < lines; i++) {
		int room = (int)chance(g, 50);

		m->body_len +=
			(size_t)snprintf(m->body + m->body_len, 64, "%s%.*s\r\n",
					 chance(g, 3) ? "" : ".", room,
					 "RSET MAIL FROM:<x> BDAT 7 LAST QUIT and other text");
	}
}

static void begin(struct game *g)
{
	unsigned int index = g->begun++;
	struct mail *m = &g->mails[index];

	m->is_on = true;
	m->count = 1 + chance(g, RECIPIENTS_MAX);
	snprintf(m->sender, sizeof(m->sender), "s%u@x", index);
	write_body(g, m);
	for (unsigned int i = 0; i < m->count; i++) {
		snprintf(m->recipients[i].address, sizeof(m->recipients[i].address), "r%u.%u@y",
			 index, i);
		m->addresses[i].address = m->recipients[i].address;
	}
	m->transaction = (struct smtp_transaction){
		.sender = m->sender,
		.recipients = m->addresses,
		.recipient_count = m->count,
		.size = chance(g, 20) ? m->body_len : 300000,
		.is_careful = chance(g, 10) == 0,
	};
	smtp_client_transaction(g->client, &m->transaction);
}

static void on_ready(void *arg, const struct smtp_capabilities *capabilities)
{
	struct game *g = arg;

	(void)capabilities;
	g->is_ready = true;
}

static void on_body_wanted(void *arg, const struct smtp_transaction *t)
{
	struct game *g = arg;

	HOLDS(g, !g->giving);
	g->giving = mail_of(g, t);
	g->given = 0;
	while (g->giving && chance(g, 4))
		give_some(g);
}

static void on_recipient(void *arg, const struct smtp_transaction *t, unsigned int index,
			 const struct smtp_status *status)
{
	struct game *g = arg;
	struct recipient *r = &mail_of(g, t)->recipients[index];
	char text[600];

	snprintf(text, sizeof(text), "%d %s", status->code, status->text);
	HOLDS(g, !r->is_told && strcmp(text, r->expected) == 0);
	r->is_told = true;
	r->told = *status;
}

static void end_mail(struct game *g, struct mail *m)
{
	m->is_over = true;
	if (g->giving == m)
		g->giving = NULL;
}

static void on_done(void *arg, const struct smtp_transaction *t)
{
	struct game *g = arg;
	struct mail *m = mail_of(g, t);

	for (unsigned int i = 0; i < m->count; i++)
		HOLDS(g, m->recipients[i].is_told);
	end_mail(g, m);
	if (g->begun < MAILS && smtp_client_has_room(g->client) && chance(g, 2))
		begin(g);
}

static void on_broken(void *arg, const struct smtp_transaction *t, enum smtp_break how,
		      const struct smtp_status *status)
{
	struct game *g = arg;
	struct mail *m = mail_of(g, t);

	HOLDS(g, smtp_status_class(status) == SMTP_DEFERRED);
	m->is_broken = true;
	m->how = how;
	end_mail(g, m);
}

static void on_failed(void *arg, const struct smtp_status *status)
{
	struct game *g = arg;

	HOLDS(g, g->has_gone);
	HOLDS(g, status->code == 421 || strncmp(status->text, REASON, strlen(REASON)) == 0);
	g->has_failed = true;
}

static const struct smtp_client_events events = {
	.ready = on_ready,
	.body_wanted = on_body_wanted,
	.recipient = on_recipient,
	.done = on_done,
	.broken = on_broken,
	.failed = on_failed,
};

/* ---- the game ---- */

/* Some of what is on its way to the client arrives. */
static void deliver_replies(struct game *g)
{
	struct slice all = buf_slice(&g->replies);
	size_t n = chance(g, 3) ? all.len : chance(g, (uint32_t)all.len + 1);
	size_t used;

	if (n == 0)
		return;
	used = smtp_client_input(g->client, slice_first(all, n));
	HOLDS(g, used <= n);
	buf_consume(&g->replies, used);
}

static void move_output(struct game *g)
{
	struct slice all = buf_slice(&g->output);
	size_t n = chance(g, 3) ? all.len : chance(g, (uint32_t)all.len + 1);

	buf_append_slice(&g->input, slice_first(all, n));
	buf_consume(&g->output, n);
}

static void step(struct game *g)
{
	switch (chance(g, 6)) {
	case 0:
		if (g->is_ready && g->begun < MAILS && smtp_client_has_room(g->client))
			begin(g);
		break;
	case 1:
		if (g->giving)
			give_some(g);
		break;
	case 2:
		move_output(g);
		break;
	case 3:
	case 4:
		for (uint32_t n = chance(g, 12); n > 0 && serve_next(g); n--)
			;
		break;
	case 5:
		deliver_replies(g);
		break;
	}
	if (g->has_gone && buf_len(&g->replies) == 0 && !g->has_failed)
		smtp_client_lost(g->client, REASON);
}

static bool is_over(const struct game *g)
{
	if (g->has_failed)
		return true;
	for (size_t i = 0; i < MAILS; i++)
		if (!g->mails[i].is_over)
			return false;
	return true;
}

/* What a break says the server cannot have it does not have. */
static void check(struct game *g)
{
	for (size_t i = 0; i < g->begun; i++) {
		const struct mail *m = &g->mails[i];

		HOLDS(g, m->is_over);
		for (unsigned int k = 0; k < m->count; k++) {
			const struct recipient *r = &m->recipients[k];

			HOLDS(g, !m->is_broken || m->how == SMTP_BREAK_MESSAGE || !r->is_stored);
			HOLDS(g, m->is_broken || r->is_told);
			HOLDS(g, !r->is_told || r->is_stored == (r->told.code == 250));
		}
	}
}

static void play(uint64_t seed)
{
	struct game *g = calloc(1, sizeof(*g));
	struct smtp_client_options options = { .hello = "us" };

	assert_non_null(g);
	g->seed = g->random = seed;
	g->pipelining = chance(g, 6) > 0;
	g->chunking = chance(g, 3) > 0;
	g->mail = NOBODY;
	g->client = smtp_client_new(&options, &events, g, &g->output);
	buf_append_string(&g->replies, "220 mx\r\n");
	for (unsigned int steps = 0; !is_over(g); steps++) {
		HOLDS(g, steps < 100000);
		step(g);
	}
	check(g);
	smtp_client_free(g->client);
	buf_done(&g->output);
	buf_done(&g->replies);
	buf_done(&g->input);
	buf_done(&g->body);
	free(g);
}

static void test_random_servers(void **state)
{
	const char *seed = getenv("SEED");

	(void)state;
	if (seed) {
		play(strtoull(seed, NULL, 10));
		return;
	}
	for (uint64_t i = 1; i <= ROUNDS; i++)
		play(i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
