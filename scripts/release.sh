#!/usr/bin/env bash
# Makes the files of a release, and says what to type to publish them; itself it commits, tags and publishes nothing.
#   scripts/release.sh VERSION             for example 0.2.0, or 0.2.0-rc.1
#   scripts/release.sh --dry-run VERSION   the same with the packages that are installed here, and nothing is kept
# With --without-deb no Debian packages are made, which takes minutes.
# The work tree must be clean, VERSION newer than package.json's (or the same, and not tagged yet), and CHANGELOG.md must
# have a section `## VERSION`. Then package.json and package-lock.json have the version, and release/ has the tarball, its
# SBOM (CycloneDX), the Debian packages for amd64 and arm64, and SHA256SUMS. The tarball is made twice, in two fresh copies
# of the commit; both must be the same. It is the same on another machine with the same Node and npm, which the SBOM names:
# a dry run on the tag shows the sums.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
say() { printf 'release: %s\n' "$*" >&2; }
fail() { printf 'release: error: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

dry='' version='' architectures=(amd64 arm64)
for word; do
  case $word in
    --dry-run) dry=1 ;;
    --without-deb) architectures=() ;;
    -h | --help) usage; exit 0 ;;
    -*) usage >&2; fail "unknown option $word" ;;
    *) [ -z "$version" ] || fail 'one version at a time'; version=$word ;;
  esac
done
[ -n "$version" ] || { usage >&2; fail 'which version?'; }

setup_node
cd "$ROOT"

# ---- may it be released ----------------------------------------------------
number='(0|[1-9][0-9]*)' part='(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)'
[[ $version =~ ^$number\.$number\.$number(-$part(\.$part)*)?$ ]] || fail "$version is no version: wanted is 1.2.3 or 1.2.3-rc.1"
[ "$(git rev-parse --show-toplevel)" = "$ROOT" ] || fail "$ROOT is no git clone"
[ -z "$(git status --porcelain)" ] || fail 'the work tree is not clean: commit or stash first (git status)'
# A dry run on the tag itself is how anybody checks what was published.
tagged=$(git rev-parse -q --verify "refs/tags/v$version^{commit}" || true)
if [ -n "$tagged" ] && { [ -z "$dry" ] || [ "$tagged" != "$(git rev-parse HEAD)" ]; }; then
  fail "$version is tagged already (v$version)"
fi
current=$(node -p 'require("./package.json").version')
# As sort -V counts, `~` comes before the end: 1.2.3-rc.1 before 1.2.3.
newest=$(printf '%s\n' "${current/-/\~}" "${version/-/\~}" | sort -V | tail -n 1)
[ "$newest" = "${version/-/\~}" ] || fail "$version is older than package.json's $current"
section=$(awk -v heading="## $version" '/^## / { inside = $0 == heading || index($0, heading " ") == 1; next } inside' CHANGELOG.md)
[ -n "${section//[[:space:]]/}" ] || fail "CHANGELOG.md has no section \"## $version\" with text in it"

# ---- made twice ------------------------------------------------------------
# The modes of files are in the tarball.
umask 022
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=fidelity-tracker-$version

# make_tarball FOLDER: a copy of the commit with the new version, in a folder of the package's own name (npm puts that
# into the SBOM), and its tarball beside it.
make_tarball() {
  local copy="$1/fidelity-tracker"
  mkdir -p "$copy"
  git archive HEAD | tar -xf - -C "$copy"
  if [ -n "$dry" ]; then ln -s "$ROOT/node_modules" "$copy/node_modules"
  else (cd "$copy" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error) >&2 || fail 'npm ci failed (above)'
  fi
  (
    cd "$copy" \
      && npm version --no-git-tag-version --allow-same-version --loglevel=error "$version" \
      && npm pack --loglevel=error --pack-destination "$1"
  ) >&2 || fail 'the tarball could not be made (above)'
}
if [ -n "$dry" ] && [ ! -d node_modules ]; then fail '--dry-run needs the packages: npm ci'; fi
say "making $name.tgz"
make_tarball "$work/one"
say 'making it again'
make_tarball "$work/two"
if ! cmp -s "$work/one/$name.tgz" "$work/two/$name.tgz"; then
  for folder in one two; do tar -xzf "$work/$folder/$name.tgz" -C "$work/$folder"; done
  diff -r "$work/one/package" "$work/two/package" >&2 || true
  fail 'made twice from the same commit, the tarball is not the same (what differs is above)'
