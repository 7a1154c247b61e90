/* ledger_text - see ledger_text.h */
#include "cli/ledger_text.h"

#include <jansson.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"

json_t *ledger_text_tls_value(const struct queue_ledger_row *row)
{
	json_t *tls;

	if (!row->has_tls_policy)
		return json_null();
	tls = json_object();
	json_object_set_new(tls, "level", cli_json_text(row->level));
	json_object_set_new(tls, "mode", cli_json_text(row->mode));
	json_object_set_new(tls, "protocol", cli_json_text(row->protocol));
	json_object_set_new(tls, "cipher", cli_json_text(row->cipher));
	json_object_set_new(tls, "verified", json_boolean(row->verified));
	json_object_set_new(tls, "peer_name", cli_json_text(row->peer_name));
	json_object_set_new(tls, "fingerprint", cli_json_text(row->fingerprint));
	json_object_set_new(tls, "resumed", json_boolean(row->resumed));
	return tls;
}

static void append_stranger(struct buf *out, const struct queue_ledger_row *row)
{
	if (row->fingerprint[0] == '\0')
		return;
	buf_append_string(out, "; not verified, the peer showed a certificate");
	if (row->peer_name[0] != '\0') {
		buf_append_string(out, " of ");
		cli_format_text(out, row->peer_name);
	}
	buf_append_string(out, ", ");
	cli_format_text(out, row->fingerprint);
}

void ledger_text_tls(struct buf *out, const struct queue_ledger_row *row)
{
	if (row->protocol[0] == '\0') {
		buf_append_string(out, row->in_clear || strcmp(row->mode, "none") == 0
					       ? "none"
					       : "no session");
		append_stranger(out, row);
		return;
	}
	cli_format_text(out, row->protocol);
	buf_append_string(out, " with ");
	cli_format_text(out, row->cipher);
	buf_append_string(out, ", ");
	if (row->peer_name[0] != '\0') {
		cli_format_text(out, row->peer_name);
		buf_append_string(out, " ");
	}
	buf_append_string(out, row->verified ? "verified" : "not verified");
	if (row->verified_by[0] != '\0') {
		buf_append_string(out, " by ");
		cli_format_text(out, row->verified_by);
	}
	if (row->resumed)
		buf_append_string(out, ", resumed");
}
