# shellcheck shell=bash
# Set-up shared by demo.sh and test.sh: sourced, not run. Everything goes into a private folder (.tools beside this
# folder, or $SANDBOX_TOOLS); the system is touched only where a Debian package is missing, and then it says so.
# Every step looks first whether its work is done, so a second run is quick.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
TOOLS=${SANDBOX_TOOLS:-$ROOT/.tools}

say() { printf '[set-up] %s\n' "$*" >&2; }
fail() { printf '[set-up] error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: as it is when root, by sudo else.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif have sudo; then sudo "$@"
  else return 1
  fi
}

# need_package PROGRAM PACKAGE: installs Debian's PACKAGE when PROGRAM is missing.
need_package() {
  have "$1" || install_package "$1" "$2"
}

# install_package WHAT PACKAGE: installs Debian's PACKAGE, which has WHAT.
APT_UPDATED=
install_package() {
  have apt-get || fail "$1 is missing, and there is no apt-get: install it by hand"
  say "installing Debian's $2 (for $1)"
  if [ -z "$APT_UPDATED" ]; then
    as_root apt-get -qq update >/dev/null || fail "apt-get update failed: install $2 by hand (neither root nor sudo?)"
    APT_UPDATED=1
  fi
  # policy-rc.d: no service is started by an installation.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq install -y --no-install-recommends "$2" >/dev/null \
    || fail "apt-get install $2 failed: install it by hand"
}

# NODE_VERSION, bring_node, bring_npm: what deploy/install.sh brings, too.
# shellcheck source=deploy/bring-node.sh
. "$ROOT/deploy/bring-node.sh"

# Node 24 with npm: the host's when it is that new, else a private one. Sets PATH.
setup_node() {
  local major home="$TOOLS/node-$NODE_VERSION"
  if have node && have npm; then
    major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
    if [ "$major" -ge 24 ]; then return 0; fi
  fi
  [ -x "$home/bin/npm" ] || say "no Node 24 with npm here${major:+ (Node $major)}: a private one"
  bring_node "$NODE_VERSION" "$home"
  bring_npm "$home"
  PATH="$home/bin:$PATH"
  export PATH
}

# The lowest Node that package.json allows, as $LOWEST_NODE. Not in a folder node-*: deploy/install.sh takes the first of these.
setup_lowest_node() {
  local lowest
  lowest=$(cd "$ROOT" && node -p 'const [, minor, patch = ".0"] = /^>=(\d+\.\d+)(\.\d+)?$/.exec(require("./package.json").engines.node); minor + patch') \
    || fail 'engines.node in package.json names no lowest version (>=22.14)'
  bring_node "$lowest" "$TOOLS/lowest/node-$lowest"
  export LOWEST_NODE=$TOOLS/lowest/node-$lowest/bin/node
}

# Dependencies, from the lock file, when that has changed.
setup_packages() {
  local want stamp="$ROOT/node_modules/.from-lockfile"
  want=$(sha256sum "$ROOT/package-lock.json" | cut -d' ' -f1)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then return 0; fi
  say 'installing the dependencies (npm ci)'
  (cd "$ROOT" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error) >&2 || fail 'npm ci failed (above)'
  printf '%s\n' "$want" >"$stamp"
}

# dist/, when a source is newer.
setup_build() {
  if [ -f "$ROOT/dist/main.js" ] && [ -z "$(find "$ROOT/src" "$ROOT/package.json" "$ROOT/tsconfig.build.json" "$ROOT/scripts/one-file.mjs" "$ROOT/scripts/share" -newer "$ROOT/dist/main.js" -print -quit)" ]; then
    return 0
  fi
  say 'building (npm run build)'
  (cd "$ROOT" && npm run --silent build) >&2 || fail 'the build failed (above)'
}

# bitcoind: the one that FIDELITY_BITCOIND names, else unpacked from Debian's archive. Exports where it is.
setup_bitcoind() {
  if [ -n "${FIDELITY_BITCOIND:-}" ]; then
    [ -x "$FIDELITY_BITCOIND" ] || fail "FIDELITY_BITCOIND=$FIDELITY_BITCOIND is no program: name a bitcoind, or leave it unset"
    return 0
  fi
  export FIDELITY_BITCOIND=$TOOLS/bitcoind/bin/bitcoind
  if [ -x "$FIDELITY_BITCOIND" ]; then return 0; fi
  say 'bringing bitcoind from Debian'"'"'s archive (37 MB, not installed, only unpacked)'
  "$ROOT/scripts/get-bitcoind.sh" "$TOOLS/bitcoind" || fail 'no bitcoind (above)'
}