fi

# ---- SBOM and sums ---------------------------------------------------------
# What is installed with it on any platform, as the lock file has it, and what was built into it; of the time at which
# CHANGELOG.md got the section (the tag's commit is not there yet), and without npm's random number, so that it comes out
# the same again.
options=(--sbom-format cyclonedx --sbom-type application --package-lock-only --loglevel=error)
(cd "$work/one/fidelity-tracker" && npm sbom "${options[@]}") >"$work/sbom.json" || fail 'the SBOM could not be made (above)'
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct -- CHANGELOG.md)
export SOURCE_DATE_EPOCH
node - "$work/sbom.json" "$work/one/fidelity-tracker" >"$work/one/$name.cdx.json" <<'SCRIPT'
const [sbom, builtIn] = [process.argv[2], `${process.argv[3]}/dist/libraries/packages.json`].map((path) =>
  JSON.parse(require('node:fs').readFileSync(path, 'utf8')),
)
const isBuiltIn = ({ name, version }) => builtIn[name] === version
const isDev = ({ properties }) => properties.some(({ name }) => name === 'cdx:npm:package:development')
const left = sbom.components.filter((component) => isBuiltIn(component) || !isDev(component))
sbom.components = left.map((component) => (isBuiltIn(component) ? { ...component, scope: 'required', properties: [] } : component))
const refs = new Set([sbom.metadata.component, ...left].map((component) => component['bom-ref']))
sbom.dependencies = sbom.dependencies
  .filter(({ ref }) => refs.has(ref))
  .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((ref) => refs.has(ref)) }))
delete sbom.serialNumber
sbom.metadata.tools.push({ vendor: 'nodejs.org', name: 'node', version: process.versions.node });
sbom.metadata.timestamp = new Date(process.env.SOURCE_DATE_EPOCH * 1000).toISOString()
console.log(JSON.stringify(sbom, null, 2))
SCRIPT
files=("$name.tgz" "$name.cdx.json")
for arch in "${architectures[@]}"; do
  say "making the Debian package for $arch"
  deb=$(SANDBOX_TOOLS=$TOOLS "$work/one/fidelity-tracker/scripts/deb.sh" --arch "$arch" "$work/one") || fail 'it could not be made (above)'
  files+=("$(basename "$deb")")
done
(cd "$work/one" && sha256sum "${files[@]}" >SHA256SUMS)
cat "$work/one/SHA256SUMS"
if [ -n "$dry" ]; then say 'nothing was kept (--dry-run)'; exit 0; fi

# ---- kept ------------------------------------------------------------------
rm -rf release
mkdir release
(cd "$work/one" && cp "${files[@]}" SHA256SUMS "$ROOT/release/")
cp "$work/one/fidelity-tracker/package.json" "$work/one/fidelity-tracker/package-lock.json" .

say 'the files are in release/. To publish them, when the tests pass (scripts/test.sh):'
if [ -n "$(git status --porcelain)" ]; then printf "git commit -m 'Release %s' package.json package-lock.json\n" "$version"; fi
printf "git tag -a v%s -m 'fidelity-tracker %s'\n" "$version" "$version"
case $version in
  *-*) printf 'npm publish --tag next ./release/%s.tgz\n' "$name" ;;
  *) printf 'npm publish ./release/%s.tgz\n' "$name" ;;
esac
printf 'git push --follow-tags   # and put the files beside the tag\n'
