#!/usr/bin/env bash
# Makes the Debian package, of what deploy/install.sh installs, with Node: fidelity-tracker_<version>_<arch>.deb.
#   scripts/deb.sh [--arch amd64|arm64] [--fast] [FOLDER]     into FOLDER, or else here
# With --fast it is compressed quickly, for trying it out, and twice as large. dist/ and node_modules/ have to be there. The
# same commit makes the same package: its times are SOURCE_DATE_EPOCH, or else the commit's. DEBFULLNAME and DEBEMAIL say
# who answers for it.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
say() { printf 'deb: %s\n' "$*" >&2; }
fail() { printf 'deb: error: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

arch='' out='' compression=(-Zxz)
while [ $# -gt 0 ]; do
  case $1 in
    --arch) arch=${2:?--arch wants amd64 or arm64}; shift ;;
    --fast) compression=(-Zgzip -z1) ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; fail "unknown option $1" ;;
    *) out=$1 ;;
  esac
  shift
done
case ${arch:-$(uname -m)} in
  amd64 | x86_64) arch=amd64 node_arch=x64 ;;
  arm64 | aarch64) arch=arm64 node_arch=arm64 ;;
  *) fail "no package for ${arch:-$(uname -m)}: amd64 and arm64 there are" ;;
esac
out=$(cd -- "${out:-.}" && pwd -P)
setup_node
if [ ! -f "$ROOT/dist/main.js" ] || [ ! -d "$ROOT/node_modules" ]; then fail "not built yet: cd $ROOT && npm ci --ignore-scripts && npm run build"; fi
: "${SOURCE_DATE_EPOCH:=$(git -C "$ROOT" log -1 --format=%ct 2>/dev/null || true)}"
[ -n "$SOURCE_DATE_EPOCH" ] || fail "$ROOT is no git clone: say SOURCE_DATE_EPOCH"
export SOURCE_DATE_EPOCH
# That Node, whatever runs this: the package is the same then.
node_home=$TOOLS/debian/node-$NODE_VERSION-$node_arch
if [ "$(node -p 'process.version + process.arch')" = "v$NODE_VERSION$node_arch" ] && [ -x "$TOOLS/node-$NODE_VERSION/bin/node" ]; then
  node_home=$TOOLS/node-$NODE_VERSION
fi
bring_node "$NODE_VERSION" "$node_home" "$node_arch"

umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
version=$(node -p 'require(process.argv[1]).version' "$ROOT/package.json")
# As Debian counts, `~` comes before the end: 1.2.3~rc.1 before 1.2.3.
debian_version=${version/-/\~}-1
maintainer="${DEBFULLNAME:-fidelity-tracker authors} <${DEBEMAIL:-authors@fidelity-tracker.invalid}>"
package=$ROOT/deploy/debian
lib=/usr/lib/fidelity-tracker
doc=/usr/share/doc/fidelity-tracker

# ---- the program -----------------------------------------------------------
mkdir -p "$root$lib/bin" "$root/usr/bin" "$root/usr/lib/systemd/system" "$root$doc/examples" "$root/etc"
node "$ROOT/deploy/copy-program.mjs" "$ROOT" "$root$lib" "$node_arch"
cp "$node_home/bin/node" "$root$lib/bin/node"
sed "s#@PROGRAM@#$lib#g" "$ROOT/deploy/command.sh" >"$root/usr/bin/fidelity-tracker"
in_debian() { sed -e "s#/usr/local/bin/#/usr/bin/#" -e "s#file:///opt/fidelity-tracker/#file://$doc/#" "$1"; }
in_debian "$ROOT/deploy/systemd/fidelity-tracker.service" >"$root/usr/lib/systemd/system/fidelity-tracker.service"
cp "$package/fidelity-tracker.toml" "$root/etc/"

