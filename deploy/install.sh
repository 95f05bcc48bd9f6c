#!/usr/bin/env bash
# Installs fidelity-tracker on Debian or a derivative, as a service of systemd; or takes it away again.
#   sudo deploy/install.sh               shows what will be done, asks, does it
#   sudo deploy/install.sh --yes         without asking
#   deploy/install.sh --dry-run          only shows it
#   sudo deploy/install.sh --uninstall   undoes all of it but the data directory (the onion key is in there)
#   sudo deploy/install.sh --uninstall --purge   the data directory and the settings too
# Options:
#   --cookie FILE      bitcoind's cookie (else looked for in the usual places)
#   --network NAME     main (default), testnet3, testnet4, signet, regtest
#   --root FOLDER      a system in FOLDER instead of this one: nothing is started there
# Where there is no Node 22.14 or later it brings one from npm's registry, and it builds what isn't built.
# A second run brings a new version; settings and data stay as they are.
set -euo pipefail

USER_NAME=fidelity-tracker
HERE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
ROOT=''
ACTION=install
ASK=1
DRY=''
PURGE=''
COOKIE=''
NETWORK=''

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
need_package() { have "$1" || fail "$1 is missing: apt install $2"; }
# shellcheck source=deploy/bring-node.sh
. "$HERE/deploy/bring-node.sh"
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

while [ $# -gt 0 ]; do
  case $1 in
    --uninstall) ACTION=uninstall ;;
    --purge) PURGE=1 ;;
    --dry-run) DRY=1 ;;
    --yes) ASK='' ;;
    --cookie) COOKIE=${2:?--cookie wants a file}; shift ;;
    --network) NETWORK=${2:?--network wants a name}; shift ;;
    --root) ROOT=$(cd -- "${2:?--root wants a folder}" && pwd -P); shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown option $1" ;;
  esac
  shift
done
case $NETWORK in mainnet) NETWORK=main ;; testnet) NETWORK=testnet3 ;; esac
case $NETWORK in '' | main | testnet3 | testnet4 | signet | regtest) ;; *) fail "--network $NETWORK is none of main, testnet3, testnet4, signet, regtest" ;; esac
[ -z "$PURGE" ] || [ "$ACTION" = uninstall ] || fail '--purge goes with --uninstall'

# Where things go. Names without $ROOT are those that the installed system sees.
PROGRAM=/opt/fidelity-tracker
COMMAND=/usr/local/bin/fidelity-tracker
SETTINGS=/etc/fidelity-tracker.toml
DATA=/var/lib/fidelity-tracker
SHARE=/usr/local/share
UNIT=/etc/systemd/system/fidelity-tracker.service
TORRC=/etc/tor/torrc
# What we added ourselves, so that only that is taken away again.
RECORD=$PROGRAM/installed-by-install.sh
TORRC_BEGIN='# fidelity-tracker begin (install.sh --uninstall removes these lines)'
TORRC_END='# fidelity-tracker end'

has_user() { grep -q "^$1:" "$ROOT/etc/passwd"; }
has_group() { grep -q "^$1:" "$ROOT/etc/group"; }
in_group() { grep "^$2:" "$ROOT/etc/group" | cut -d: -f4 | tr , '\n' | grep -qx "$1"; }
# The user's ids in that system, as uid:gid.
ids_of() { grep "^$1:" "$ROOT/etc/passwd" | cut -d: -f3,4; }
group_name() { grep "^[^:]*:[^:]*:$1:" "$ROOT/etc/group" | cut -d: -f1; }
prefix() { if [ -n "$ROOT" ]; then printf '%s\n' --prefix "$ROOT"; fi; }
# systemd is there to be told, and it is this system's.
is_live() { [ -z "$ROOT" ] && [ -d /run/systemd/system ]; }
has_torrc_line() { grep -qiE "^[[:space:]]*$1([[:space:]]|\$)" "$ROOT$TORRC"; }

# ---- what is there ---------------------------------------------------------
find_node() {
  local node major minor
  for node in "$HERE/.tools"/node-*/bin/node "$(command -v node || true)" "$ROOT$PROGRAM/bin/node"; do
    [ -x "$node" ] || continue
    IFS=. read -r major minor _ <<<"$("$node" -p process.versions.node)"
    if [ "$major" -gt 22 ] || { [ "$major" = 22 ] && [ "$minor" -ge 14 ]; }; then readlink -f -- "$node"; return; fi
  done
}

