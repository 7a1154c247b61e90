/* chain - certificates one behind the other, as files and servers have them */
#pragma once

#include "certs/certificate.h"

/* visit() gets each certificate of a PEM text in order; damaged ones are left out. */
void certs_each(struct slice pem,
		void (*visit)(void *arg, const struct certs_certificate *certificate), void *arg);
