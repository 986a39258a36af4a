#!/usr/bin/env bash
# Makes what the processes of a cluster need to trust each other: an authority, a certificate for each, and the cluster secret.
#
#   deploy/certificates.sh CLUSTER FOLDER PROCESS…
#
# A PROCESS is NUMBER for a node that does everything, or NUMBER=ROLES for another: `1 2 3 1003=runner 9=operator`. In FOLDER appear ca.crt,
# NUMBER.crt and NUMBER.key, cluster-secret, and ca.key, which no process needs: keep it elsewhere. What is there already stays, so
# a second call adds processes. Certificates hold for DAYS (365); to renew one, delete it and call again.
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
cluster=$1 folder=$2
shift 2
if ! [[ $cluster =~ ^[a-z0-9-]{1,40}$ ]]; then
    echo "certificates: the name of a cluster is 1 to 40 of the characters a-z, 0-9 and -" >&2
    exit 2
fi
for process; do
    if ! [[ $process =~ ^[1-9][0-9]*(=[a-z]+(\+[a-z]+)*)?$ ]]; then
        echo "certificates: $process is neither NUMBER nor NUMBER=ROLES" >&2
        exit 2
    fi
done
umask 077
mkdir -p "$folder"
cd "$folder"

new_key() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.fresh"
    mv "$1.fresh" "$1"
}

[ -e cluster-secret ] || { head -c 32 /dev/urandom >cluster-secret.fresh && mv cluster-secret.fresh cluster-secret; }
if [ -e ca.crt ] && ! [ -e ca.key ]; then
    echo "certificates: there is ca.crt without ca.key: bring the key of this authority, or remove ca.crt to begin with another one" >&2
    exit 2
fi
[ -e ca.key ] || new_key ca.key
if ! [ -e ca.crt ]; then
    openssl req -x509 -new -key ca.key -subj "/CN=Tidemark cluster $cluster" -days 3650 -out ca.crt.fresh \
        -addext keyUsage=critical,keyCertSign,cRLSign
    mv ca.crt.fresh ca.crt
fi
for process; do
    number=${process%%=*}
    roles=all
    [ "$number" = "$process" ] || roles=${process#*=}
    [ -e "$number.key" ] || new_key "$number.key"
    [ -e "$number.crt" ] && continue
    openssl req -new -key "$number.key" -subj "/CN=process $number" -out "$number.request"
    openssl x509 -req -in "$number.request" -CA ca.crt -CAkey ca.key -days "${DAYS:-365}" -out "$number.crt.fresh" -extfile <(
        echo basicConstraints=critical,CA:FALSE
        echo keyUsage=critical,digitalSignature
        echo extendedKeyUsage=serverAuth,clientAuth
        echo "subjectAltName=URI:tidemark://$cluster/$roles/$number"
    ) 2>"$number.log" || { cat "$number.log" >&2; exit 1; }
    rm "$number.request" "$number.log"
    mv "$number.crt.fresh" "$number.crt"
done