# A clone that is not built, or was changed since.
must_build() {
  [ -d "$HERE/src" ] || return 1
  [ -d "$HERE/node_modules" ] && [ -f "$HERE/dist/main.js" ] || return 0
  [ -n "$(find "$HERE/src" "$HERE/package.json" "$HERE/tsconfig.build.json" "$HERE/scripts/one-file.mjs" -newer "$HERE/dist/main.js" -print -quit)" ]
}

# What the settings file that is there says of a setting.
setting() { sed -nE "s/^[[:space:]]*$1[[:space:]]*=[[:space:]]*[\"']([^\"']*)[\"'].*/\1/p" "$ROOT$SETTINGS" 2>/dev/null | head -n 1 || true; }
# A password for bitcoind is there, in the settings or in a drop-in of the unit.
has_auth() { [ -n "$(setting auth)" ] || grep -rqs FIDELITY_TRACKER_AUTH= "$ROOT$UNIT.d"; }

find_cookie() {
  local sub folder
  case $NETWORK in main) sub='' ;; *) sub=/$NETWORK ;; esac
  for folder in /var/lib/bitcoind /var/lib/bitcoin /srv/bitcoin /home/bitcoin/.bitcoin; do
    if [ -e "$ROOT$folder$sub/.cookie" ]; then printf '%s\n' "$folder$sub/.cookie"; return; fi
  done
}

# torrc lines that are not there yet, whoever wrote those that are.
missing_torrc_lines() {
  has_torrc_line SocksPort || say 'SocksPort 127.0.0.1:9050 IsolateSOCKSAuth'
  has_torrc_line ControlPort || say 'ControlPort 127.0.0.1:9051'
  has_torrc_line CookieAuthentication || say 'CookieAuthentication 1'
  has_torrc_line CookieAuthFileGroupReadable || say 'CookieAuthFileGroupReadable 1'
}

# ---- what will be done: the same list is shown and executed ----------------
STEPS=()
ADVICE=()
step() { STEPS+=("$1" "$2"); } # step FUNCTION WORDS

BROUGHT=$HERE/.tools/node-$NODE_VERSION
OWNER=$(stat -c %U "$HERE")
plan_install() {
  NODE=$(find_node)
  if [ ! -f "$HERE/package.json" ] || { [ ! -f "$HERE/dist/main.js" ] && [ ! -d "$HERE/src" ]; }; then
    fail "$HERE is neither a clone of fidelity-tracker nor its package: there is no program to install"
  fi
  [ ! -e "$ROOT/usr/lib/fidelity-tracker" ] || fail "it is installed as a Debian package: that one is upgraded by apt, or removed first (settings and data stay): apt remove fidelity-tracker"
  [ -f "$ROOT$TORRC" ] || fail "Tor is not installed: apt install tor"
  known_settings
  if [ -z "$NODE" ] || { must_build && ! have npm && [ ! -x "$BROUGHT/bin/npm" ]; }; then
    NODE=$BROUGHT/bin/node
    step bring "bring Node $NODE_VERSION and npm $NPM_VERSION from $REGISTRY, checked by SHA-512, to $BROUGHT"
  fi
  if must_build; then step build "as $OWNER, build it in $HERE: npm ci --ignore-scripts && npm run build"; fi
  has_user $USER_NAME || step add_user "add the system user $USER_NAME, without a shell or a password"
  step copy_program "copy the program and $NODE to $PROGRAM, and make the command $COMMAND, its man page and completions"
  if [ ! -e "$ROOT$SETTINGS" ]; then
    step write_settings "write $SETTINGS: network $NETWORK, data in $DATA, bitcoind's cookie ${COOKIE:-NOT FOUND: name it there}"
  fi
  step make_data "make $DATA, for $USER_NAME alone"
  if [ -n "$(missing_torrc_lines)" ]; then
    step edit_torrc "append to $TORRC (kept as $TORRC.before-fidelity-tracker):
$(missing_torrc_lines | sed 's/^/         /')"
  fi
  if has_group debian-tor && ! in_group $USER_NAME debian-tor; then
    step join_tor "add $USER_NAME to the group debian-tor, for Tor's cookie"
  fi
  if [ -n "$COOKIE" ] || ! has_auth; then plan_cookie_group; fi
  step write_unit "write $UNIT"
  if is_live; then step start_service 'reload Tor and systemd, enable and start the service'; fi
}

