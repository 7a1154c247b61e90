/* The password is compared before the identity, so that a wrong one tells no more. */
#include "edge/internal.h"

void edge_authenticate(void *arg, const char *authorization_id, const char *user,
		       const char *password, char ret_login[256], struct smtp_status *ret)
{
	struct edge *edge = arg;
	bool as_self = !authorization_id || !authorization_id[0] ||
		       slice_equal_nocase(slice_from(authorization_id), slice_from(user));

	if (!edge->passwd)
		smtp_status_set(ret, 454, ESC(4, 7, 0), "Temporary authentication failure");
	else if (passwd_check(edge->passwd, user, password, ret_login) == PASSWD_MATCH && as_self)
		smtp_status_set(ret, 235, ESC(2, 7, 0), "Authentication successful");
	else
		smtp_status_set(ret, 535, ESC(5, 7, 8), "Error: authentication failed");
}
