#!/bin/sh
# Writes a file of settings from its example, with a fresh secret wherever the example leaves one empty:
#   sh deploy/secrets.sh deploy/env.example .env
# A file that is there stays as it is. Only its owner may read the new one.
set -eu
umask 077
example=$1 file=$2

if [ -e "$file" ]; then
    echo "$file is there already: nothing was changed" >&2
    exit 1
fi

# Hexadecimal digits of so many random bytes: letters and digits only, as some become part of a URL.
chance() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

record=$(chance 24)
set -C # nor a file that has come meanwhile
while IFS= read -r line; do
    case $line in
    VALKEY_PASSWORD=) line=$line$record ;;
    REDIS_URL=) line=${line}redis://:$record@valkey:6379/0 ;;
    S3_SECRET_KEY= | GRAFANA_PASSWORD=) line=$line$(chance 24) ;;
    WEBHOOK_SECRET= | MICROCINEMA_WEBHOOK_SECRET=) line=${line}whsec_$(head -c 32 /dev/urandom | base64) ;;
    API_KEY= | MICROCINEMA_BOOTSTRAP_KEY=) line=${line}mck_$(chance 32) ;;
    AWS_*=) echo "$line is yours to fill in: the storage is not part of this" ;;
    esac
    printf '%s\n' "$line" >&3
done <"$example" 3>"$file"
echo "$file: the first API key is $(sed -nE 's/^(API_KEY|MICROCINEMA_BOOTSTRAP_KEY)=.*/\1/p' "$file") in it"
