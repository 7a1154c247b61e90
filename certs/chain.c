#include "certs/chain.h"

#include "certs/pem.h"

void certs_each(struct slice pem,
		void (*visit)(void *arg, const struct certs_certificate *certificate), void *arg)
{
	struct certs_certificate certificate;
	struct pem_block block;
	struct buf der = { 0 };

	while (pem_next(&pem, &block)) {
		buf_clear(&der);
		if (pem_decode(&block, &der) &&
		    certs_certificate_parse(buf_slice(&der), &certificate, NULL) == 0)
			visit(arg, &certificate);
	}
	buf_done(&der);
}
