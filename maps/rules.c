/*
 * rules - an array of rules; an "if" knows where its "endif" is
 *
 * Both syntaxes differ in nothing but how a pattern is read and tried. So the
 * order, the nesting and the complaints about them are here, and what is in a
 * pattern is in regexp.c and cidr.c.
 */
#include "maps/rules.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/escape.h"
#include "base/memory.h"
#include "base/strmap.h"
#include "maps/cidr.h"
#include "maps/lines.h"
#include "maps/regexp.h"

enum rule_op {
	OP_RESULT,
	OP_IF,
	OP_ENDIF,
};

struct rule {
	enum rule_op op;
	bool is_negated;
	bool is_nested; /* within an "if" */
	uint32_t line;
	uint32_t end; /* of an "if": the number of its "endif" */
	unsigned int group_count;
	const char *pattern, *result; /* in the arena */
	regex_t *regex;		      /* NULL: of an address */
	struct cidr network;
};

struct rules {
	atomic_uint refs;
	enum rules_syntax syntax;
	struct arena arena;
	struct rule *list;
	uint32_t count;
	uint32_t *results; /* the numbers of those with a result */
	uint32_t result_count;
};

/* ---- reading ---- */

struct parser {
	struct rules *rules;
	struct buf list;  /* of struct rule */
	struct buf stack; /* uint32_t: the "if"s that are open */
	struct complaints complaints;
};

static struct rule *rule_at(const struct parser *p, uint32_t number)
{
	return (struct rule *)(void *)(p->list.mem + p->list.start) + number;
}

static size_t depth(const struct parser *p)
{
	return buf_len(&p->stack) / sizeof(uint32_t);
}

static uint32_t innermost(const struct parser *p)
{
	return ((const uint32_t *)(const void *)(p->stack.mem + p->stack.start))[depth(p) - 1];
}

static int take_regexp(struct parser *p, struct slice *rest, struct rule *rule,
		       struct regexp_pattern *ret, struct error *err)
{
	int r = regexp_take(rest, &p->rules->arena, ret, err);

	rule->is_negated = ret->is_negated;
	return r;
}

static int take_cidr(struct slice *rest, struct rule *rule, struct error *err)
{
	for (; rest->len && (rest->ptr[0] == '!' || lines_is_blank(rest->ptr[0]));
	     *rest = slice_skip(*rest, 1))
		rule->is_negated ^= rest->ptr[0] == '!';
	return cidr_parse(lines_take_word(rest), &rule->network, err);
}

static int compile(struct rule *rule, const struct regexp_pattern *pattern, struct error *err)
{
	regex_t *regex = memory_new(sizeof(*regex));
	int r = regexp_compile(pattern, rule->group_count, regex, err);

	if (r < 0)
		free(regex);
	else
		rule->regex = regex;
	return r;
}

/* A result without $n is stored as it will come out. */
static int take_regexp_result(struct parser *p, struct rule *rule, struct slice result,
			      struct error *err)
{
	struct buf out = { 0 };
	int r = regexp_result_check(result, &rule->group_count, err);

	if (r < 0)
		return r;
	if (rule->is_negated && rule->group_count > 0)
		return error_set(err, -EINVAL, "$%u in the result of a pattern that must not match",
				 rule->group_count);
	if (rule->group_count == 0)
		regexp_result_expand(result, "", NULL, &out);
	rule->result =
		arena_slicedup(&p->rules->arena, rule->group_count == 0 ? buf_slice(&out) : result);
	buf_done(&out);
	return 0;
}

static int take_result(struct parser *p, struct rule *rule, struct slice result, struct error *err)
{
	char shown[64];

	if (rule->op == OP_IF && result.len)
		return error_set(err, -EINVAL, "\"%s\" behind the pattern of if",
				 escape_cstr(result, shown, sizeof(shown)));
	if (rule->op == OP_RESULT && result.len == 0)
		return error_set(err, -EINVAL, "no result behind the pattern");
	if (p->rules->syntax == RULES_REGEXP)
		return take_regexp_result(p, rule, result, err);
	rule->result = arena_slicedup(&p->rules->arena, result);
	return 0;
}

/* The pattern, and behind it a result, or nothing behind an "if". */
static int parse_rule(struct parser *p, struct slice line, struct rule *rule, struct error *err)
{
	struct regexp_pattern pattern = { 0 };
	struct slice rest = line;
	int r;

	r = p->rules->syntax == RULES_CIDR ? take_cidr(&rest, rule, err)
					   : take_regexp(p, &rest, rule, &pattern, err);
	if (r < 0)
		return r;
	rule->pattern = arena_slicedup(
		&p->rules->arena, slice_trim(slice_first(line, (size_t)(rest.ptr - line.ptr))));
	r = take_result(p, rule, rest, err);
	if (r < 0)
		return r;
	return p->rules->syntax == RULES_CIDR ? 0 : compile(rule, &pattern, err);
}