# ---- what people read ------------------------------------------------------
mv "$root$lib/docs" "$root$doc/docs"
cp "$ROOT/SECURITY.md" "$package/README.Debian" "$root$doc/"
for name in prometheus grafana compose.yaml compose.scale.yaml; do cp -r "$ROOT/deploy/$name" "$root$doc/examples/"; done
in_debian "$ROOT/deploy/systemd/fidelity-tracker@.service" >"$root$doc/examples/fidelity-tracker@.service"
if [ -d "$ROOT/dist/share" ]; then
  cp -r "$ROOT/dist/share/." "$root/usr/share/"
  # Where Debian's zsh looks.
  if [ -d "$root/usr/share/zsh" ]; then mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"; fi
  find "$root/usr/share/man" -type f -exec gzip -9n {} +
fi
rm "$root$lib/LICENSE"
mv "$root$lib/CHANGELOG.md" "$root$doc/changelog"
cat >"$root$doc/changelog.Debian" <<CHANGELOG
fidelity-tracker ($debian_version) stable; urgency=medium

  * Version $version: what is new stands in changelog.gz.

 -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
gzip -9n "$root$doc/changelog" "$root$doc/changelog.Debian"
cp "$node_home/LICENSE" "$root$doc/node-licences.txt"
node - "$ROOT" "$root$lib" "$NODE_VERSION" "$node_arch" >"$root$doc/copyright" <<'SCRIPT'
const { readFileSync, readdirSync } = require('node:fs')
const [, , root, lib, nodeVersion, nodeArch] = process.argv
const section = (title, text) => console.log(`${'='.repeat(78)}\n${title}\n\n${text.trim()}\n`)
section('fidelity-tracker', readFileSync(`${root}/LICENSE`, 'utf8'))
const node = `https://registry.npmjs.org/node-linux-${nodeArch}/-/node-linux-${nodeArch}-${nodeVersion}.tgz`
section(
  '/usr/lib/fidelity-tracker/bin/node',
  `Node.js ${nodeVersion}, from ${node}.\nIts licence (MIT) and those of what is in it: node-licences.txt, beside this file.`,
)
section('/usr/lib/fidelity-tracker/dist/libraries/*.js', 'Each begins with the licences of what is in it.')
const { packages } = JSON.parse(readFileSync(`${root}/package-lock.json`, 'utf8'))
for (const path of Object.keys(packages).filter((path) => path !== '').sort()) {
  let manifest
  try {
    manifest = JSON.parse(readFileSync(`${lib}/${path}/package.json`, 'utf8'))
  } catch {
    continue // what only building needs
  }
  const file = readdirSync(`${lib}/${path}`).find((name) => /^(licen[cs]e|copying)/i.test(name))
  const text = file === undefined ? `License: ${manifest.license}` : readFileSync(`${lib}/${path}/${file}`, 'utf8')
  const isApache = /Apache License\s+Version 2\.0/.test(text)
  const told = isApache ? `License: ${manifest.license}; see /usr/share/common-licenses/Apache-2.0 and ${file} there` : text
  section(`/usr/lib/fidelity-tracker/${path}: ${manifest.name} ${manifest.version}`, told)
}
SCRIPT
mkdir -p "$root/usr/share/lintian/overrides"
cp "$package/lintian-overrides" "$root/usr/share/lintian/overrides/fidelity-tracker"

# ---- the package -----------------------------------------------------------
find "$root" -type d -empty -delete
chmod -R u=rwX,go=rX "$root"
find "$root$lib" -type f ! -path "*/bin/node" -exec chmod a-x {} +
chmod 755 "$root/usr/bin/fidelity-tracker" "$root$lib/bin/node"
size=$(du -sk --apparent-size "$root" | cut -f1)
mkdir "$root/DEBIAN"
sed -e "s/@VERSION@/$debian_version/;s/@ARCH@/$arch/;s/@SIZE@/$size/" -e "s/@MAINTAINER@/$maintainer/" "$package/control" >"$root/DEBIAN/control"
printf '/etc/fidelity-tracker.toml\n' >"$root/DEBIAN/conffiles"
(cd "$root" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
for name in preinst postinst prerm postrm; do install -m 755 "$package/$name" "$root/DEBIAN/$name"; done
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
file=fidelity-tracker_${debian_version}_$arch.deb
dpkg-deb --root-owner-group "${compression[@]}" --build "$root" "$out/$file" >/dev/null
say "$file: $(du -m "$out/$file" | cut -f1) MB, installed $((size / 1024)) MB"
printf '%s\n' "$out/$file"
