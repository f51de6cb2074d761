#!/bin/sh
# Restore a photograph by TensorFlow Serving's REST API with curl:
#   client_curl.sh photo.jpg restored.png [http://localhost:8501/v1/models/rnan] [LEVEL]
# LEVEL is the noise sigma (0-255 scale), for a conditional model. Orientation and colour profile are not carried over.
set -eu

fail() {
    printf 'error: %s\n' "$1" >&2
    exit "$2"
}

[ $# -ge 2 ] || fail "usage: client_curl.sh PHOTO OUT.png [URL] [LEVEL]" 2
photo=$1 output=$2 url=${3:-http://localhost:8501/v1/models/rnan} level=${4:-}
[ -r "$photo" ] || fail "$photo: cannot be read" 2
[ ! "$photo" -ef "$output" ] || fail "$output: is the photograph itself; give another name" 2

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The image travels in files and pipes: it is longer than a command line may be.
{
    printf '{"signature_name": "serve_bytes", "instances": [{"image_bytes": {"b64": "'
    base64 <"$photo" | tr -d '\n'
    printf '"}%s}]}' "${level:+, \"level\": $level}"
} >"$folder/request.json"

status=$(curl --silent --show-error --retry 5 --retry-connrefused --max-time 600 --write-out '%{http_code}' \
    --header 'Content-Type: application/json' --data-binary "@$folder/request.json" \
    --output "$folder/answer.json" "$url:predict") || fail "$url: the server cannot be reached" 1
if [ "$status" != 200 ]; then
    reason=$(tr '\n' ' ' <"$folder/answer.json")
    # TensorFlow's report of a failed check, cut down to the line that matters.
    checked=$(printf '%s' "$reason" | sed -n 's/.*assertion failed: \[\([^]]*\)\] \[\([^]]*\)\].*/\1 \2/p')
    fail "$url: HTTP $status: ${checked:-$reason}" 1
fi
tr -d '\n' <"$folder/answer.json" | sed -n 's/.*"b64": *"\([^"]*\)".*/\1/p' | base64 -d >"$folder/restored.png"
[ "$(head -c 4 "$folder/restored.png" | tail -c 3)" = PNG ] ||
    fail "$url: the answer is not a prediction of an exported RNAN" 1
mv "$folder/restored.png" "$output"