# Tor with tor-gencert: the host's; else Debian's package, installed where that can be done without asking, else only
# unpacked into $TOOLS. Its system service is neither started nor touched.
TOR_VERSION_MIN=0.4.7
setup_tor() {
  local version
  PATH="$TOOLS/tor/programs:$PATH:/usr/sbin:/sbin"
  export PATH
  if ! have tor || ! have tor-gencert; then
    if [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; then
      need_package tor-gencert tor
    else
      unpack_package tor tor tor-gencert
    fi
  fi
  version=$(tor --version | sed -n 's/^Tor version \([0-9.]*[0-9]\).*/\1/p')
  [ "$(printf '%s\n' "$TOR_VERSION_MIN" "$version" | sort -V | head -n 1)" = "$TOR_VERSION_MIN" ] \
    || fail "$(command -v tor) is version ${version:-unknown}, and $TOR_VERSION_MIN or newer is needed"
}

# unpack_package PACKAGE PROGRAM...: Debian's PACKAGE and the libraries that this system lacks, unpacked into
# $TOOLS/PACKAGE as an ordinary user. apt checks signatures and hashes as ever, but works in folders of its own; no
# maintainer script is run. With ALONE=1 only the package itself, where its programs need nothing else.
unpack_package() {
  local package=$1 home="$TOOLS/$1" new="$TOOLS/$1.new" deb program
  shift
  have apt-get || fail "$package is missing, and there is no apt-get: install it by hand"
  say "unpacking Debian's $package into $home (nothing is installed)"
  rm -rf "$new"
  mkdir -p "$new/lists/partial" "$new/cache/archives/partial" "$new/programs"
  cat >"$new/apt.conf" <<CONF
Dir::State::Lists "$new/lists";
Dir::Cache "$new/cache";
Debug::NoLocking "true";
APT::Sandbox::User "$(id -un)";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
CONF
  apt-get -c "$new/apt.conf" -qq update >/dev/null || fail "apt-get update failed (above): install $package by hand"
  if [ -n "${ALONE:-}" ]; then (cd "$new/cache/archives" && apt-get -c "$new/apt.conf" -qq download "$package" >/dev/null)
  else apt-get -c "$new/apt.conf" -qq install -y --no-install-recommends --download-only "$package" >/dev/null
  fi || fail "Debian's $package can't be downloaded (above): install it by hand"
  for deb in "$new"/cache/archives/*.deb; do dpkg-deb -x "$deb" "$new" || fail "can't unpack $deb"; done
  for program; do
    cat >"$new/programs/$program" <<'WRAPPER'
#!/bin/sh
# Runs Debian's program with the libraries that were unpacked beside it.
home=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
for folder in "$home"/usr/lib/*-linux-gnu* "$home"/lib/*-linux-gnu* "$home"/usr/lib/*-linux-gnu*/systemd; do
  LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
export LD_LIBRARY_PATH
for program in "$home"/usr/lib/postgresql/*/bin/"${0##*/}" "$home/usr/bin/${0##*/}" "$home/bin/${0##*/}" "$home"/usr/lib/systemd/"${0##*/}" "$home"/lib/systemd/"${0##*/}"; do
  if [ -x "$program" ]; then exec "$program" "$@"; fi
done
exit 127
WRAPPER
    chmod +x "$new/programs/$program"
  done
  rm -rf "$new/lists" "$new/cache" "$new/apt.conf" "$home"
  mv "$new" "$home"
}

# Chromium, for the tests that look at the dashboard: the host's, else Debian's package.
setup_chromium() {
  have chromium && return 0
  if [ "$(id -u)" != 0 ] && ! { have sudo && sudo -n true 2>/dev/null; }; then
    fail "chromium is missing, and this user can't install it: have Debian's chromium installed, or run other tests"
  fi
  need_package chromium chromium
}

# zsh and fish, for the test of their completions, and mandoc, which judges the man page: the host's, else Debian's packages.
setup_shells() {
  need_package zsh zsh
  need_package fish fish
  need_package mandoc mandoc
}

# systemd's programs for asking and telling it: the host's, else Debian's, only unpacked. The system's own is not touched.
setup_systemd() {
  local program programs=(systemd-notify systemd-analyze systemd-cat systemd-journald journalctl)
  PATH="$PATH:/usr/lib/systemd:$TOOLS/systemd/programs"
  export PATH
  for program in "${programs[@]}"; do
    if ! have "$program"; then
      unpack_package systemd "${programs[@]}"
      return 0
    fi
  done
}

# promtool, which checks Prometheus's rules: one static program out of Debian's package.
setup_promtool() {
  PATH="$PATH:$TOOLS/prometheus/programs"
  export PATH
  if ! have promtool; then ALONE=1 unpack_package prometheus promtool; fi
}

# PostgreSQL's server and client programs: the host's; else Debian's packages, installed where that can be done without
# asking (without a database of their own, and nothing is started), else only unpacked into $TOOLS.
setup_postgres() {
  local conf=/etc/postgresql-common/createcluster.conf
  find_postgres && return 0
  if [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; then
    as_root sh -c "[ -e $conf ] || { mkdir -p ${conf%/*} && echo 'create_main_cluster = false' >$conf; }"
    install_package PostgreSQL postgresql
  else
    unpack_package postgresql initdb postgres pg_basebackup pg_ctl pg_dump pg_restore psql
  fi
  find_postgres || fail 'Debian'"'"'s postgresql holds no initdb: install PostgreSQL by hand'
}
find_postgres() {
  local bin
  bin=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
  PATH="${bin:+${bin%/*}:}$TOOLS/postgresql/programs:$PATH"
  export PATH
  have initdb && have psql
}

# For the test that types what the docs say, on a machine of its own: a sudo there, the host's stays as it is; and what the
# commands call.
setup_reader() {
  local program
  if [ ! -x "$TOOLS/sudo/usr/bin/sudo" ]; then ALONE=1 unpack_package sudo sudo; fi
  for program in curl jq openssl; do need_package $program $program; done
  need_package ip iproute2
}

# libfaketime, which gives a process a clock that is wrong: one library out of Debian's package.
setup_faketime() {
  if [ -n "${FAKETIME_LIBRARY:-}" ]; then return 0; fi
  find_faketime || { ALONE=1 unpack_package libfaketime && find_faketime; } || fail "Debian's libfaketime holds no library"
  export FAKETIME_LIBRARY
}
find_faketime() {
  for FAKETIME_LIBRARY in "$TOOLS"/libfaketime/usr/lib/*/faketime/libfaketime.so.1 /usr/lib/*/faketime/libfaketime.so.1; do
    if [ -e "$FAKETIME_LIBRARY" ]; then return 0; fi
  done
  return 1
}

# A Nostr client by others, for the test that speaks to us through it: nostr-sdk, one wheel with nothing behind it, in a
# Python environment of its own.
NOSTR_SDK_VERSION=0.45.1
NOSTR_SDK_SHA256=(
  5e051a662fac81aa2e15e8221915a0ee4c38791fe6284bc286c5f4cc769cc22e # x86_64
  b7d1ddb5e84c49d394c5a5290fd8982d75dd05684d07fda1f7cf10434d7671d0 # aarch64
)
setup_nostr_sdk() {
  local home="$TOOLS/nostr-sdk-$NOSTR_SDK_VERSION"
  export NOSTR_SDK_PYTHON=$home/bin/python
  if "$NOSTR_SDK_PYTHON" -c 'import nostr_sdk' 2>/dev/null; then return 0; fi
  python3 -c 'import ensurepip, venv' 2>/dev/null || install_package "Python's ensurepip" python3-venv
  say "bringing nostr-sdk $NOSTR_SDK_VERSION into $home (4 MB)"
  rm -rf "$home"
  python3 -m venv "$home" || fail "no Python environment (above)"
  printf 'nostr-sdk==%s%s\n' "$NOSTR_SDK_VERSION" "$(printf ' --hash=sha256:%s' "${NOSTR_SDK_SHA256[@]}")" >"$home/requirements.txt"
  timeout 300 "$home/bin/pip" --quiet --disable-pip-version-check install --no-deps --only-binary :all: --require-hashes \
    --retries 3 -r "$home/requirements.txt" >&2 || fail "nostr-sdk can't be installed (above)"
}

# lintian, which checks the Debian package.
setup_lintian() {
  if have lintian; then return 0; fi
  if [ "$(id -u)" != 0 ] && ! { have sudo && sudo -n true 2>/dev/null; }; then
    fail "lintian is missing, and this user can't install it: have Debian's lintian installed, or run other tests"
  fi
  need_package lintian lintian
}

# Onionbalance with the Python that runs it: the host's, else Debian's, only unpacked. Exports both.
setup_onionbalance() {
  local home="$TOOLS/onionbalance/usr/lib/python3/dist-packages"
  export ONIONBALANCE_PYTHON=/usr/bin/python3 ONIONBALANCE_PACKAGES=
  [ -x "$ONIONBALANCE_PYTHON" ] || install_package "Debian's Python" python3
  if "$ONIONBALANCE_PYTHON" -c 'import onionbalance' 2>/dev/null; then return 0; fi
  ONIONBALANCE_PACKAGES=$home
  if PYTHONPATH=$home "$ONIONBALANCE_PYTHON" -c 'import onionbalance, stem, yaml' 2>/dev/null; then return 0; fi
  unpack_package onionbalance
  PYTHONPATH=$home "$ONIONBALANCE_PYTHON" -c 'import onionbalance, stem, yaml' \
    || fail "Debian's onionbalance does not run (above): install it by hand"
}

# A minimal Debian 12 in one tarball, for tests that install into one or build containers on it: $DEBIAN_BASE (180 MB).
# Making and unpacking it takes root.
DEBIAN_BASE_SUITE=bookworm
setup_debian_base() {
  local home="$TOOLS/debian-$DEBIAN_BASE_SUITE" mirror
  export DEBIAN_BASE=$home.tar
  if [ -s "$DEBIAN_BASE" ]; then return 0; fi
  PATH="$PATH:/usr/sbin:/sbin"
  need_package debootstrap debootstrap
  # The first archive of Debian in this system's own sources.
  mirror=$(apt-get --print-uris update 2>/dev/null | sed -n "s#^'\(.*/debian\)/dists/[a-z]*/InRelease'.*#\1#p" | head -n 1) || mirror=
  say "making a Debian $DEBIAN_BASE_SUITE for tests (debootstrap, half a minute): $DEBIAN_BASE"
  as_root rm -rf --one-file-system "$home.new" || fail 'a Debian can only be made by root'
  as_root debootstrap --variant=minbase "$DEBIAN_BASE_SUITE" "$home.new" "${mirror:-http://deb.debian.org/debian}" >"$home.log" 2>&1 \
    || fail "debootstrap failed: see $home.log"
  as_root tar -cf "$home.tar.part" -C "$home.new" --exclude './var/cache/apt/archives/*.deb' --exclude './proc/*' --exclude './sys/*' . \
    || fail "$home.tar can't be written"
  as_root rm -rf --one-file-system "$home.new"
  rm -f "$home.log"
  mv "$home.tar.part" "$DEBIAN_BASE"
}

# What builds and starts the container files for real: buildah, runc (the runtime of Docker), networks, and what stands for
# the images of a registry: a Debian, and Node with npm in $CONTAINER_NODE.
setup_containers() {
  [ "$(id -u)" = 0 ] || return 0 # the test says that it needs root
  need_package buildah buildah
  need_package runc runc
  need_package ip iproute2
  setup_debian_base
  export CONTAINER_NODE="$TOOLS/node-$NODE_VERSION"
  bring_node "$NODE_VERSION" "$CONTAINER_NODE"
  bring_npm "$CONTAINER_NODE"
}

setup_all() {
  mkdir -p "$TOOLS"
  setup_node
  setup_packages
  setup_build
  setup_bitcoind
  setup_tor
}

# What only tests need.
setup_checks() {
  setup_systemd
  setup_promtool
  setup_faketime
  setup_postgres
  need_package python3 python3-minimal
  need_package git git
}
