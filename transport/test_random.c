/*
 * test_random - many small maps, and a resolver so plain that it must be right
 *
 * The reference walks through a list of keys as transport(5) gives it, and
 * for each key through all lines of all files. A few labels only, so that
 * keys meet addresses often.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <strings.h>

#include "base/macros.h"
#include "transport/internal.h"

#define MAPS	  2
#define LINES	  12
#define ROUNDS	  300
#define ADDRESSES 40
#define TEXT_SIZE 256

struct line {
	char key[64];
	const struct meaning *meaning;
};

/* What a value comes to: with a base, "%B" is its transport; "%D" the recipient's domain. */
static const struct meaning {
	const char *value, *want;
} meanings[] = {
	{ "relay:[a]", "relay:[a]:25" },
	{ "relay:b:587, [c]", "relay:b:587,[c]:25" },
	{ "relay-smtps:[d] tls=encrypt", "relay-smtps:[d]:465" },
	{ "smtp:", "smtp:%D:25" },
	{ "relay-smtps:", "relay-smtps:%D:465" },
	{ "error:5.1.1 gone", "error:" },
	{ "discard:", "discard:" },
	{ "virtual:", "virtual:" },
	{ ":", "%B" },
	{ "no-such-transport:x", "retry:" },
};

static const struct {
	const char *relayhost, *default_transport, *want;
} bases[] = {
	{ "", "smtp", "smtp:%D:25" },
	{ "[hub]:26", "smtp", "relay:[hub]:26" },
	{ "relay-smtps:[hub]", "error:x", "relay-smtps:[hub]:465" },
	{ "", "error:5.7.1 closed", "error:" },
};

struct world {
	uint32_t seed;
	struct line lines[MAPS][LINES];
	size_t base;
};

/* Numerical Recipes' generator; its high bits are good enough. */
static unsigned int draw(struct world *w, unsigned int below)
{
	w->seed = w->seed * 1664525u + 1013904223u;
	return (w->seed >> 16) % below;
}

static const char *draw_label(struct world *w)
{
	static const char *const labels[] = { "a", "b", "A", "vm" };

	return labels[draw(w, ARRAY_SIZE(labels))];
}

static void draw_domain(struct world *w, char out[32])
{
	unsigned int labels = 1 + draw(w, 4);

	out[0] = '\0';
	for (unsigned int i = 0; i < labels; i++) {
		if (i > 0)
			strcat(out, ".");
		strcat(out, draw_label(w));
	}
}

static void draw_key(struct world *w, char out[64])
{
	char domain[32];

	draw_domain(w, domain);
	switch (draw(w, 8)) {
	case 0:
		strcpy(out, "*");
		break;
	case 1:
	case 2:
		snprintf(out, 64, "%s@%s", draw_label(w), domain);
		break;
	case 3:
	case 4:
	case 5:
		snprintf(out, 64, ".%s", domain);
		break;
	default:
		strcpy(out, domain);
	}
}

static bool is_local_domain(const char *domain)
{
	return strcasecmp(domain, "a.vm") == 0 || strcasecmp(domain, "vm") == 0;
}

static int is_local(void *arg, struct slice domain, struct error *err)
{
	char text[64];

	(void)arg;
	(void)err;
	slice_copy(domain, text, sizeof(text));
	return is_local_domain(text) ? MAP_FOUND : MAP_NOT_FOUND;
}

/* The first line with this key, as "FILE:LINE" too. */
static const struct line *find_key(const struct world *w, const char *key, char source[32])
{
	for (size_t m = 0; m < MAPS; m++) {
		for (size_t i = 0; i < LINES; i++) {
			if (strcasecmp(w->lines[m][i].key, key) != 0)
				continue;
			snprintf(source, 32, "ts%zu:%zu", m, i + 1);
			return &w->lines[m][i];
		}
	}
	return NULL;
}

static const struct line *find_line(const struct world *w, const char *address, char source[32])
{
	const char *domain = strchr(address, '@') + 1, *parent = domain;
	const struct line *line = find_key(w, address, source);

	if (!line)
		line = find_key(w, domain, source);
	if (is_local_domain(domain))
		return line;
	while (!line && (parent = strchr(parent, '.'))) {
		line = find_key(w, parent, source);
		parent++;
	}
	return line ? line : find_key(w, "*", source);
}

