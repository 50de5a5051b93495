# What can go wrong with a device, on demand. Runs inside the lab; sourced by inside.sh.
# shellcheck shell=bash disable=SC2154 # run and disk are set there

# Every process that has the device's root for its own.
processes() {
  local folder
  for folder in /proc/[0-9]*; do
    # one that has ended meanwhile has no root any more
    if [ "$folder/root/." -ef "$run/$1/root" ]; then echo "${folder#/proc/}"; fi
  done
}

# The device's daemon and what it started for connections.
daemons() {
  local pid
  for pid in $(processes "$1"); do
    case $(cat "/proc/$pid/comm" 2>/dev/null) in
      adbd | sshd) echo "$pid" ;;
    esac
  done
}

# Agents and workers on the device: pid, which of them, KiB of memory.
ours() {
  local pid kib
  for pid in $(processes "$1"); do
    kib=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || continue
    case $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in
      *' agent-worker '*) echo "$pid worker ${kib:-0}" ;;
      *' --dir '*/agent' ') echo "$pid agent ${kib:-0}" ;;
    esac
  done
}

# Sends a signal to the processes named on stdin, and prints them; there must be one.
signal() {
  local pids
  pids=$(cat)
  [ -n "$pids" ] || die "there is no such process"
  # shellcheck disable=SC2086 # one word per process
  kill -s "$1" $pids 2>/dev/null || true
  echo "$pids"
}

# SIGKILL, and they are gone.
end() {
  local pids pid
  pids=$(signal KILL) || exit 1
  for pid in $pids; do
    await not_running "$pid"
  done
}

not_running() {
  ! kill -0 "$1" 2>/dev/null || grep -q '^State:\s*Z' "/proc/$1/status"
}

# The largest agent or worker, as `ours` prints them on stdin.
largest() {
  sort -k 3 -n -r | awk 'NR == 1 { print $1 }'
}

adb_server() {
  local pid
  for pid in $(pidof adb); do
    case $(tr '\0' ' ' <"/proc/$pid/cmdline") in
      *server*) echo "$pid" ;;
    esac
  done
}

fault() {
  local name=$1 what=$2 value=${3:-}
  if [ "$name" = adb ]; then
    adb_fault "$what"
    return
  fi
  must_be_a_device "$name"
  case $what in
    link-down) ip link set "v-$name" down ;;
    link-up) ip link set "v-$name" up ;;
    loss) lose "$name" "$value" ;;
    rate) slow_down "$name" "$value" ;;
    kill) daemons "$name" | end ;;
    restart)
      # it may be gone already
      (daemons "$name" | end) 2>/dev/null || true
      start_daemon "$name"
      ;;
    freeze) daemons "$name" | signal STOP >/dev/null ;;
    thaw) daemons "$name" | signal CONT >/dev/null ;;
    suspend) processes "$name" | signal STOP >/dev/null ;;
    resume) processes "$name" | signal CONT >/dev/null ;;
    kill-agent) ours "$name" | awk '$2 == "agent" { print $1 }' | end ;;
    kill-worker) ours "$name" | awk '$2 == "worker"' | largest | end ;;
    oom) ours "$name" | largest | end ;;
    fill) fill "$name" ;;
    unmount) umount --lazy "$(disk_of "$name")" ;;
    mount) mountpoint -q "$(disk_of "$name")" || mount_disk "$name" ;;
    noexec) mount -o remount,noexec "$(disk_of "$name")" ;;
    heat) heat "$name" "$value" ;;
    clear) clear_faults "$name" ;;
    *) die "no fault is named $what: see lab.sh --help" ;;
  esac
}

adb_fault() {
  case $1 in
    kill) adb_server | end ;;
    restart)
      (adb_server | end) 2>/dev/null || true
      start_adb_server
      ;;
    freeze) adb_server | signal STOP >/dev/null ;;
    thaw) adb_server | signal CONT >/dev/null ;;
    # as another program would; it may never answer
    kill-server) timeout 5 adb kill-server >/dev/null 2>&1 || true ;;
    *) die "no fault of the adb server is named $1: see lab.sh --help" ;;
  esac
}

# Drops packets on their way from the device.
lose() {
  unlose "$1"
  nft add table netdev "loss_$1"
  nft add chain netdev "loss_$1" in "{ type filter hook ingress device v-$1 priority 0; }"
  nft add rule netdev "loss_$1" in numgen random mod 100 '<' "$2" drop
}

unlose() {
  nft delete table netdev "loss_$1" 2>/dev/null || true
}

slow_down() {
  tc qdisc replace dev "v-$1" root tbf rate "$2" burst 64k latency 100ms
  tc -n "$1" qdisc replace dev eth0 root tbf rate "$2" burst 64k latency 100ms
}

full_speed() {
  tc qdisc del dev "v-$1" root 2>/dev/null || true
  tc -n "$1" qdisc del dev eth0 root 2>/dev/null || true
}

# No more than what is on it now, which may grow while one looks.
fill() { await shrink "$(disk_of "$1")"; }

shrink() {
  local used
  used=$(df -k --output=used "$1" | tail -n 1)
  # a size of 0 would mean none at all
  mount -o "remount,size=$((used > 4 ? used : 4))k" "$1"
}

heat() {
  local root=$run/$1/root milli=$(($2 * 1000)) status=0 flags=0 zone
  for zone in "$root"/sys/class/thermal/thermal_zone*; do
    echo $milli >"$zone/temp"
  done
  if [ "$2" -ge 80 ]; then
    status=3    # severe
    flags=e0008 # soft limit now; capped, throttled and limited since the start
  fi
  case $1 in
    phone*)
      echo $(($2 * 10)) >"$root/sys/class/power_supply/battery/temp"
      sed -i "s/temperature: .*/temperature: $(($2 * 10))/" "$root/data/fake/battery"
      sed -i -e "s/^Thermal Status: .*/Thermal Status: $status/" -e "s/mValue=[0-9.]*/mValue=$2.0/" \
        "$root/data/fake/thermalservice"
      ;;
    pi*) echo $flags >"$root/sys/devices/platform/soc/soc:firmware/get_throttled" ;;
  esac
}

clear_faults() {
  ip link set "v-$1" up
  unlose "$1"
  full_speed "$1"
  (processes "$1" | signal CONT) >/dev/null 2>&1 || true
  mountpoint -q "$(disk_of "$1")" || mount_disk "$1"
  mount -o "remount,exec,size=$disk" "$(disk_of "$1")"
  heat "$1" 38
  answers "$1" 2>/dev/null || start_daemon "$1"
  [[ $1 != phone* ]] || reconnect "$(address "$1"):5555"
}

# adb takes some seconds to find out that a device is back.
reconnect() {
  adb disconnect "$1" >/dev/null 2>&1 || true
  adb connect "$1" >/dev/null
  await connected "$1"
}

connected() {
  [ "$(adb -s "$1" get-state 2>/dev/null)" = device ]
}