# Network and cookie are those of the settings that are there; of what was named else, the advice says where to write it.
known_settings() {
  local network cookie
  if [ -e "$ROOT$SETTINGS" ]; then
    network=$(setting network) cookie=$(setting cookie-file)
    case ${network:-main} in mainnet) network=main ;; testnet) network=testnet3 ;; esac
    if [ -n "$NETWORK" ] && [ "$NETWORK" != "${network:-main}" ]; then ADVICE+=("$SETTINGS stays as it is: write network = \"$NETWORK\" there yourself"); fi
    if [ -n "$COOKIE" ] && [ "$COOKIE" != "$cookie" ]; then ADVICE+=("$SETTINGS stays as it is: write cookie-file = \"$COOKIE\" there yourself"); fi
    NETWORK=${network:-main}
    COOKIE=${COOKIE:-$cookie}
    if [ -n "$COOKIE" ] || has_auth; then return 0; fi
  fi
  NETWORK=${NETWORK:-main}
  [ -n "$COOKIE" ] || COOKIE=$(find_cookie)
}

# The cookie's group, where bitcoind lets a group read it; the advice else.
COOKIE_GROUP=''
plan_cookie_group() {
  local folder group
  if [ -z "$COOKIE" ]; then
    ADVICE+=("bitcoind's cookie was not found. Name it as cookie-file in $SETTINGS (doctor says how to let $USER_NAME read it), then: sudo systemctl restart fidelity-tracker")
    return 0
  fi
  case $COOKIE in
    /home/* | /root/*) ADVICE+=("The service can't see home directories: see docs/operating.md, \"bitcoind in a home directory\".") ;;
  esac
  folder=$ROOT$(dirname -- "$COOKIE")
  if [ ! -d "$folder" ]; then
    ADVICE+=("There is no folder $(dirname -- "$COOKIE") yet: run this again when bitcoind has started once.")
    return 0
  fi
  group=$(group_name "$(stat -c %g "$folder")")
  if [ -n "$group" ] && [ "$group" != root ]; then
    COOKIE_GROUP=$group
    in_group $USER_NAME "$group" || step join_bitcoin "add $USER_NAME to the group $group, for bitcoind's cookie"
  fi
  if [ -z "$(find "$folder" -maxdepth 0 -perm -g+x)" ]; then
    ADVICE+=("bitcoind keeps its folder to itself: sudo chmod g+x $(dirname -- "$COOKIE")")
  fi
  if [ -e "$ROOT$COOKIE" ] && [ -z "$(find "$ROOT$COOKIE" -perm -g+r)" ]; then
    ADVICE+=("bitcoind keeps its cookie to itself: put rpccookieperms=group into bitcoin.conf, then: sudo systemctl restart bitcoind")
  fi
}

plan_uninstall() {
  if is_live; then step stop_service 'stop and disable the service'; fi
  [ ! -e "$ROOT$UNIT" ] || step remove_unit "remove $UNIT"
  if [ -f "$ROOT$TORRC" ] && grep -qxF "$TORRC_BEGIN" "$ROOT$TORRC"; then
    step restore_torrc "take our lines out of $TORRC, and have it read again"
  fi
  if [ -e "$ROOT$COMMAND" ] || [ -e "$ROOT$PROGRAM" ]; then step remove_program "remove $PROGRAM, $COMMAND, its man page and completions"; fi
  if [ -n "$PURGE" ]; then
    [ ! -e "$ROOT$SETTINGS" ] || step remove_settings "remove $SETTINGS"
    [ ! -e "$ROOT$DATA" ] || step remove_data "remove $DATA WITH THE ONION KEY: the address is lost for ever"
    ! has_user $USER_NAME || step remove_user "remove the user $USER_NAME from its groups and from the system"
  else
    if has_user $USER_NAME; then step leave_groups "take $USER_NAME out of the groups of Tor and bitcoind"; fi
    [ ! -e "$ROOT$DATA" ] || say "Left where they are (--purge removes them): $DATA, $SETTINGS, the user $USER_NAME."
  fi
}

# ---- the steps -------------------------------------------------------------
# As whoever the clone belongs to, so that it stays theirs.
as_owner() {
  if [ "$(id -u)" != 0 ] || [ "$OWNER" = root ]; then "$@"
  else runuser -u "$OWNER" -- env HOME="$(getent passwd "$OWNER" | cut -d: -f6)" "$@"; fi
}
bring() {
  export -f say fail have need_package
  # shellcheck disable=SC2016  # the inner shell's
  as_owner bash -euc '. "$1/deploy/bring-node.sh"; bring_node "$NODE_VERSION" "$2"; bring_npm "$2"' bash "$HERE" "$BROUGHT" || exit 1
}
build() {
  # shellcheck disable=SC2016
  as_owner env PATH="$(dirname -- "$NODE"):$BROUGHT/bin:$PATH" sh -euc 'cd "$1"; npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error; npm run --silent build' sh "$HERE" \
    || fail 'it could not be built (above); nothing was installed'
}
record() { mkdir -p "$ROOT$PROGRAM"; grep -qxF "$*" "$ROOT$RECORD" 2>/dev/null || printf '%s\n' "$*" >>"$ROOT$RECORD"; }
recorded() { sed -n "s/^$1 //p" "$ROOT$RECORD" 2>/dev/null; }
own() { if [ "$(id -u)" = 0 ]; then chown -R "$(ids_of $USER_NAME)" "$1"; fi; }

add_user() {
  # shellcheck disable=SC2046  # two words or none
  useradd $(prefix) --system --user-group --no-create-home --home-dir "$DATA" --shell /usr/sbin/nologin "$USER_NAME"
}
copy_program() {
  local new="$ROOT$PROGRAM.new" old="$ROOT$PROGRAM.old"
  rm -rf "$new" "$old"
  mkdir -p "$new/bin" "$ROOT$(dirname "$COMMAND")"
  "$NODE" "$HERE/deploy/copy-program.mjs" "$HERE" "$new"
  cp -L "$NODE" "$new/bin/node"
  chmod -R u+w "$new"
  chmod 755 "$new" "$new/bin" "$new/bin/node"
  if [ "$(id -u)" = 0 ]; then chown -R 0:0 "$new"; fi
  chmod -R go+rX "$new"
  if [ -e "$ROOT$RECORD" ]; then cp "$ROOT$RECORD" "$new/"; fi
  if [ -e "$ROOT$PROGRAM" ]; then mv "$ROOT$PROGRAM" "$old"; fi
  mv "$new" "$ROOT$PROGRAM"
  rm -rf "$old"
  sed "s#@PROGRAM@#$PROGRAM#g" "$HERE/deploy/command.sh" >"$ROOT$COMMAND"
  chmod 755 "$ROOT$COMMAND"
  copy_share
}
# Man page and completions, as the build left them, instead of those of the version before.
copy_share() {
  local file folder part
  remove_share
  [ -d "$HERE/dist/share" ] || return 0
  while IFS= read -r file; do
    folder=${SHARE%/*}
    for part in ${SHARE##*/} $(dirname "$file" | tr / ' '); do
      folder=$folder/$part
      if [ ! -d "$ROOT$folder" ]; then install -d -m 755 "$ROOT$folder"; record "folder $folder"; fi
    done
    install -m 644 "$HERE/dist/share/$file" "$ROOT$SHARE/$file"
    record "file $SHARE/$file"
  done < <(cd "$HERE/dist/share" && find . -type f -printf '%P\n' | sort)
}
remove_share() {
  local path
  while IFS= read -r path; do rm -f "$ROOT$path"; done < <(recorded file)
  while IFS= read -r path; do rmdir --ignore-fail-on-non-empty "$ROOT$path" 2>/dev/null || true; done < <(recorded folder | tac)
  [ ! -e "$ROOT$RECORD" ] || sed -i '/^file /d;/^folder /d' "$ROOT$RECORD"
}
write_settings() {
  {
    printf '# Settings of fidelity-tracker; all of them: fidelity-tracker print-config\n'
    printf 'network = "%s"\ndatadir = "%s"\n' "$NETWORK" "$DATA"
    if [ -n "$COOKIE" ]; then printf 'cookie-file = "%s"\n' "$COOKIE"
    else printf '# bitcoind'"'"'s cookie, or auth = "user:password":\n#cookie-file = "/var/lib/bitcoind/.cookie"\n'; fi
  } >"$ROOT$SETTINGS"
  # It may come to hold a password: root's and the service's alone.
  if [ "$(id -u)" = 0 ]; then chown "0:$(ids_of $USER_NAME | cut -d: -f2)" "$ROOT$SETTINGS"; fi
  chmod 640 "$ROOT$SETTINGS"
}
make_data() { mkdir -p "$ROOT$DATA"; chmod 700 "$ROOT$DATA"; own "$ROOT$DATA"; }
edit_torrc() {
  local lines
  lines=$(missing_torrc_lines)
  cp -a "$ROOT$TORRC" "$ROOT$TORRC.before-fidelity-tracker"
  printf '%s\n%s\n%s\n' "$TORRC_BEGIN" "$lines" "$TORRC_END" >>"$ROOT$TORRC"
}
# shellcheck disable=SC2046  # two words or none
join() { usermod $(prefix) -aG "$1" "$USER_NAME"; record "group $1"; }
join_tor() { join debian-tor; }
join_bitcoin() { join "$COOKIE_GROUP"; }
write_unit() {
  mkdir -p "$ROOT$(dirname "$UNIT")"
  install -m 644 "$HERE/deploy/systemd/fidelity-tracker.service" "$ROOT$UNIT"
}
start_service() {
  systemctl daemon-reload
  systemctl reload-or-restart tor
  systemctl enable fidelity-tracker
  systemctl restart fidelity-tracker
}
stop_service() { systemctl disable --now fidelity-tracker 2>/dev/null || true; }
remove_unit() {
  rm -f "$ROOT$UNIT"
  if is_live; then
    systemctl daemon-reload
    systemctl reset-failed fidelity-tracker 2>/dev/null || true
  fi
}
restore_torrc() {
  local fresh="$ROOT$TORRC.new"
  # Only our lines: what was changed since stays.
  cp -a "$ROOT$TORRC" "$fresh"
  sed "/^# fidelity-tracker begin /,/^$TORRC_END\$/d" "$ROOT$TORRC" >"$fresh"
  mv "$fresh" "$ROOT$TORRC"
  rm -f "$ROOT$TORRC.before-fidelity-tracker"
  if is_live; then systemctl reload-or-restart tor; fi
}
GROUPS_JOINED=''
remove_program() { GROUPS_JOINED=$(recorded group); remove_share; rm -rf "$ROOT${PROGRAM:?}" "$ROOT${COMMAND:?}"; }
leave_groups() {
  local group file="$ROOT/etc/group"
  for group in $GROUPS_JOINED; do
    if [ -n "$ROOT" ]; then sed -i -E "/^$group:/{s/([:,])$USER_NAME(,|\$)/\1\2/;s/,,/,/;s/:,/:/;s/,\$//}" "$file"
    else gpasswd -d "$USER_NAME" "$group" >/dev/null || true; fi
  done
}
remove_settings() { rm -f "$ROOT$SETTINGS"; }
remove_data() { rm -rf "$ROOT${DATA:?}"; }
remove_user() {
  leave_groups
  # shellcheck disable=SC2046  # two words or none
  userdel $(prefix) "$USER_NAME"
  # shellcheck disable=SC2046
  if has_group "$USER_NAME"; then groupdel $(prefix) "$USER_NAME"; fi
}

