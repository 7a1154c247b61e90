#include "cli/expiry.h"

#define DAY_MS (24LL * 60 * 60 * 1000)

void expiry_init(struct expiry *e, const struct clock *clock)
{
	e->clock = clock;
	e->told_ms = clock_mono_ms(clock);
}

void expiry_look(struct expiry *e, const struct config *config,
		 void (*report)(void *arg, const struct config_problem *problem), void *arg)
{
	int64_t now_ms = clock_mono_ms(e->clock);

	if (now_ms - e->told_ms < DAY_MS)
		return;
	e->told_ms = now_ms;
	config_report_expiry(config, clock_wall_ms(e->clock) / 1000, report, arg);
}