/* Takes the word where the line starts with it, in whatever case. */
static bool take_keyword(struct slice *line, struct slice word)
{
	char next = line->len > word.len ? line->ptr[word.len] : ' ';

	if (!slice_starts_nocase(*line, word) || (next >= '0' && next <= '9') ||
	    (next >= 'A' && next <= 'Z') || (next >= 'a' && next <= 'z'))
		return false;
	*line = slice_skip(*line, word.len);
	return true;
}

static void push_rule(struct parser *p, const struct rule *rule)
{
	uint32_t number = (uint32_t)(buf_len(&p->list) / sizeof(*rule));

	buf_append(&p->list, rule, sizeof(*rule));
	if (rule->op == OP_IF) {
		buf_append(&p->stack, &number, sizeof(number));
	} else if (rule->op == OP_ENDIF) {
		rule_at(p, innermost(p))->end = number;
		p->stack.end -= sizeof(number);
	}
}

static void parse_endif(struct parser *p, struct slice rest, struct rule *rule)
{
	char shown[64];

	rule->op = OP_ENDIF;
	lines_take_word(&rest);
	if (depth(p) == 0)
		complain(&p->complaints, rule->line, "endif without an if");
	else
		push_rule(p, rule);
	if (rest.len)
		complain(&p->complaints, rule->line, "\"%s\" behind endif",
			 escape_cstr(rest, shown, sizeof(shown)));
}

static void parse_line(struct parser *p, struct slice line, uint32_t number)
{
	struct rule rule = { .line = number, .is_nested = depth(p) > 0 };
	struct error error = { 0 };

	if (slice_find(line, '\0') != line.len) {
		complain(&p->complaints, number, "a NUL byte");
		return;
	}
	if (take_keyword(&line, SLICE("endif"))) {
		parse_endif(p, line, &rule);
		return;
	}
	if (take_keyword(&line, SLICE("if")))
		rule.op = OP_IF;
	if (parse_rule(p, line, &rule, &error) < 0)
		complain(&p->complaints, number, "%s", error.text);
	if (error.code == 0 || rule.op == OP_IF) /* so that its endif has one */
		push_rule(p, &rule);
}

static void finish(struct parser *p)
{
	struct rules *rules = p->rules;

	for (; depth(p) > 0; p->stack.end -= sizeof(uint32_t))
		complain(&p->complaints, rule_at(p, innermost(p))->line, "if without an endif");
	rules->count = (uint32_t)(buf_len(&p->list) / sizeof(struct rule));
	rules->list = (void *)buf_steal_string(&p->list);
	rules->results = memory_new((rules->count + 1) * sizeof(uint32_t));
	for (uint32_t i = 0; i < rules->count; i++)
		if (rules->list[i].op == OP_RESULT)
			rules->results[rules->result_count++] = i;
	buf_done(&p->stack);
}

int rules_parse(enum rules_syntax syntax, struct slice text, const char *name, map_report *report,
		void *arg, struct rules **ret_rules, struct error *err)
{
	CLEANUP(rules_unrefp) struct rules *rules = memory_zeroed(sizeof(*rules));
	struct parser p = {
		.rules = rules,
		.complaints = { .name = name, .report = report, .arg = arg, .err = err },
	};
	struct buf line = { 0 };
	struct lines lines;
	uint32_t number = 0;
	int r;

	atomic_init(&rules->refs, 1);
	rules->syntax = syntax;
	lines_init(&lines, text);
	while ((r = lines_next(&lines, &line, &number)) != 0) {
		if (r < 0)
			complain(&p.complaints, number,
				 "a line that starts with white space continues the one before, "
				 "but there is none");
		else
			parse_line(&p, buf_slice(&line), number);
	}
	buf_done(&line);
	finish(&p);
	if (p.complaints.outcome < 0)
		return p.complaints.outcome;
	*ret_rules = rules;
	rules = NULL;
	return 0;
}

struct rules *rules_ref(struct rules *rules)
{
	atomic_fetch_add_explicit(&rules->refs, 1, memory_order_relaxed);
	return rules;
}