# ---- show, ask, do ---------------------------------------------------------
[ -f "$ROOT/etc/debian_version" ] || fail 'this is no Debian: see docs/operating.md for installing by hand'
"plan_$ACTION"
if [ ${#STEPS[@]} -eq 0 ]; then say 'There is nothing to do.'; exit 0; fi
say "This will:"
for ((i = 0; i < ${#STEPS[@]}; i += 2)); do say "  $((i / 2 + 1)). ${STEPS[i + 1]}"; done
[ -z "$DRY" ] || { say 'Nothing was done (--dry-run).'; exit 0; }
if [ "$(id -u)" != 0 ] && [ -z "$ROOT" ]; then fail 'this needs root: run it with sudo'; fi
if [ -n "$ASK" ]; then
  read -r -p 'Go on? [y/N] ' answer || answer=''
  case $answer in y | Y | yes) ;; *) say 'Nothing was done.'; exit 1 ;; esac
fi
for ((i = 0; i < ${#STEPS[@]}; i += 2)); do "${STEPS[i]}"; done
for advice in "${ADVICE[@]}"; do say "Still to do: $advice"; done
if [ "$ACTION" = install ]; then say "Done. What it needs, checked: sudo -u $USER_NAME fidelity-tracker doctor"; else say 'Done.'; fi
