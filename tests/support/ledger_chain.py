"""The ledger's chain of hashes (queue/chain.h), followed by other code than ours, from the rows alone."""

import hashlib

# In the order of queue/ledger_columns.h, which is part of the format.
COLUMNS = """row time_ms message kind status sender recipient transport next_hop peer source reply
by_peer has_tls_policy level mode protocol cipher in_clear verified verified_by resumed peer_name
fingerprint pubkey_fingerprint arrived_ms size client_ip hello origin_protocol auth_user
origin_tls_protocol origin_tls_cipher cert_name cert_fingerprint cert_verified""".split()


def encoded(number, value):
    if isinstance(value, int):
        return bytes([number]) + value.to_bytes(8, "big", signed=True)
    text = value.encode()
    return bytes([number]) + len(text).to_bytes(4, "big") + text


def fault(connection):
    """Why the chain does not hold, or None. For ledgers that were never salvaged."""
    row, previous, end, last = connection.execute(
        "select anchor_row, anchor_hash, ledger_row, ledger_hash from q_state").fetchone()
    for *values, found in connection.execute(
            f"select {', '.join(COLUMNS)}, hash from q_ledger where row > ? order by row", (row,)):
        if values[0] != row + 1:
            return f"row {row + 1} is missing"
        row += 1
        pieces = (encoded(n, value) for n, value in enumerate(values) if value not in (0, ""))
        previous = hashlib.sha256(previous + b"".join(pieces)).digest()
        if found != previous:
            return f"row {row} has another hash"
    if (row, previous) != (end, last):
        return f"the last row is {row}, and should be {end}, or another one"
    return None
