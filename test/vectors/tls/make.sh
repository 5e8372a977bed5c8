#!/bin/sh
# Makes the certificates and keys of the TLS tests, good for a hundred years. They are for tests, and secret from nobody.
set -eu
cd "$(dirname "$0")"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1-key.pem"; }
issue() { # name, issuer, common name, subject alternative names, usage
  key "$1"
  openssl req -new -key "$1-key.pem" -subj "/O=iser-nbd tests/CN=$3" -out "$1.csr"
  printf 'subjectAltName=%s\nextendedKeyUsage=%s\nbasicConstraints=CA:FALSE\n' "$4" "$5" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2-cert.pem" -CAkey "$2-key.pem" -CAcreateserial -days 36500 \
    -extfile "$1.ext" -out "$1-cert.pem"
  rm "$1.csr" "$1.ext"
}
authority() {
  key "$1"
  openssl req -x509 -key "$1-key.pem" -subj "/O=iser-nbd tests/CN=$1" -days 36500 -out "$1-cert.pem" \
    -addext keyUsage=critical,keyCertSign,cRLSign
}
authority ca
authority stranger-ca
issue server ca localhost DNS:localhost,IP:127.0.0.1 serverAuth
issue renewed ca localhost DNS:localhost,IP:127.0.0.1 serverAuth
issue alice ca alice DNS:alice.example,email:alice@example.net clientAuth
issue bob ca bob DNS:bob.example clientAuth
issue stranger stranger-ca alice DNS:alice.example clientAuth
rm -f ./*.srl stranger-ca-key.pem ca-key.pem
printf 'carol:%s\ndave:%s\n' 8f1cf2d0c1b95a1e6d7a4c0f0a9b3e57d4c6b1a2938475660f1e2d3c4b5a6978 \
  000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f > keys.psk
