#!/usr/bin/env bash
# Writes THROUGHPUT.md: push and pull of one large file by bench, beside adb and scp, round by round in turn.
# Run from anywhere as root, after `lab.sh install`; takes some minutes.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$HERE/../..
ROUNDS=${ROUNDS:-7}
MIB=${MIB:-256}

if [ "${1:-}" != inside ]; then
  (cd "$ROOT" && cargo build --release --locked -p harness --example transfer)
  LAB_STATE=$(mktemp -d)
  export LAB_STATE LAB_DISK=$((MIB * 3))m
  trap '"$HERE/lab.sh" down' EXIT
  "$HERE/lab.sh" up 1 1
  "$HERE/lab.sh" exec bash "${BASH_SOURCE[0]}" inside >"$LAB_STATE/table"
  mv "$LAB_STATE/table" "$HERE/THROUGHPUT.md"
  exit
fi

work=$LAB_STATE/throughput
mkdir -p "$work"
file=$work/file
transfer=$ROOT/target/release/examples/transfer
phone=10.99.0.11:5555
pi=pi@10.99.0.101
head -c $((MIB * 1024 * 1024)) /dev/urandom >"$file"

# Notes the seconds that a command takes, under a name, and keeps what it prints.
timed() {
  local name=$1 began=$EPOCHREALTIME
  shift
  "$@" >"$work/said" 2>"$work/errors" || {
    cat "$work/errors" >&2
    exit 1
  }
  awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f\n", b - a }' >>"$work/$name"
}

empty_disks() {
  local name
  for name in phone1 pi1; do
    bash "$HERE/inside.sh" fault $name unmount
    bash "$HERE/inside.sh" fault $name mount
  done
}

# A push by bench: the whole, and what the example says of the way there alone; then once more, with nothing to send.
bench_push() {
  timed "bench-push-$1" "$transfer" push "$2" "$file"
  cut -d ' ' -f 3 "$work/said" >>"$work/bench-send-$1"
  timed "bench-again-$1" "$transfer" push "$2" "$file"
  cut -d ' ' -f 1 "$work/said" >>"$work/again-bytes-$1"
}

bench_pull() {
  timed "bench-whole-pull-$1" "$transfer" pull "$2" "$file"
  cut -d ' ' -f 2 "$work/said" >>"$work/bench-pull-$1"
}

for ((round = 0; round < ROUNDS; round++)); do
  empty_disks
  timed adb-push adb -s $phone push "$file" /data/local/tmp/file
  timed adb-pull adb -s $phone pull /data/local/tmp/file "$work/back"
  empty_disks
  bench_push adb adb:$phone
  bench_pull adb adb:$phone
  empty_disks
  timed scp-push scp "$file" $pi:.cache/file
  timed scp-pull scp $pi:.cache/file "$work/back"
  timed sftp-push sftp -b - $pi <<<"put $file .cache/file"
  timed sftp-pull sftp -b - $pi <<<"get .cache/file $work/back"
  empty_disks
  bench_push ssh ssh:$pi
  bench_pull ssh ssh:$pi
done

median() {
  sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2 }'
}

# Name, ours, theirs: medians in seconds, and the median of the rounds' ratios.
row() {
  printf '| %s | %.2f s | %.2f s | %.2f |\n' "$1" "$(median <"$work/$2")" "$(median <"$work/$3")" \
    "$(paste "$work/$2" "$work/$3" | awk '{ print $1 / $2 }' | median)"
}

cat <<TEXT
# Throughput

One file of $MIB MiB of random bytes, pushed and fetched by \`bench\` and by the programs that came with ADB and SSH, in
turn, $ROUNDS rounds, in the lab of \`lab.sh\`: both ends on one machine, with $(nproc) cores, over a virtual link. Medians; the
ratio is the median of the rounds' own ratios, below 1 when \`bench\` is faster. Written by \`tests/lab/throughput.sh\`.

*On its way* ends with the last byte sent and leaves out what the others do not do: \`bench\` hashes a file before it goes
and has the device hash what has arrived. *All of it* is from the start of the program to its end.

| what | bench | beside it | ratio |
|---|---|---|---|
TEXT
row "push to a phone, on its way, beside \`adb push\`" bench-send-adb adb-push
row "push to a phone, all of it, beside \`adb push\`" bench-push-adb adb-push
row "pull from a phone, beside \`adb pull\`" bench-pull-adb adb-pull
row "push to a Pi, on its way, beside \`scp\`" bench-send-ssh scp-push
row "push to a Pi, on its way, beside \`sftp\`" bench-send-ssh sftp-push
row "push to a Pi, all of it, beside \`scp\`" bench-push-ssh scp-push
row "pull from a Pi, beside \`scp\`" bench-pull-ssh scp-pull
row "pull from a Pi, beside \`sftp\`" bench-pull-ssh sftp-pull
echo
echo "Bytes sent by a second push of the same file: phone $(sort -u "$work/again-bytes-adb" | paste -sd ,)," \
  "Pi $(sort -u "$work/again-bytes-ssh" | paste -sd ,)."
