/*
 * domain - one domain in two spellings: "bücher.example", as people write it
 * (U-labels), and "xn--bcher-kva.example", as DNS and certificates have it
 * (A-labels; IDNA2008, with the mapping of UTS 46, non-transitional)
 *
 * Inside, a domain that was folded (smtp_address_fold()) has A-labels, so it is
 * one domain however it came. What operators write in their maps may be in
 * either spelling: who looks up a key asks for its other one, too. (libidn2
 * stays in here.)
 */
#pragma once

#include "base/arena.h"
#include "base/slice.h"

/* Lower case, with A-labels. NULL: it has letters beyond ASCII, and cannot be a domain. */
char *smtp_domain_ascii(struct arena *arena, struct slice domain);

/*
 * A folded key in its other spelling: "bob@domain", "@domain", "domain" or
 * ".domain". NULL: it has but one.
 */
char *smtp_domain_respell(struct arena *arena, struct slice key);
