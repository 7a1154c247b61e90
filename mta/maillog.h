/*
 * maillog - one function for each event, one line for each, in the forms of
 * Postfix's maillog, which operators and their tools (pflogsumm, fail2ban) read
 *
 * Text from outside is escaped here; secrets have no parameter to come in by.
 */
#pragma once

#include "base/log.h"
#include "mta/report.h"
#include "tls/policy.h"
#include "tls/session.h"

/* smtpd: "connect from unknown[192.0.2.1]" */
void maillog_connect(struct log *log, const struct net_address *client);
/* "disconnect from unknown[192.0.2.1] ehlo=1 mail=1 ... commands=5" */
void maillog_disconnect(struct log *log, const struct net_address *client, const char *summary);
/* "lost connection after DATA from unknown[...]", "timeout after ..." */
void maillog_lost(struct log *log, const struct net_address *client, const char *what,
		  const char *stage);
/*
 * "warning: Connection concurrency limit exceeded: 50 from unknown[...] for
 * service smtp", and ", sasl_username=alice@vm1.vm" where it is a limit of a user (else NULL)
 */
void maillog_over_limit(struct log *log, const struct net_address *client, const char *user,
			const char *what, unsigned int count, const char *service);
/* "Anonymous TLS connection established from unknown[...]: TLSv1.3 with cipher X (256/256 bits)" */
/* "... from unknown[...] to NAME: ..." where the client has asked for a host by name; or "" */
void maillog_tls_in(struct log *log, const struct net_address *client, const struct tls_facts *tls,
		    const char *server_name);
/*
 * "unknown[...]: Trusted: subject_CN=edge.example, issuer=CA, fingerprint=sha256:...,
 * pkey_fingerprint=pubkey-sha256:..., relay=yes (certs:2)"; relay=no (REASON)
 */
struct maillog_certificate {
	const struct tls_facts *tls;
	const char *name, *issuer; /* escaped */
	bool may_relay;
	const char *why; /* escaped; NULL: certificates give no rights here */
};

void maillog_certificate(struct log *log, const struct net_address *client,
			 const struct maillog_certificate *certificate);
/*
 * "unknown[...]: relay=no (no client certificate was shown; relay_clientcerts
 * would have to list it)"; or "(no TLS, hence no client certificate; …)"
 */
void maillog_no_certificate(struct log *log, const struct net_address *client, bool has_tls);
/* "unknown[...]: ETRN vm1.vm: 3 messages wait" */
void maillog_etrn(struct log *log, const struct net_address *client, const char *domain,
		  unsigned int messages);
/* "SSL_accept error from unknown[...]: REASON" */
void maillog_tls_failed(struct log *log, const struct net_address *client, const char *reason);
/* "ID: client=unknown[192.0.2.1], sasl_method=PLAIN, sasl_username=alice@vm1.vm" */
void maillog_client(struct log *log, const char *id, const struct net_address *client,
		    const char *sasl_method, const char *user);
/* "NOQUEUE: reject: RCPT from unknown[...]: 554 5.7.1 ...; from=<> to=<> proto=ESMTP helo=<x>" */
void maillog_reject(struct log *log, const char *id, const char *verb,
		    const struct mta_client *client, const struct smtp_status *status,
		    const char *sender, const char *recipient, const char *protocol);
/* "warning: unknown[...]: SASL PLAIN authentication failed: REASON, sasl_username=X" */
void maillog_auth_failed(struct log *log, const struct net_address *client, const char *mechanism,
			 const char *user, const struct smtp_status *status);

/* pickup: "ID: uid=1000 from=<root@vm1.vm>" */
void maillog_pickup(struct log *log, const struct queue_message *m, uid_t uid);

/* "unknown[...]: SASL PLAIN login waits 8s after failures, sasl_username=X" */
void maillog_auth_waits(struct log *log, const struct net_address *client, const char *mechanism,
			const char *user, int64_t wait_ms);

/* qmgr: "ID: from=<a@b>, size=1234, nrcpt=1 (queue active)" */
void maillog_active(struct log *log, const struct queue_message *m);
/* "ID: removed" */
void maillog_removed(struct log *log, const char *id);

/* One attempt for one recipient; times are Unix milliseconds. */
struct maillog_delivery {
	const char *program; /* "smtp", "lmtp", "virtual", "error", "discard" */
	const char *id;
	const struct queue_recipient *recipient;
	const char *relay;  /* "host[192.0.2.1]:25", "virtual", "none" */
	int64_t arrived_ms; /* delays=a/b/c/d: before the queue manager, in it, */
	int64_t active_ms;  /*   connection set-up, transmission (as in Postfix) */
	int64_t connect_ms, send_ms, done_ms; /* 0: never got so far */
	const struct tls_policy *policy;      /* NULL: local, no tls= */
	const struct tls_facts *tls;	      /* NULL: in the clear */
	bool connected;			      /* false: tls= shows the level alone */
	bool by_peer;			      /* the status is in the peer's words, with its code */
	const struct smtp_status *status;
	bool bounced;	  /* failed for good: status=bounced */
	bool is_question; /* nothing was to be delivered: status=deliverable, or undeliverable */
};

/*
 * "ID: to=<b@vm2.vm>, relay=hub[192.0.2.1]:587, delay=0.3, delays=0.1/0/0.1/0.1,
 * tls=encrypt:TLSv1.3:verified, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as X)"
 *
 * tls= is the level, then what happened: PROTOCOL and verified, trusted or
 * untrusted; or "clear"; or nothing when no connection came about.
 */
void maillog_delivery(struct log *log, const struct maillog_delivery *d);

/* smtp: "warning: next hop [127.0.0.1]:25 of ts:2 is this server itself: mail waits" */
void maillog_loop(struct log *log, const char *source, const char *next_hop);

/* smtp: why an address was of no use, when the next is tried; the last is told with the delivery. */
void maillog_next_address(struct log *log, const char *program, const char *relay,
			  const struct smtp_status *why, bool by_peer);

/* smtp or lmtp: "Verified TLS connection established to hub[192.0.2.1]:587: TLSv1.3 with cipher ..." */
void maillog_tls_out(struct log *log, const char *program, const char *relay,
		     const struct tls_facts *tls);
/* Of a handshake that failed: "no TLS session with RELAY, which showed a certificate of NAME, ..." */
void maillog_tls_stranger(struct log *log, const char *program, const char *relay,
			  const struct tls_facts *tls);
/* "warning: TLS handshake with RELAY failed (REASON); level may: sending in the clear" */
void maillog_tls_fallback(struct log *log, const char *program, const char *relay,
			  const char *reason);
/* "logged in to RELAY by SCRAM-SHA-256, sasl_username=alice" */
void maillog_login(struct log *log, const char *relay, const char *user, const char *mechanism);
/* "warning: RELAY: SASL authentication failed; server RELAY said: 535 ..., sasl_username=alice" */
void maillog_login_failed(struct log *log, const char *relay, const char *user, const char *why);
/*
 * bounce: "ID: sender non-delivery notification: OTHER"; "sender delay
 * notification", "sender delivery status notification", "postmaster
 * non-delivery notification"
 */
void maillog_report(struct log *log, const char *id, enum report_kind kind, const char *report_id);

/*
 * A recipient has failed and nobody is told: "ID: to=<b@vm2.vm>: no sender
 * non-delivery notification: NOTIFY=NEVER", or a warning that a message is gone
 * that has no sender.
 */
void maillog_no_report(struct log *log, const struct queue_message *m,
		       const struct queue_recipient *recipient);
