#!/bin/sh
# Records one agent: record.sh <collector binary> <agent script> <output file>
set -eu
here=$(dirname "$0")
export RECORD_PORT="${RECORD_PORT:-4318}" RECORD_FILE="$3"
export OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:$RECORD_PORT"
"$1" --config "$here/collector.yaml" 2>/dev/null &
collector=$!
trap 'kill "$collector" 2>/dev/null || true' EXIT
sleep 2
"${PYTHON:-python3}" "$here/$2"
kill "$collector"
wait "$collector" || true
trap - EXIT
# Stack traces name the folders of the machine; only what is inside them is of interest.
sed -E 's#File \\"[^"\\]*/(site-packages|python3\.[0-9]+|record)/#File \\"#g' "$3" > "$3.clean"
mv "$3.clean" "$3"
