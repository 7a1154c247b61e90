a.vm	virtual:
b.vm	lmtp:unix:/run/dovecot/lmtp tls=none
c.vm	lmtp:/run/dovecot/lmtp
d.vm	relay:unix:/run/dovecot/lmtp
e.vm	lmtp:unix:/run/a, [127.0.0.1]
f.vm	lmtp:[127.0.0.1]:25
