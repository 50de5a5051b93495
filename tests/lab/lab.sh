#!/usr/bin/env bash
# A lab on one Linux machine: phones (Debian's adbd, Android's paths, toybox and mksh) and Pis (OpenSSH), each with
# an address of its own, and faults for them. All of it lives in namespaces below one process: when that ends, no
# daemon, mount or link is left. Needs root. Measures nothing.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export LAB_STATE=${LAB_STATE:-${TMPDIR:-/tmp}/bench-lab-$(id -u)}
export LAB_ARM64=${LAB_ARM64:-/var/cache/bench-lab/arm64}

usage() {
  cat <<'USAGE'
lab.sh install                     install with apt-get all that the lab needs (Debian 12)
lab.sh check [--ARCH]              say what is missing, by name
lab.sh up [--ARCH] PHONES PIS      make a lab: phone1 is 10.99.0.11:5555, pi1 is pi@10.99.0.101
lab.sh exec COMMAND...             run a command on the lab's network, with adb and ssh ready to use
lab.sh fault NAME FAULT [VALUE]    do something to a device; it has happened when the command returns
lab.sh write NAME PATH             write stdin to a device's file, as its root
lab.sh read NAME PATH              print a device's file
lab.sh ps NAME                     the processes of agents and workers on a device: pid, agent or worker, KiB
lab.sh down                        end the lab

ARCH is aarch64, where the devices' shells are emulated as well, or arm, where only their agents are.

Faults of a device:
  link-down, link-up               its network cable
  loss PERCENT                     packets lost on the way from the device
  rate RATE                        both directions, as `tc` writes it: 10mbit
  kill, restart                    its daemon, with all connections
  freeze, thaw                     its daemon, with all connections
  suspend, resume                  every process on it
  kill-agent, kill-worker          SIGKILL, to the agent or to its largest worker
  oom                              SIGKILL, to the largest process of ours, as the kernel would
  fill                             the disk below the cache has no space left
  unmount, mount                   the disk below the cache
  noexec                           it forbids programs to start; until clear
  heat CELSIUS                     every sensor; from 80 on it says that it throttles
  clear                            all of these undone, the daemon started where it is gone
Faults of the adb server (NAME is adb): kill, restart, freeze, thaw, kill-server

LAB_STATE    folder of the lab [default: $TMPDIR/bench-lab-UID]; one each for labs at the same time
LAB_ARM64    unpacked arm64 programs, made by `install` [default: /var/cache/bench-lab/arm64]
LAB_DISK     size of the disk below a device's cache [default: 600m]
USAGE
}

die() {
  echo "lab: $*" >&2
  exit 1
}

# shellcheck source=tests/lab/needs.sh
. "$HERE/needs.sh"

# The first process of the lab as this machine numbers it; nothing when the lab is down.
init_pid() {
  local pid
  pid=$(cat "$LAB_STATE/init.pid" 2>/dev/null) || return 1
  # a number may have been given to another process since
  grep -qzxF "LAB_STATE=$LAB_STATE" "/proc/$pid/environ" 2>/dev/null && echo "$pid"
}

# Runs a command inside: with all namespaces, but in this folder.
inside() {
  local init
  init=$(init_pid) || die "no lab is up in $LAB_STATE: run lab.sh up"
  nsenter --target "$init" --user --mount --net --pid --uts --ipc --wd="$PWD" -- "$@"
}

# Removes the lab's folder, and no other that LAB_STATE may name by mistake.
clean_state() {
  if [ -d "$LAB_STATE/keys" ] || rmdir "$LAB_STATE" 2>/dev/null; then rm -rf "$LAB_STATE"; fi
  [ ! -e "$LAB_STATE" ] || die "$LAB_STATE is there and is no lab's: name another folder in LAB_STATE"
}

keys() {
  local kind number
  mkdir -p "$LAB_STATE/keys"
  for kind in ed25519 ecdsa rsa; do
    ssh-keygen -q -t "$kind" -N '' -C "lab" -f "$LAB_STATE/keys/id_$kind"
  done
  ssh-keygen -q -t ed25519 -N secret -C "lab" -f "$LAB_STATE/keys/id_secret" # its passphrase is `secret`
  for ((number = 1; number <= $1; number++)); do
    ssh-keygen -q -t ed25519 -N '' -C "pi$number" -f "$LAB_STATE/keys/host_pi$number"
  done
}

# Makes the namespaces, with a first process that only waits and lets the kernel reap its children.
namespaces() {
  local pid init=
  setsid unshare --user --net --mount --pid --uts --ipc --fork --kill-child --mount-proc \
    env --ignore-signal=CHLD sleep infinity >"$LAB_STATE/init.log" 2>&1 </dev/null &
  pid=$!
  for ((tries = 0; tries < 200; tries++)); do
    read -r init <"/proc/$pid/task/$pid/children" 2>/dev/null || true
    # it is there before it has become `env`
    [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = sleep ] && break
    kill -0 "$pid" 2>/dev/null || die "namespaces cannot be made here: $(cat "$LAB_STATE/init.log")"
    sleep 0.02
  done
  [ -n "$init" ] || die "the lab's first process did not start"
  { echo '0 0 65536' >"/proc/$init/uid_map" && echo '0 0 65536' >"/proc/$init/gid_map"; } 2>/dev/null ||
    die "users cannot be mapped into a namespace here"
  echo "$init" >"$LAB_STATE/init.pid"
}

up() {
  local arch=
  case ${1:-} in
    --aarch64 | --arm)
      arch=${1#--}
      shift
      ;;
  esac
  local phones=${1:-2} pis=${2:-2}
  needs "${arch:+--$arch}" >&2 || exit 1
  init_pid >/dev/null && die "a lab is up already in $LAB_STATE: name another folder in LAB_STATE"
  clean_state
  mkdir -p "$LAB_STATE/log" "$LAB_STATE/run"
  keys "$pis"
  namespaces
  if ! LAB_ARCH=$arch inside bash "$HERE/inside.sh" build "$phones" "$pis" 2>"$LAB_STATE/build.log"; then
    cat "$LAB_STATE/build.log" "$LAB_STATE"/log/* >&2
    down
    die "the lab did not come up"
  fi
}

execute() {
  # whatever the person's own adb or ssh is told must not leak in
  unset ANDROID_SERIAL ANDROID_ADB_SERVER_PORT ADB_VENDOR_KEYS SSH_AUTH_SOCK
  ADB_SERVER_SOCKET=tcp:127.0.0.1:5037 inside "$@"
}

down() {
  local init
  if init=$(init_pid); then
    kill -KILL "$init"
    for ((tries = 0; tries < 500; tries++)); do
      kill -0 "$init" 2>/dev/null || break
      sleep 0.02
    done
  fi
  clean_state
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
  install) install_all ;;
  check) needs "$@" ;;
  up) up "$@" ;;
  exec) execute "$@" ;;
  fault | write | read | ps) inside bash "$HERE/inside.sh" "$command" "$@" ;;
  down) down ;;
  *)
    usage
    [ "$command" = --help ] || exit 2
    ;;
esac
