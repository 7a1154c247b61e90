#include "mta/backoff.h"

#include "base/macros.h"

#define GROUP 64 /* messages with one random number */

int64_t backoff_ms(unsigned int failures, int64_t minimal_s, int64_t maximal_s, uint32_t random)
{
	int64_t base_ms = MAX(minimal_s, 1) * 1000;
	int64_t limit_ms = MAX(maximal_s, 1) * 1000;

	for (unsigned int i = 1; i < failures && base_ms < limit_ms; i++)
		base_ms *= 2;
	base_ms = MIN(base_ms, limit_ms);

	return base_ms - base_ms / 10 + (int64_t)(random % (uint64_t)(base_ms / 5 + 1));
}

uint32_t backoff_random(int64_t message_id)
{
	uint64_t x = (uint64_t)message_id / GROUP;

	/* Bits of an odd product are mixed well at the top only. */
	x *= UINT64_C(0x9e3779b97f4a7c15);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return (uint32_t)(x >> 32);
}
