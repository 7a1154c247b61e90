/*
 * Certificates are remembered with their dates when they are read, so that
 * whoever wants to know which of them end soon need not read files again.
 */
#include "config/state.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/macros.h"
#include "certs/chain.h"

#define KEPT_MAX  20 /* of one file: a bundle of all the CAs of the world has 140 */
#define DAY_S	  86400
#define DAY_CHARS 10 /* of "2026-11-21T..." */

/* ---- remembering ---- */

struct found {
	struct config_tls *tls;
	enum config_parameter_id id;
	const char *file;
	bool is_ca;
};

static void add(void *arg, const struct certs_certificate *certificate)
{
	const struct found *found = arg;
	struct config_certificate c = {
		.id = found->id,
		.file = found->file,
		.is_ca = found->is_ca,
		.not_before_s = certificate->not_before_s,
		.not_after_s = certificate->not_after_s,
	};
	struct certs_info info;

	certs_certificate_info(certificate, &info);
	c.subject = arena_strdup(&found->tls->arena, info.subject);
	buf_append(&found->tls->certificates, &c, sizeof(c));
}

static int compare_ends(const void *a, const void *b)
{
	const struct config_certificate *left = a, *right = b;

	if (left->not_after_s == right->not_after_s)
		return 0;
	return left->not_after_s < right->not_after_s ? -1 : 1;
}

/* first: the place of the first one of the file. */
static void keep_soonest(struct buf *certificates, size_t first)
{
	struct config_certificate *list = (void *)(certificates->mem + certificates->start);
	size_t count = buf_len(certificates) / sizeof(*list) - first;

	if (count <= KEPT_MAX)
		return;
	qsort(list + first, count, sizeof(*list), compare_ends);
	certificates->end -= (count - KEPT_MAX) * sizeof(*list);
}

/* ---- telling ---- */

const struct config_certificate *config_certificates(const struct config *config, size_t *ret_count)
{
	struct slice all = config->tls ? buf_slice(&config->tls->certificates) : slice_of("", 0);

	*ret_count = all.len / sizeof(struct config_certificate);
	return (const void *)all.ptr;
}

int64_t config_certificate_days_left(const struct config_certificate *certificate, int64_t now_s)
{
	const struct certs_info info = { .not_after_s = certificate->not_after_s };

	return certs_info_days_left(&info, now_s);
}

static const char *days(int64_t count, char *out, size_t size)
{
	snprintf(out, size, "%lld day%s", (long long)count, count == 1 ? "" : "s");
	return out;
}

/* False: there is nothing to say. */
static bool describe(const struct config_certificate *c, int64_t now_s, char *out, size_t size)
{
	int64_t left = config_certificate_days_left(c, now_s);
	const char *what = c->is_ca ? "CA" : "certificate";
	bool is_early = now_s < c->not_before_s;
	char date[TIME_RFC3339_SIZE], count[32];

	time_rfc3339((is_early ? c->not_before_s : c->not_after_s) * 1000, date);
	date[DAY_CHARS] = '\0';
	if (is_early)
		snprintf(out, size, "the %s (%s) is not valid before %s", what, c->subject, date);
	else if (now_s > c->not_after_s)
		snprintf(out, size, "the %s (%s) has expired on %s, %s ago", what, c->subject, date,
			 days((now_s - c->not_after_s) / DAY_S, count, sizeof(count)));
	else if (left < CONFIG_EXPIRES_SOON_DAYS)
		snprintf(out, size, "the %s (%s) expires on %s, in %s%s", what, c->subject, date,
			 days(left, count, sizeof(count)),
			 left < CONFIG_EXPIRES_NOW_DAYS ? ": renew it now" : "");
	else
		return false;
	return true;
}

void config_report_expiry(const struct config *config, int64_t now_s,
			  void (*report)(void *arg, const struct config_problem *problem),
			  void *arg)
{
	size_t count;
	const struct config_certificate *list = config_certificates(config, &count);

	for (size_t i = 0; i < count; i++) {
		const struct config_setting *setting = &config->settings[list[i].id];
		bool is_urgent =
			config_certificate_days_left(&list[i], now_s) < CONFIG_EXPIRES_NOW_DAYS;
		char what[512], text[1024], escaped[1024];
		const struct config_problem problem = {
			.file = config->file,
			.line = setting->line ? setting->line : 1,
			.severity = is_urgent ? CONFIG_ERROR : CONFIG_WARNING,
			.text = escaped,
		};

		if (!describe(&list[i], now_s, what, sizeof(what)))
			continue;
		snprintf(text, sizeof(text), "%s: %s: %s", config_schema[list[i].id].name,
			 list[i].file, what);
		escape_cstr(slice_from(text), escaped, sizeof(escaped));
		report(arg, &problem);
	}
}

/*
 * A warning also where it has expired: to start nothing would stop mail that a
 * peer who does not verify still takes.
 */
void config_add_certificates(struct config *c, enum config_parameter_id id, const char *file,
			     bool is_ca, struct slice pem)
{
	struct buf *all = &c->tls->certificates;
	size_t first = buf_len(all) / sizeof(struct config_certificate), count;
	struct found found = {
		.tls = c->tls,
		.id = id,
		.file = arena_strdup(&c->tls->arena, file),
		.is_ca = is_ca,
	};
	const struct config_certificate *list;
	char what[512];

	certs_each(pem, add, &found);
	keep_soonest(all, first);
	list = config_certificates(c, &count);
	for (size_t i = first; i < count; i++)
		if (describe(&list[i], time(NULL), what, sizeof(what)))
			config_report_setting(c, id, CONFIG_WARNING, "%s: %s", list[i].file, what);
}
