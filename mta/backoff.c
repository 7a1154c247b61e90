#include "mta/backoff.h"

#include "base/macros.h"

int64_t backoff_ms(unsigned int failures, int64_t minimal_s, int64_t maximal_s, uint32_t random)
{
	int64_t base_ms = MAX(minimal_s, 1) * 1000;
	int64_t limit_ms = MAX(maximal_s, 1) * 1000;

	for (unsigned int i = 1; i < failures && base_ms < limit_ms; i++)
		base_ms *= 2;
	base_ms = MIN(base_ms, limit_ms);

	return base_ms - base_ms / 10 + (int64_t)(random % (uint64_t)(base_ms / 5 + 1));
}
