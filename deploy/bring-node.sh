# shellcheck shell=bash
# Brings Node and npm from npm's registry into a folder, checked by SHA-512: sourced by scripts/common.sh and install.sh,
# which have say, fail, have and need_package.
# shellcheck disable=SC2034  # theirs, too

REGISTRY=${npm_config_registry:-https://registry.npmjs.org}
REGISTRY=${REGISTRY%/}

# Node 24 LTS and npm as npm's registry has them, with the registry's own integrity values: Node's by version and machine,
# of 24 and of the lowest that package.json allows.
NODE_VERSION=24.21.0
declare -A NODE_SHA512=(
  [24.21.0-x64]='3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q=='
  [24.21.0-arm64]='FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g=='
  [22.14.0-x64]='R9k0h0zCZkX4/rlJbwS2c/CaOlmbAz3FkcQnQTJneQgJFaMntb8GVT64oArZEvrnzSyck8tGpcss6u3nT7hqxg=='
  [22.14.0-arm64]='pg8rI8Ka8Qf4gwBfaa3vYAuBeiK1LcGxNEsW+VADvpJz4ZAq3yZ64oMwnighJW57tObnd9U0cANhNkL+BgG6OA=='
)
NPM_VERSION=11.19.1
NPM_SHA512='ztsxKxt/kkIaAs+2i0GU6I+DRmUdrNasxTZKJe9TCdSjKxlhah/4r/hl5ygMD6XAg1qZ9c2TNomR4qgOydp10g=='

# download URL FILE SHA512: fetches, checks, then moves into place.
download() {
  local got
  if [ ! -e /etc/ssl/certs/ca-certificates.crt ]; then need_package update-ca-certificates ca-certificates; fi
  if have curl; then curl -fsSL --retry 3 -o "$2.part" "$1" || fail "can't download $1"
  else
    need_package wget wget
    wget -q -O "$2.part" "$1" || fail "can't download $1"
  fi
  got=$(sha512sum "$2.part" | cut -d' ' -f1 | sed 's/../\\x&/g')
  got=$(printf '%b' "$got" | base64 -w0)
  [ "$got" = "$3" ] || fail "$1 is not what it should be (sha512 $got)"
  mv -f "$2.part" "$2"
}

# bring_node VERSION FOLDER [MACHINE]: that Node, without npm, unpacked into FOLDER; of this machine, if none is named.
bring_node() {
  local arch sha
  if [ -x "$2/bin/node" ]; then return 0; fi
  case ${3:-$(uname -m)} in
    x86_64 | amd64 | x64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) fail "no packaged Node for ${3:-$(uname -m)}: install Node 24 and npm by hand" ;;
  esac
  sha=${NODE_SHA512[$1-$arch]:-}
  [ -n "$sha" ] || fail "no integrity value for Node $1 on $arch: put it into deploy/bring-node.sh"
  say "bringing Node $1 into $2"
  rm -rf "$2" "$2.new"
  mkdir -p "$2.new"
  download "$REGISTRY/node-linux-$arch/-/node-linux-$arch-$1.tgz" "$2.new/node.tgz" "$sha"
  tar -xzf "$2.new/node.tgz" -C "$2.new" --strip-components=1
  rm -f "$2.new/node.tgz"
  mv "$2.new" "$2"
}

# bring_npm FOLDER: npm beside the Node that is in FOLDER.
bring_npm() {
  local name
  if [ -x "$1/bin/npm" ]; then return 0; fi
  say "bringing npm $NPM_VERSION into $1"
  mkdir -p "$1/npm"
  download "$REGISTRY/npm/-/npm-$NPM_VERSION.tgz" "$1/npm.tgz" "$NPM_SHA512"
  tar -xzf "$1/npm.tgz" -C "$1/npm" --strip-components=1
  for name in npx npm; do
    printf '#!/bin/sh\nexec node "%s/npm/bin/%s-cli.js" "$@"\n' "$1" "$name" >"$1/bin/$name"
    chmod +x "$1/bin/$name"
  done
  rm -f "$1/npm.tgz"
}
