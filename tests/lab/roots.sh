# The file systems of phones and Pis: one common layer of each kind, and a writable layer per device with what is
# its own. Runs inside the lab; sourced by inside.sh.
# shellcheck shell=bash disable=SC2154 # run, disk and arch are set there

# Copies programs with the libraries they are linked to, each to its own path below a root.
copy_libraries() {
  local root=$1 library
  shift
  ldd "$@" | grep -oE '/[^ ]+\.so[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
  done
}

# Writes stdin to a file that is made with its folders.
put() {
  mkdir -p "${1%/*}"
  cat >"$1"
}

# What every phone has: an Android-like root of toybox, mksh and adbd.
phone_base() {
  local base=$1 adbd=/usr/lib/android-sdk/platform-tools/adbd tool
  mkdir -p "$base"/{system/bin,system/lib64,vendor/bin,data/fake,data/local/tmp,sdcard,proc,dev,sys,tmp,apex,etc}
  chmod 1777 "$base/tmp"
  cp -L "$adbd" "$base/system/bin/adbd"
  copy_libraries "$base" "$adbd" /usr/bin/toybox
  if [ "$arch" = aarch64 ]; then
    cp "$LAB_ARM64/bin/toybox" "$base/system/bin/"
    cp "$LAB_ARM64/usr/lib/klibc/bin/mksh" "$base/system/bin/sh"
    cp -a "$LAB_ARM64/lib" "$base/"
    # klibc's own interpreter, if it is linked to one
    [ ! -d "$LAB_ARM64/usr/lib/klibc/lib" ] || cp -a "$LAB_ARM64/usr/lib/klibc/lib/." "$base/lib/"
  else
    cp /usr/bin/toybox "$base/system/bin/"
    cp -L /bin/mksh-static "$base/system/bin/sh"
  fi
  for tool in $(/usr/bin/toybox); do
    [ -e "$base/system/bin/$tool" ] || ln -s toybox "$base/system/bin/$tool"
  done
  ln -s system/bin "$base/bin"
  touch "$base/system/bin/linker64" # by which a C library is known to be Android's
  printf 'root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/data/local/tmp:/system/bin/sh\n' >"$base/etc/passwd"
  printf 'root:x:0:\nshell:x:2000:\n' >"$base/etc/group"
  phone_tools "$base/system/bin"
  [ "$arch" != arm ] || arm_kernel "$base/system/bin"
  phone_services "$base/data/fake"
  phone_sensors "$base/sys"
}

# A kernel that says it is a 32-bit ARM's: that is how a device is told to need such an agent.
arm_kernel() {
  rm -f "$1/uname"
  put "$1/uname" <<'SCRIPT'
#!/bin/sh
if [ "$*" = -m ]; then echo armv7l; else exec toybox uname "$@"; fi
SCRIPT
  chmod 755 "$1/uname"
}

