#!/usr/bin/env bash
# Writes SCALE.md: one run of a short suite over many phones and Pis at once, and what that costs the host.
# Run from anywhere as root, after `lab.sh install`; takes some minutes.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$HERE/../..
# BENCH_AGENT_DIR names a folder with a built agent; without it one is built.
PHONES=${PHONES:-50}
PIS=${PIS:-20}

[ -x /usr/bin/time ] || { echo "missing: /usr/bin/time (package time)" >&2 && exit 1; }
(cd "$ROOT" && cargo build --release --locked --bins)
LAB_STATE=$(mktemp -d)
export LAB_STATE LAB_DISK=32m
trap '"$HERE/lab.sh" down' EXIT
"$HERE/lab.sh" up "$PHONES" "$PIS"

work=$LAB_STATE/scale
mkdir -p "$work"
agents=${BENCH_AGENT_DIR:-$work/agents}
[ -d "$agents" ] || "$ROOT/target/release/bench" --quiet agents build "$(uname -m)" --agent-dir "$agents"
devices=$(
  for ((number = 1; number <= PHONES; number++)); do echo "adb:10.99.0.$((10 + number)):5555"; done
  for ((number = 1; number <= PIS; number++)); do echo "ssh:pi@10.99.0.$((100 + number))"; done
)

# One run; leaves what it said, and prints exit code, wall and processor seconds, and KiB of memory at most.
run() {
  local code=0
  "$HERE/lab.sh" exec env XDG_CACHE_HOME="$work/cache" /usr/bin/time -q -o "$work/cost" -f '%e %U %S %M' \
    "$ROOT/target/release/bench" run --suite smoke --device "$(paste -sd , <<<"$devices")" --agent-dir "$agents" \
    --out "$work/runs-$1" >"$work/stdout-$1" 2>"$work/stderr-$1" || code=$?
  echo "$code $(cat "$work/cost")"
}

# Devices of which the record holds a complete unit.
measured() {
  cat "$work/runs-$1"/*/journal.jsonl | grep -o '"entry":"unit-started","unit":[0-9]*,"attempt":[0-9]*,"device":[0-9]*' |
    grep -o '[0-9]*$' | sort -u | wc -l
}

row() {
  local code wall user system memory
  read -r code wall user system memory
  printf '| %s | %s | %s s | %s s | %s MiB | %s | %s | %s |\n' "$2" "$code" "$wall" \
    "$(awk -v a="$user" -v b="$system" 'BEGIN { printf "%.1f", a + b }')" $((memory / 1024)) "$(measured "$1")" \
    "$(grep -c 'every file was there' "$work/stderr-$1" || true)" "$(grep -c ' lost: ' "$work/stderr-$1" || true)"
}

{
  cat <<TEXT
# Scale

One run of the suite \`smoke\` over $PHONES phones and $PIS Pis at once, in the lab of \`lab.sh\`: the host, every daemon and
every agent share $(nproc) cores of one machine, so that the wall time is theirs, not the host's. Processor time and memory
are of the process \`bench\` alone. Written by \`tests/lab/scale.sh\`.

| run | exit code | wall time | host's processor time | host's memory, peak | devices measured | with every file there already | units lost |
|---|---|---|---|---|---|---|---|
TEXT
  run first | row first "first, everything is pushed"
  run second | row second "second, nothing is pushed"
} >"$work/table"
mv "$work/table" "$HERE/SCALE.md"
