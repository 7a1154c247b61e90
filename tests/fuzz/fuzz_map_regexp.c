/*
 * fuzz_map_regexp - a regexp: map of any bytes, asked for any key
 *
 * The patterns are compiled by the C library, which lets an operator write what
 * takes long, or all memory: counted repetitions, '+' after '+' (each makes a
 * copy), and back-references. Those are left out.
 */
#include "tests/fuzz/fuzz_map_rules.h"

#define SIZE_MAX_FUZZED 2000
#define PLUSES_MAX	4

static bool takes_long(const uint8_t *data, size_t size)
{
	unsigned int pluses = 0;

	for (size_t i = 0; i + 1 < size; i++) {
		pluses += data[i] == '+';
		if (data[i + 1] >= '0' && data[i + 1] <= '9' &&
		    (data[i] == '\\' || data[i] == '{' || data[i] == ','))
			return true;
	}
	return pluses > PLUSES_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size <= SIZE_MAX_FUZZED && !takes_long(data, size))
		fuzz_rules(RULES_REGEXP, data, size);
	return 0;
}