/* want, with the domain put in, and the source behind it. */
static void expand(const char *want, const char *domain, const char *source, char out[TEXT_SIZE])
{
	const char *mark = strstr(want, "%D");
	size_t n;

	if (mark)
		n = (size_t)snprintf(out, TEXT_SIZE, "%.*s%s%s", (int)(mark - want), want, domain,
				     mark + 2);
	else
		n = (size_t)snprintf(out, TEXT_SIZE, "%s", want);
	for (size_t i = 0; i < n; i++)
		out[i] = (char)(out[i] >= 'A' && out[i] <= 'Z' ? out[i] | 0x20 : out[i]);
	snprintf(out + n, TEXT_SIZE - n, " (%s)", source);
}

static void reference(const struct world *w, const char *address, char out[TEXT_SIZE])
{
	const char *domain = strchr(address, '@') + 1;
	const char *base = is_local_domain(domain) ? "virtual:" : bases[w->base].want, *want = base;
	const struct line *line;
	char source[32];

	strcpy(source, is_local_domain(domain) ? "local" : "base");
	line = find_line(w, address, source);
	if (line)
		want = strcmp(line->meaning->want, "%B") == 0 ? base : line->meaning->want;
	expand(want, domain, source, out);
}

static void ours(struct transport *t, const char *address, char out[TEXT_SIZE])
{
	const struct transport_route *route = NULL;
	size_t n;

	assert_int_equal(transport_resolve(t, address, &route, NULL), 0);
	n = (size_t)snprintf(out, TEXT_SIZE, "%s:", route->name);
	for (unsigned int i = 0; i < route->hop_count; i++)
		n += (size_t)snprintf(out + n, TEXT_SIZE - n, "%s%s", i ? "," : "",
				      route->hops[i].text);
	snprintf(out + n, TEXT_SIZE - n, " (%s)", route->source);
	transport_route_unref(route);
}

static void write_maps(const struct world *w, const char *dir)
{
	char path[64];

	for (size_t m = 0; m < MAPS; m++) {
		FILE *file;

		snprintf(path, sizeof(path), "%s/ts%zu", dir, m);
		file = fopen(path, "we");
		assert_non_null(file);
		for (size_t i = 0; i < LINES; i++)
			fprintf(file, "%s\t%s\n", w->lines[m][i].key,
				w->lines[m][i].meaning->value);
		fclose(file);
	}
}

static void compare(struct world *w, const char *dir)
{
	CLEANUP(maps_freep) struct maps *maps = NULL;
	struct transport_options options = {
		.relayhost = bases[w->base].relayhost,
		.relayhost_source = "base",
		.default_transport = bases[w->base].default_transport,
		.default_transport_source = "base",
		.is_local = is_local,
	};
	struct transport *t = NULL;

	assert_int_equal(maps_open(SLICE("hash:ts0, hash:ts1"), dir, &maps, NULL), 0);
	options.transport_maps = maps;
	assert_int_equal(transport_new(&options, &t, NULL), 0);
	for (int i = 0; i < ADDRESSES; i++) {
		char domain[32], address[64], want[TEXT_SIZE], got[TEXT_SIZE];

		draw_domain(w, domain);
		snprintf(address, sizeof(address), "%s@%s", draw_label(w), domain);
		reference(w, address, want);
		ours(t, address, got);
		if (strcmp(got, want) != 0)
			fail_msg("seed %u, %s: got %s, want %s", w->seed, address, got, want);
	}
	transport_free(t);
}

static void test_random(void **state)
{
	char dir[] = "/tmp/test_transport.XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct world w = { .seed = round * 7919, .base = round % ARRAY_SIZE(bases) };

		for (size_t i = 0; i < MAPS * LINES; i++) {
			struct line *line = &w.lines[i / LINES][i % LINES];

			draw_key(&w, line->key);
			line->meaning = &meanings[draw(&w, ARRAY_SIZE(meanings))];
		}
		write_maps(&w, dir);
		compare(&w, dir);
	}
	for (size_t m = 0; m < MAPS; m++) {
		snprintf(path, sizeof(path), "%s/ts%zu", dir, m);
		unlink(path);
	}
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
