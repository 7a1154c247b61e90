/* parse - numbers and units as operators write them; nothing but the whole text is accepted */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

bool parse_uint(struct slice s, uint64_t max, uint64_t *ret); /* decimal digits only */
bool parse_duration_s(struct slice s, int64_t *ret_seconds);  /* "30s" "5m" "4h" "5d" "1w" "90" */
bool parse_size(struct slice s, uint64_t *ret_bytes);	      /* "52428800" "50M" "1G" "64k" */
bool parse_bool(struct slice s, bool *ret);		      /* "yes" "no" */
