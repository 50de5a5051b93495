# What the lab needs of the machine: says what is missing, and installs it. Sourced by lab.sh.
# shellcheck shell=bash

# Programs, and the Debian packages that hold them.
PROGRAMS=(
  "/usr/bin/adb adb" "/usr/lib/android-sdk/platform-tools/adbd adbd" "/usr/bin/toybox toybox"
  "/bin/mksh-static mksh" "/usr/sbin/sshd openssh-server" "/usr/lib/openssh/sftp-server openssh-sftp-server"
  "/etc/ssh/ssh_config openssh-client" "/usr/bin/ssh-keygen openssh-client" "/usr/sbin/nft nftables"
  "/sbin/tc iproute2" "/usr/bin/nsenter util-linux" "/usr/bin/unshare util-linux" "/usr/bin/openssl openssl"
)

# What gives an aarch64 device its shell, and libraries of runtimes what they link to: unpacked, not installed.
ARM64_PACKAGES=(
  bash coreutils dash libacl1 libattr1 libc6 libcrypt1 libgcc-s1 libgmp10 libpcre2-8-0 libselinux1 libstdc++6
  libtinfo6 mksh toybox zlib1g
)

# An emulator of an architecture that runs in a root without its libraries; nothing when there is none.
static_emulator() {
  local path
  for path in "/usr/bin/qemu-$1-static" "/usr/bin/qemu-$1"; do
    if [ -x "$path" ] && ! ldd "$path" 2>/dev/null | grep -q '=>'; then
      echo "$path"
      return
    fi
  done
  return 1
}

# Prints what is missing, one thing per line; fails when there is something.
needs() {
  local pair program missing=0
  say() {
    echo "missing: $*"
    missing=1
  }
  [ "$(id -u)" = 0 ] || say "root: namespaces with many users need it"
  for pair in "${PROGRAMS[@]}"; do
    program=${pair% *}
    [ -e "$program" ] || say "$program (package ${pair#* })"
  done
  if [ -n "${1:-}" ]; then
    static_emulator "${1#--}" >/dev/null || say "a static qemu-${1#--} (package qemu-user of bookworm-backports)"
  fi
  if [ "${1:-}" = --aarch64 ]; then
    has_arm64 || say "programs for arm64 in $LAB_ARM64 (lab.sh install)"
  fi
  [ $missing = 0 ] || echo "lab.sh install gets all of it on Debian 12"
  return $missing
}

# The archive that this machine uses already, for one more of its suites.
add_backports() {
  local site
  # shellcheck disable=SC2016 # apt's own variable
  site=$(apt-get indextargets --format '$(SITE)' 'Codename: bookworm' 'Created-By: Packages' | head -n 1)
  [ -n "$site" ] || die "no source of bookworm in /etc/apt to take bookworm-backports from"
  echo "deb ${site%/} bookworm-backports main" >/etc/apt/sources.list.d/bookworm-backports.list
}

# A mirror that is being refreshed has an index out of step; what cannot be installed then says so itself.
update() {
  apt-get update -qq || echo "lab: going on with the package lists there are" >&2
}

install_all() {
  export DEBIAN_FRONTEND=noninteractive
  [ "$(id -u)" = 0 ] || die "install needs root"
  dpkg --add-architecture arm64
  update
  # shellcheck disable=SC2016 # apt's own variables
  if ! apt-get indextargets --format '$(CODENAME)' 'Created-By: Packages' | grep -qx bookworm-backports; then
    add_backports
    update
  fi
  apt-get install -y -qq --no-install-recommends toybox mksh openssh-server openssh-client nftables iproute2 \
    openssl time util-linux >/dev/null
  # adbd is only there, and so is an emulator that is static
  apt-get install -y -qq --no-install-recommends -t bookworm-backports adb adbd qemu-user >/dev/null
  unpack_arm64
}

# Whether all of them are there: the list may have grown since.
has_arm64() { [ "$(cat "$LAB_ARM64/.complete" 2>/dev/null)" = "${ARM64_PACKAGES[*]}" ]; }

unpack_arm64() {
  local folder package
  ! has_arm64 || return 0
  folder=$(mktemp -d)
  chown _apt "$folder" # the user that apt downloads as
  (cd "$folder" && apt-get download -qq "${ARM64_PACKAGES[@]/%/:arm64}")
  rm -rf "$LAB_ARM64"
  mkdir -p "$LAB_ARM64"
  for package in "$folder"/*.deb; do
    dpkg-deb --extract "$package" "$LAB_ARM64"
  done
  rm -rf "$folder"
  echo "${ARM64_PACKAGES[*]}" >"$LAB_ARM64/.complete"
}
