#!/usr/bin/env bash
# The lab from the inside: builds its network and devices, and does to them what lab.sh is asked for. Every command
# has happened when it returns. Never run by hand: lab.sh enters the lab's namespaces first.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
run=$LAB_STATE/run
disk=${LAB_DISK:-600m}
# of the devices; nothing: this machine's
arch=${LAB_ARCH:-}
# when a wait ends that should have ended long before
PATIENCE_S=20

die() {
  echo "lab: $*" >&2
  exit 1
}

# shellcheck source=tests/lab/needs.sh
. "$HERE/needs.sh"
# shellcheck source=tests/lab/roots.sh
. "$HERE/roots.sh"
# shellcheck source=tests/lab/faults.sh
. "$HERE/faults.sh"

# Tries a command until it works.
await() {
  local end=$((SECONDS + PATIENCE_S))
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || die "waited $PATIENCE_S s in vain for: $*"
    sleep 0.02
  done
}

network() {
  # where `ip` keeps its names
  mount -t tmpfs tmpfs /run
  mkdir /run/netns
  ip link set lo up
  ip link add br0 type bridge
  ip addr add 10.99.0.1/24 dev br0
  ip link set br0 up
}

address() {
  case $1 in
    phone*) echo "10.99.0.$((10 + ${1#phone}))" ;;
    pi*) echo "10.99.0.$((100 + ${1#pi}))" ;;
  esac
}

plug() {
  local name=$1
  ip netns add "$name"
  ip link add "v-$name" type veth peer name eth0 netns "$name"
  ip link set "v-$name" master br0 up
  ip -n "$name" addr add "$(address "$name")/24" dev eth0
  ip -n "$name" link set eth0 up
  ip -n "$name" link set lo up
}

# binfmt_misc belongs to the user namespace (Linux 6.7): the machine's own is untouched. F keeps the emulator open,
# so that it works in roots that have none.
emulate() {
  local class=02 machine=b7
  [ "$arch" = aarch64 ] || class=01 machine=28
  local magic="\\x7fELF\\x$class\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x$machine\\x00"
  local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc ||
    die "this kernel has no binfmt_misc for a namespace (it came with 6.7): no $arch devices here"
  printf ':lab-%s:M::%s:%s:%s:F' "$arch" "$magic" "$mask" "$(static_emulator "$arch")" >/proc/sys/fs/binfmt_misc/register
}

start_daemon() {
  local name=$1
  case $name in
    phone*)
      # as on a phone, nothing of it is root
      nsenter --net="/run/netns/$name" -- setsid env -i PATH=/system/bin:/vendor/bin ANDROID_DATA=/data \
        ANDROID_ROOT=/system HOME=/data TMPDIR=/data/local/tmp HOSTNAME="$name" ADBD_PORT=5555 \
        /usr/sbin/chroot --userspec=2000:2000 --groups= "$run/$name/root" /system/bin/adbd \
        >>"$LAB_STATE/log/$name" 2>&1 </dev/null &
      ;;
    pi*)
      nsenter --net="/run/netns/$name" -- setsid env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /usr/sbin/chroot "$run/$name/root" /usr/sbin/sshd -D -e -f /etc/ssh/lab_config \
        >>"$LAB_STATE/log/$name" 2>&1 </dev/null &
      ;;
  esac
  await answers "$name"
}

# A device that answers on its own network: the link to it may be down.
answers() {
  local port=5555
  [[ $1 != pi* ]] || port=22
  nsenter --net="/run/netns/$1" -- bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
}

start_adb_server() {
  # a home of its own for its key; it is never told to end by `kill-server`, after which it can hang
  setsid env -u ADB_SERVER_SOCKET HOME="$LAB_STATE" ADB_MDNS_AUTO_CONNECT=0 adb -P 5037 nodaemon server \
    >>"$LAB_STATE/log/adb" 2>&1 </dev/null &
  await bash -c 'exec 3<>/dev/tcp/127.0.0.1/5037'
}

# Names, users and known keys of the Pis, for ssh and all that asks `ssh -G`.
ssh_settings() {
  local number
  mkdir -p "$LAB_STATE/ssh"
  touch "$LAB_STATE/ssh/known_hosts"
  for ((number = 1; number <= $1; number++)); do
    printf 'Host pi%s\n  HostName 10.99.0.%s\n  User pi\n' "$number" $((100 + number))
    echo "10.99.0.$((100 + number)) $(cut -d ' ' -f 1,2 "$LAB_STATE/keys/host_pi$number.pub")" \
      >>"$LAB_STATE/ssh/known_hosts"
  done >"$LAB_STATE/ssh/config"
  cat >>"$LAB_STATE/ssh/config" <<TEXT
Host *
  IdentityFile $LAB_STATE/keys/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile $LAB_STATE/ssh/known_hosts
  StrictHostKeyChecking yes
TEXT
  # the system's configuration is replaced in here alone
  mount --bind "$LAB_STATE/ssh/config" /etc/ssh/ssh_config
}

build() {
  local phones=$1 pis=$2 number name
  [[ $phones -le 80 && $pis -le 80 ]] || die "at most 80 phones and 80 Pis have addresses"
  mount -t tmpfs tmpfs "$run"
  network
  [ -z "$arch" ] || emulate
  phone_base "$run/base-phone"
  pi_base "$run/base-pi"
  [ "$arch" != aarch64 ] || pi_arm64 "$run/arm64-pi"
  [ "$arch" != arm ] || arm_kernel "$run/tools-pi/bin"
  ssh_settings "$pis"
  start_adb_server
  for ((number = 1; number <= phones; number++)); do
    name=phone$number
    plug "$name"
    phone_root "$name"
    start_daemon "$name"
    adb connect "$(address "$name"):5555" >/dev/null
  done
  for ((number = 1; number <= pis; number++)); do
    name=pi$number
    plug "$name"
    pi_root "$name"
    start_daemon "$name"
  done
  [ "$phones" = 0 ] || await all_connected "$phones"
}

all_connected() {
  [ "$(adb devices | grep -cw device$)" = "$1" ]
}

must_be_a_device() {
  [ -d "$run/${1:-/}/root" ] || die "no device is named ${1:-nothing}"
}

command=$1
shift
case $command in
  build) build "$@" ;;
  fault) fault "$@" ;;
  read)
    must_be_a_device "$1"
    cat "$run/$1/root$2"
    ;;
  write)
    must_be_a_device "$1"
    put "$run/$1/root$2"
    ;;
  ps)
    must_be_a_device "$1"
    ours "$1"
    ;;
esac