void rules_unref(struct rules *rules)
{
	if (!rules || atomic_fetch_sub_explicit(&rules->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (uint32_t i = 0; i < rules->count; i++) {
		if (rules->list[i].regex)
			regfree(rules->list[i].regex);
		free(rules->list[i].regex);
	}
	free(rules->list);
	free(rules->results);
	arena_done(&rules->arena);
	free(rules);
}

/* ---- asking ---- */

struct subject {
	const char *key;
	struct cidr address;
	regmatch_t groups[REGEXP_GROUPS_MAX + 1];
};

/* Whether the rule applies: MAP_FOUND, MAP_NOT_FOUND, or an error. */
static int applies(const struct rule *rule, struct subject *subject, struct error *err)
{
	int r;

	if (rule->regex)
		r = regexp_match(rule->regex, subject->key,
				 rule->group_count ? subject->groups : NULL, rule->group_count,
				 err);
	else if (rule->network.family != subject->address.family)
		return MAP_NOT_FOUND; /* "not in this network" is said of its family only */
	else
		r = cidr_contains(&rule->network, &subject->address) ? MAP_FOUND : MAP_NOT_FOUND;
	if (r < 0 || !rule->is_negated)
		return r;
	return r == MAP_FOUND ? MAP_NOT_FOUND : MAP_FOUND;
}

/* The first rule with a result that applies, or an error. */
static int find_rule(const struct rules *rules, struct subject *subject, const struct rule **ret,
		     struct error *err)
{
	for (uint32_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->list[i];
		int r = rule->op == OP_ENDIF ? MAP_NOT_FOUND : applies(rule, subject, err);

		if (r < 0)
			return r;
		if (r == MAP_FOUND && rule->op == OP_RESULT) {
			*ret = rule;
			return MAP_FOUND;
		}
		if (r == MAP_NOT_FOUND && rule->op == OP_IF)
			i = rule->end;
	}
	return MAP_NOT_FOUND;
}

static int expand(const struct rule *rule, const struct subject *subject, struct arena *arena,
		  const char **ret_result, struct error *err)
{
	struct buf out = { 0 };

	if (rule->group_count == 0) {
		*ret_result = arena_strdup(arena, rule->result);
		return MAP_FOUND;
	}
	regexp_result_expand(slice_from(rule->result), subject->key, subject->groups, &out);
	*ret_result = arena_slicedup(arena, buf_slice(&out));
	if (out.mem)
		explicit_bzero(out.mem, out.size); /* it may be a password */
	buf_done(&out);
	if ((*ret_result)[0] == '\0')
		return error_set(err, -EINVAL, "the result \"%s\" comes out empty", rule->result);
	return MAP_FOUND;
}

int rules_lookup(const struct rules *rules, struct slice key, struct arena *arena,
		 const char **ret_result, uint32_t *ret_line, struct error *err)
{
	char text[RULES_KEY_MAX + 1];
	struct subject subject = { .key = text };
	const struct rule *rule = NULL;
	int r;

	/* "Not found" would be wrong where a pattern says what must not match. */
	if (!slice_copy(key, text, sizeof(text)))
		return error_set(err, -EINVAL, "a key that is longer than %d bytes, or holds a NUL",
				 RULES_KEY_MAX);
	if (rules->syntax == RULES_CIDR && !cidr_parse_address(text, &subject.address))
		return MAP_NOT_FOUND;
	r = find_rule(rules, &subject, &rule, err);
	if (r != MAP_FOUND)
		return r;
	*ret_line = rule->line;
	return ret_result ? expand(rule, &subject, arena, ret_result, err) : MAP_FOUND;
}

size_t rules_count(const struct rules *rules)
{
	return rules->result_count;
}

void rules_at(const struct rules *rules, size_t index, struct rules_entry *ret)
{
	const struct rule *rule = &rules->list[rules->results[index]];

	*ret = (struct rules_entry){
		.pattern = rule->pattern,
		.result = rule->result,
		.line = rule->line,
		.has_substitutions = rule->group_count > 0,
	};
}

/* Lines within an "if" are tried for some keys only, so they hide nothing. */
void rules_find_hidden(const struct rules *rules, rules_hidden *report, void *arg)
{
	struct strmap seen = { 0 };

	for (uint32_t i = 0; i < rules->result_count; i++) {
		struct rule *rule = &rules->list[rules->results[i]];
		const struct rule *first = strmap_get(&seen, slice_from(rule->pattern));

		if (first)
			report(arg, rule->pattern, rule->line, first->line);
		else if (!rule->is_nested)
			strmap_put(&seen, slice_from(rule->pattern), rule);
	}
	strmap_done(&seen);
}
