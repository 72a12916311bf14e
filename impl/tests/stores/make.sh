#!/usr/bin/env bash
# Made these stores on 2026-11-29, with keytool of OpenJDK 17 and OpenSSL 3, valid until 2100. They are for tests alone: the password is
# hushhush. Java writes elliptic keys without their public half, and openssl pkcs12 keeps them so.
set -euo pipefail
with=(-storepass hushhush -noprompt) valid=(-validity 27000)
keytool -genkeypair -alias authority -keyalg EC -groupname secp256r1 -dname "CN=authority,O=Zabra" -ext bc:c \
  -ext ku:c=keyCertSign,cRLSign "${valid[@]}" -keystore ca.tmp -storetype PKCS12 "${with[@]}"
keytool -exportcert -rfc -alias authority -keystore ca.tmp "${with[@]}" >ca.pem
for kind in "p12 PKCS12 RSA -keysize 2048" "jks JKS EC -groupname secp384r1"; do
  read -r end type key size_is size <<<"$kind"
  keytool -genkeypair -alias server -keyalg "$key" "$size_is" "$size" -dname "CN=server,O=Zabra" "${valid[@]}" \
    -keystore "server.$end" -storetype "$type" -keypass hushhush "${with[@]}"
  keytool -certreq -alias server -keystore "server.$end" "${with[@]}" |
    keytool -gencert -alias authority -keystore ca.tmp "${with[@]}" "${valid[@]}" -ext san=dns:localhost -rfc >own.tmp
  cat own.tmp ca.pem >chain.tmp
  keytool -importcert -alias server -file chain.tmp -keystore "server.$end" "${with[@]}"
  keytool -importcert -alias authority -file ca.pem -keystore "trust.$end" -storetype "$type" "${with[@]}"
done
keytool -importkeystore -srckeystore server.jks -srcstorepass hushhush -destkeystore elliptic.tmp -deststoretype PKCS12 \
  -deststorepass hushhush
openssl pkcs12 -in elliptic.tmp -passin pass:hushhush -nodes -out server.pem
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out client.pem
openssl req -new -key client.pem -subj "/O=Zabra/CN=alice" |
  keytool -gencert -alias authority -keystore ca.tmp "${with[@]}" "${valid[@]}" -rfc >>client.pem
rm ./*.tmp
