/*
 * full_name - a person's name as the display name of an address
 */
#pragma once

#include "base/buf.h"

/*
 * Appends a phrase (RFC 5322 section 3.2.5): words as they are, a quoted string
 * where they need it, encoded words (RFC 2047) where it is not ASCII. Control
 * characters and broken UTF-8 become '?', and of a very long name the front is enough.
 */
void full_name_append(struct buf *out, struct slice name);
