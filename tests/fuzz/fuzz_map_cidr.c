/* fuzz_map_cidr - a cidr: map of any bytes, asked for any key */
#include "tests/fuzz/fuzz_map_rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_rules(RULES_CIDR, data, size);
	return 0;
}
