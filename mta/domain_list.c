/*
 * What stands in the list itself has A-labels (config/); only in maps there may
 * be the other spelling.
 */
#include "mta/domain_list.h"

#include "smtp/domain.h"

int domain_list_has(struct domains *list, struct slice domain, struct error *err)
{
	struct arena arena = { 0 };
	const char *ascii = smtp_domain_ascii(&arena, domain), *other;
	int r = domains_match(list, ascii ? slice_from(ascii) : domain, err);

	other = r == MAP_NOT_FOUND && ascii ? smtp_domain_respell(&arena, slice_from(ascii)) : NULL;
	if (other)
		r = domains_match(list, slice_from(other), err);
	arena_done(&arena);
	return r;
}
