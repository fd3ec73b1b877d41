#!/usr/bin/env bash
# Runs the quickstart from nothing, and shows what landed where.
set -euo pipefail
cd "$(dirname "$0")"
rm -rf data out events
go run ./generate

echo
echo "\$ penstock run --once --config ."
../../bin/penstock run --once --config .

object=$(find out -name '*.json.gz' | sort | head -1)
echo
echo "One object a day; each is an ordinary gzip file of JSON lines:"
find out -name '*.json.gz' | sort | head -3 | sed 's|^|  examples/quickstart/|'
echo "  …"
echo
echo "\$ gzip -dc examples/quickstart/$object | head -2"
gzip -dc "$object" | head -2 || true
echo
echo "Next: run it again (nothing is exported twice), look at what was set aside,"
echo "or change something in examples/quickstart/penstock.hcl:"
echo "  bin/penstock run --once --config examples/quickstart"
echo "  bin/penstock quarantine list --config examples/quickstart"
echo "  bin/penstock status --config examples/quickstart"
