#!/usr/bin/env bash
# Starts a collector, sends what an SDK would send, stops it, and shows what
# was exported.
set -euo pipefail
cd "$(dirname "$0")"
rm -rf data out
penstock=../../bin/penstock

$penstock run --config . 2>run.log &
host=$!
trap 'kill "$host" 2>/dev/null || true; rm -f run.log' EXIT
until address=$(sed -nE 's/.*msg=collecting .*listen=([^ ]+).*/\1/p' run.log) && [ -n "$address" ]; do
	kill -0 "$host" || { cat run.log; exit 1; }
	sleep 0.1
done

send() {
	echo "\$ curl http://$address/$1 -d '$2'"
	curl -sS "http://$address/$1" -H 'content-type: application/json' -d "$2"
	echo
}
send 'track?verbose=1' '[{"event":"Viewed","properties":{"token":"9d8f7c6b5a40","$device_id":"d-1","page":"/shoes"}}]'
send 'track?verbose=1' '[{"event":"Signed Up","properties":{"token":"9d8f7c6b5a40","$device_id":"d-1","$user_id":"ada"}}]'
send 'engage?verbose=1' '[{"$token":"9d8f7c6b5a40","$distinct_id":"ada","$set":{"plan":"pro"}}]'
send 'track?verbose=1' '[{"event":"Lost","properties":{"token":"of nobody"}}]'

echo
echo "\$ penstock status --config examples/collector"
$penstock status --config .
kill "$host" # acknowledged records are in the journal when it has ended
wait "$host"

echo
echo "\$ penstock run --once --config examples/collector"
$penstock run --once --config .
echo
for object in $(find out -name '*.json.gz' | sort); do
	echo "\$ gzip -dc examples/collector/$object"
	gzip -dc "$object"
done
echo
echo "\$ penstock quarantine list --config examples/collector"
$penstock quarantine list --config .
