/* fuzz - what each target defines, for libFuzzer or for standalone.c */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Returns 0. Aborts where a property of the code under test does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assertion about the code under test, as loud as a memory error. */
#define MUST(fact)                                                                                 \
	do {                                                                                       \
		if (!(fact)) {                                                                     \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #fact);  \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