# Android's own programs, as scripts: properties and services are files, what is asked of `cmd` and its like is
# written down in /data/fake/calls.
phone_tools() {
  local tool
  put "$1/getprop" <<'SCRIPT'
#!/system/bin/sh
while IFS='=' read -r key value; do
  if [ $# = 0 ]; then print -r -- "[$key]: [$value]"; elif [ "$key" = "$1" ]; then print -r -- "$value"; exit; fi
done < /system/build.prop
[ $# = 0 ] || print -r -- "$2"
SCRIPT
  put "$1/dumpsys" <<'SCRIPT'
#!/system/bin/sh
case $1 in */*|'') ;; *) [ -f "/data/fake/$1" ] && exec cat "/data/fake/$1";; esac
echo "Can't find service: $1" >&2
SCRIPT
  for tool in settings svc cmd am pm input wm; do
    printf '#!/system/bin/sh\necho "%s $*" >> /data/fake/calls\n' "$tool" >"$1/$tool"
  done
  chmod 755 "$1"/*
}

phone_services() {
  put "$1/battery" <<'TEXT'
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 4211
  temperature: 287
  technology: Li-ion
TEXT
  put "$1/thermalservice" <<'TEXT'
IsStatusOverride: false
Thermal Status: 0
HAL Ready: true
Current temperatures from HAL:
	Temperature{mValue=38.5, mType=0, mName=CPU0, mStatus=0}
	Temperature{mValue=28.7, mType=2, mName=battery, mStatus=0}
TEXT
  put "$1/power" <<'TEXT'
POWER MANAGER (dumpsys power)
  mWakefulness=Awake
  mIsPowered=true
TEXT
  touch "$1/calls"
  chmod 666 "$1/calls"
}

phone_sensors() {
  local number
  cores "$1"
  for number in 0 1 2 3; do
    core "$1" "$number" schedutil 300000 1200000 2016000
  done
  for number in 0 1; do
    echo "cpu-$number-0" | put "$1/class/thermal/thermal_zone$number/type"
    echo 38500 | put "$1/class/thermal/thermal_zone$number/temp"
  done
  echo Battery | put "$1/class/power_supply/battery/type"
  echo 87 | put "$1/class/power_supply/battery/capacity"
  echo Charging | put "$1/class/power_supply/battery/status"
  echo 287 | put "$1/class/power_supply/battery/temp"
}

# Which cores there are, as libraries ask: folder.
cores() {
  echo 0-3 | put "$1/devices/system/cpu/possible"
  echo 0-3 | put "$1/devices/system/cpu/present"
}

# One core's cpufreq: folder, number, governor, slowest, current and fastest frequency in kHz.
core() {
  local folder=$1/devices/system/cpu/cpu$2/cpufreq
  echo "$3" | put "$folder/scaling_governor"
  echo "$4" | put "$folder/cpuinfo_min_freq"
  echo "$5" | put "$folder/scaling_cur_freq"
  echo "$6" | put "$folder/cpuinfo_max_freq"
}

# Mounts a device's root: the common layer, one of its own, and the disk below the cache.
mount_root() {
  local name=$1 base=$2
  mkdir -p "$run/$name"/{own,work,root}
  mount -t overlay "$name" -o "lowerdir=$base,upperdir=$run/$name/own,workdir=$run/$name/work" "$run/$name/root"
  mount -t proc proc "$run/$name/root/proc"
  mount --rbind /dev "$run/$name/root/dev"
  mount_disk "$name"
}

# The folder below, seen when nothing is mounted, is root's, as on a device.
mount_disk() {
  local user=2000
  [[ $1 != pi* ]] || user=$(stat -c %u "$run/$1/root/home/pi")
  mount -t tmpfs -o "size=$disk,mode=771,uid=$user,gid=$user" "$1-disk" "$(disk_of "$1")"
}

disk_of() {
  case $1 in
    phone*) echo "$run/$1/root/data/local/tmp" ;;
    pi*) echo "$run/$1/root/home/pi/.cache" ;;
  esac
}

phone_root() {
  local name=$1 number=${1#phone} abi=x86_64
  case $arch in
    aarch64) abi=arm64-v8a ;;
    arm) abi=armeabi-v7a ;;
  esac
  mount_root "$name" "$run/base-phone"
  put "$run/$name/root/system/build.prop" <<TEXT
ro.product.manufacturer=Example
ro.product.model=Model $number
ro.product.device=${name}_device
ro.product.name=${name}_product
ro.product.cpu.abi=$abi
ro.product.cpu.abilist=$abi
ro.build.version.sdk=34
ro.build.version.release=14
ro.build.fingerprint=example/$name/$name:14/UP1A/1:userdebug/test-keys
ro.soc.manufacturer=Example
ro.soc.model=EX8550
ro.serialno=$name
sys.boot_completed=1
TEXT
}

# What every Pi has: this machine's /usr, read-only, with a Pi's own tools over it, and a user `pi`.
pi_base() {
  local base=$1 item number
  mkdir -p "$base"/{usr,proc,dev,sys,tmp,run/sshd,var/log,var/tmp,home,root,etc/ssh}
  chmod 1777 "$base/tmp" "$base/var/tmp"
  for item in bin lib lib64 sbin; do
    ln -s "usr/$item" "$base/$item"
  done
  for item in passwd group shadow nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives ssl profile \
    bash.bashrc localtime login.defs shells os-release ssh/moduli; do
    [ ! -e "/etc/$item" ] || cp -a "/etc/$item" "$base/etc/$item"
  done
  pi_user "$base"
  cores "$base/sys"
  for number in 0 1 2 3; do
    core "$base/sys" "$number" ondemand 1500000 1800000 2400000
  done
  echo cpu-thermal | put "$base/sys/class/thermal/thermal_zone0/type"
  echo 47300 | put "$base/sys/class/thermal/thermal_zone0/temp"
  echo 0 | put "$base/sys/devices/platform/soc/soc:firmware/get_throttled"
  printf 'Raspberry Pi 5 Model B Rev 1.0\0' | put "$base/sys/firmware/devicetree/base/model"
  put "$base/etc/ssh/lab_config" <<'TEXT'
Port 22
HostKey /etc/ssh/host_key
UsePAM no
PasswordAuthentication yes
PermitRootLogin no
Subsystem sftp /usr/lib/openssh/sftp-server
PidFile none
AllowTcpForwarding yes
UseDNS no
MaxStartups 100:30:200
TEXT
  put "$run/tools-pi/bin/vcgencmd" <<'SCRIPT'
#!/bin/sh
case $1 in
  get_throttled) printf 'throttled=0x%s\n' "$(cat /sys/devices/platform/soc/soc:firmware/get_throttled)" ;;
  measure_temp) awk '{ printf "temp=%.1f'\''C\n", $1 / 1000 }' /sys/class/thermal/thermal_zone0/temp ;;
esac
SCRIPT
  chmod 755 "$run/tools-pi/bin/vcgencmd"
}

# The user `pi` with the password `raspberry`, and whoever holds one of the lab's keys.
pi_user() {
  local base=$1 id=2001 word
  word=$(openssl passwd -6 raspberry)
  echo "pi:x:$id:$id::/home/pi:/bin/bash" >>"$base/etc/passwd"
  echo "pi:x:$id:" >>"$base/etc/group"
  echo "pi:$word:19000:0:99999:7:::" >>"$base/etc/shadow"
  mkdir -p "$base/home/pi/"{.ssh,.cache}
  cat "$LAB_STATE"/keys/id_*.pub >"$base/home/pi/.ssh/authorized_keys"
  chown $id:$id "$base/home/pi"
  chown -R $id:$id "$base/home/pi/.ssh"
  chmod 700 "$base/home/pi" "$base/home/pi/.ssh"
}

pi_root() {
  local name=$1 root=$run/$1/root layers="$run/tools-pi:/usr"
  mount_root "$name" "$run/base-pi"
  [ "$arch" != aarch64 ] || layers="$run/tools-pi:$run/arm64-pi:/usr"
  # without an upper layer it is read-only
  mount -t overlay "$name-usr" -o "lowerdir=$layers" "$root/usr"
  echo "$name" >"$root/etc/hostname"
  install -m 600 "$LAB_STATE/keys/host_$name" "$root/etc/ssh/host_key"
}

# Programs for arm64 over this machine's own; the libraries lie beside each other.
pi_arm64() {
  mkdir -p "$1/bin"
  cp -a "$LAB_ARM64"/bin/{bash,dash,sh,cat,chmod,date,df,echo,ls,ln,mkdir,mv,pwd,rm,sleep,stty,sync,touch,true,uname} "$1/bin/"
  cp -a "$LAB_ARM64/usr/bin/." "$1/bin/"
  cp -a "$LAB_ARM64/lib" "$1/"
  cp -a "$LAB_ARM64/usr/lib/aarch64-linux-gnu" "$1/lib/"
}
