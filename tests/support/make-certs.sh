#!/bin/sh
#
# make-certs.sh DIRECTORY - a throwaway CA and certificates, good and bad, for tests
#
# Each NAME gives NAME.pem and NAME.key; all leaves are for hub.example and
# 127.0.0.1 and ::1 unless said otherwise below.
#
#	ca		our CA; CN is ca.example, so that it would pass for a host
#	other-ca	a CA that nobody trusts
#	hub		good, P-256
#	hub-rsa		good, RSA 2048
#	ed25519		good, by a kind of key that we don't take
#	edge		good, for edge.example
#	wild		good, for *.example
#	odd		good, for odd.example; its common name is not fit for a header
#	cn-only		no alternative names, only the common name
#	no-names	an address only
#	nul		names "hub.example\0.attacker.example"
#	client-only	may not be used by servers
#	person		a client's: the e-mail addresses nobody@vm1.vm, alice@vm1.vm and
#			test1@vm1.vm, and the names printer.vm1.vm and carol@vm1.vm
#	old-person	the same with alice@vm1.vm alone; has expired
#	server-only	may not be used by clients
#	expired, future	not in their time
#	wrong		for other.example and 192.0.2.9
#	self-signed	by itself
#	stranger	by other-ca
#	sub-ca, sub	an intermediate CA, and a leaf of it; sub-chain.pem: leaf, then CA
#	old-sub-ca, old-sub	the same, the intermediate has expired; old-sub-chain.pem
#	old-ca, of-old-ca	a root that has expired, and a leaf of it
#	leaf-as-ca	by hub, which is no CA; leaf-as-ca-chain.pem
#	evil-ca, evil	subject and key id of ca but another key, and a leaf of it
#	evil-sub-ca, evil-sub	a CA of evil-ca's with the name of ca, and a leaf of it;
#			evil-sub-chain.pem
#	hub-sec1.key, hub-rsa-pkcs1.key, hub-locked.key, hub-rsa-locked.key: other forms
#	other-rsa.key	belongs to no certificate
set -eu

cd "$1"
exec 3>&2 2>make-certs.log
trap 'test $? -eq 0 || cat make-certs.log >&3' EXIT

cat >ca.cnf <<EOF
[ca]
default_ca = this
[this]
database = index.txt
unique_subject = no
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
[any]
O = optional
CN = optional
[req]
distinguished_name = dn
prompt = no
[dn]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = 0102030405060708090A0B0C0D0E0F1011121314
[ca_cert]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = \$ENV::names
[cn_leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
[server_leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = \$ENV::names
[client_leaf]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
extendedKeyUsage = clientAuth
subjectAltName = \$ENV::names
EOF
: >index.txt

good=DNS:hub.example,IP:127.0.0.1,IP:::1
names=$good
export names

new_key() {
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"
}

# issue NAME SUBJECT EXTENSIONS ISSUER FROM TO: "" as issuer is the key itself
issue() {
	test -f "$1.key" || new_key "$1"
	openssl req -new -config ca.cnf -subj "$2" -key "$1.key" -out "$1.csr"
	if test -n "$4"; then
		set -- "$1" "$3" "$5" "$6" -cert "$4.pem" -keyfile "$4.key"
	else
		set -- "$1" "$3" "$5" "$6" -selfsign -keyfile "$1.key"
	fi
	name=$1 extensions=$2 from=$3 to=$4
	shift 4
	openssl ca -batch -notext -preserveDN -config ca.cnf -extensions "$extensions" \
		-startdate "$from" -enddate "$to" "$@" -in "$name.csr" -out "$name.pem"
	rm -f "$name.csr"
}

past=20200101000000Z
lately=20240101000000Z
later=20490101000000Z
far=20510101000000Z # behind 2049 the other form of times is used

issue ca /O=Posthouse/CN=ca.example root "" $past $far
issue evil-ca /O=Posthouse/CN=ca.example root "" $past $far
issue other-ca "/CN=Other CA" ca_cert "" $past $far
issue old-ca "/CN=Old CA" ca_cert "" $past $lately
issue sub-ca "/CN=Sub CA" ca_cert ca $past $later
issue old-sub-ca "/CN=Old Sub CA" ca_cert ca $past $lately

issue hub /CN=hub.example leaf ca $past $later
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out hub-rsa.key
issue hub-rsa /CN=hub.example leaf ca $past $later
openssl genpkey -algorithm ED25519 -out ed25519.key
issue ed25519 /CN=hub.example leaf ca $past $later
issue client-only /CN=hub.example client_leaf ca $past $later
issue server-only /CN=hub.example server_leaf ca $past $later
issue expired /CN=hub.example leaf ca $past $lately
issue future /CN=hub.example leaf ca $later $far
issue self-signed /CN=hub.example leaf "" $past $later
issue stranger /CN=hub.example leaf other-ca $past $later
issue sub /CN=hub.example leaf sub-ca $past $later
issue old-sub /CN=hub.example leaf old-sub-ca $past $later
issue of-old-ca /CN=hub.example leaf old-ca $past $later
issue leaf-as-ca /CN=leaf leaf hub $past $later
issue evil /CN=hub.example leaf evil-ca $past $later
issue evil-sub-ca /O=Posthouse/CN=ca.example ca_cert evil-ca $past $later
issue evil-sub /CN=hub.example leaf evil-sub-ca $past $later
issue cn-only /CN=hub.example cn_leaf ca $past $later
names=DNS:edge.example issue edge /CN=edge.example leaf ca $past $later
names=email:nobody@vm1.vm,email:alice@vm1.vm,email:test1@vm1.vm,DNS:printer.vm1.vm,DNS:carol@vm1.vm \
	issue person /CN=Alice client_leaf ca $past $later
names=email:alice@vm1.vm issue old-person /CN=Alice client_leaf ca $past $lately
names=DNS:odd.example issue odd "/CN=$(printf 'Gr\303\274n "(x)"')" leaf ca $past $later
names=DNS:*.example issue wild /CN=wild leaf ca $past $later
names=IP:127.0.0.1 issue no-names /CN=hub.example leaf ca $past $later
names=DNS:other.example,IP:192.0.2.9 issue wrong /CN=hub.example leaf ca $past $later
# a dNSName of 29 bytes
nul=$(printf 'hub.example\0.attacker.example' | od -An -v -tx1 | tr -d ' \n')
names="DER:301f821d$nul" issue nul /CN=attacker leaf ca $past $later

cat sub.pem sub-ca.pem >sub-chain.pem
cat old-sub.pem old-sub-ca.pem >old-sub-chain.pem
cat evil-sub.pem evil-sub-ca.pem >evil-sub-chain.pem
cat leaf-as-ca.pem hub.pem >leaf-as-ca-chain.pem
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other-rsa.key
openssl ec -in hub.key -out hub-sec1.key
openssl rsa -in hub-rsa.key -traditional -out hub-rsa-pkcs1.key
openssl pkey -in hub.key -aes256 -passout pass:secret -out hub-locked.key
openssl rsa -in hub-rsa.key -traditional -aes256 -passout pass:secret -out hub-rsa-locked.key
rm -f ca.cnf index.txt* [0-9A-F]*.pem make-certs.log
