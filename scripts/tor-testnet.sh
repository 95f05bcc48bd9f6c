#!/usr/bin/env bash
# A private Tor network on 127.0.0.1, for tests and the demo.
#   tor-testnet.sh start  DIR    start (idempotent), wait until an onion service answers
#   tor-testnet.sh stop   DIR    stop only the processes this script started for DIR
#   tor-testnet.sh status DIR    print the state; exit 0 = up, 3 = down
#
# One directory authority (also a relay), four relays, and clients with a SOCKS and a control port each: with fewer
# relays a client bootstraps but no onion service answers. The Vanilla scheduler, because the default one waits up to
# 10 ms at every hop; no exits; voting held back until the authority has every descriptor.
#
# Environment:
#   TT_BASE              the first of 2 + TT_RELAYS + 2 x TT_CLIENTS ports that follow each other and are free; needed by start
# and, optional:
#   TT_CLIENTS=2         clients
#   TT_RELAYS=4          relays besides the authority
#   TT_PASSWORD=testnet  password behind HashedControlPassword, beside the cookie
#   TT_EXTRA_CLIENT=     further torrc lines for the clients (\n between them)
#   TT_VOTE=1800         seconds between two consensuses; the directories' time period has 24 of them (12 h)
#   TT_TIMEOUT=120       give up after that many seconds
#   TT_TOR=tor TT_GENCERT=tor-gencert
# shellcheck disable=SC2046,SC2086,SC1007  # node names hold no spaces; `x=` empties x
set -u
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
umask 077

AUTHS=1 RELAYS=${TT_RELAYS:-4} CLIENTS=${TT_CLIENTS:-2} VOTE=${TT_VOTE:-1800}
PASSWORD=${TT_PASSWORD:-testnet} TIMEOUT=${TT_TIMEOUT:-120}
TOR=${TT_TOR:-tor} GENCERT=${TT_GENCERT:-tor-gencert}
EXTRA_CLIENT=${TT_EXTRA_CLIENT:-}

say() { printf 'tor-testnet: %s\n' "$*" >&2; }
die() { [ -n "${STARTING:-}" ] && stop_nodes $(nodes); printf 'tor-testnet: %s\n' "$*" >&2; exit 1; }
now_ms() { local t=${EPOCHREALTIME/[.,]/}; printf '%s' "${t:0:-3}"; }
since() { local d=$(( $(now_ms) - T0 )); printf '%d.%03d' $((d/1000)) $((d%1000)); }

# ---- processes -------------------------------------------------------------
# A pid file holds "PID STARTTIME"; the start time (field 22 of /proc/PID/stat)
# guards against a recycled pid.
starttime() { local s; s=$(cat "/proc/$1/stat" 2>/dev/null) || return 1; s=${s##*) }; set -- $s; printf '%s' "${20}"; }
alive() { # alive NODE -> pid on stdout
  local pid st; [ -r "$DIR/$1/pid" ] || return 1
  read -r pid st < "$DIR/$1/pid" || return 1
  [ "$(starttime "$pid")" = "$st" ] || return 1
  [ "$(sed 's/.*) \(.\).*/\1/' "/proc/$pid/stat" 2>/dev/null)" != Z ] || return 1
  printf '%s' "$pid"
}
launch() { # launch NODE
  alive "$1" >/dev/null && return 0
  rm -f "$DIR/$1/data/control_auth_cookie"
  setsid "$TOR" --hush --defaults-torrc "$DIR/empty" -f "$DIR/$1/torrc" </dev/null >"$DIR/$1/stdout" 2>&1 9>&- &
  local pid=$!; disown "$pid" 2>/dev/null
  printf '%s %s\n' "$pid" "$(starttime "$pid")" > "$DIR/$1/pid"
}
nodes() { local n; for n in "$DIR"/{auth,relay,client}[0-9]*; do [ -d "$n" ] && printf '%s\n' "${n##*/}"; done; }
stop_nodes() { # stop_nodes NODE...
  local n pid i any
  for n; do pid=$(alive "$n") && kill -TERM "$pid" 2>/dev/null; done
  for i in {1..50}; do any=
    for n; do alive "$n" >/dev/null && any=1; done
    [ -z "$any" ] && break; sleep 0.1
  done
  for n; do pid=$(alive "$n") && kill -KILL "$pid" 2>/dev/null; done
  for n; do rm -f "$DIR/$n/pid"; done
}

# ---- ports -----------------------------------------------------------------
port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# ---- control port (bash only) ------------------------------------------------
hexcookie() { od -An -v -tx1 "$1" | tr -d ' \n'; }
ctl() { # ctl CLIENT COMMAND -> the reply lines
  local c=$1 fd line; shift
  exec {fd}<>"/dev/tcp/127.0.0.1/$(ctlport "$c")" || return 1
  printf 'AUTHENTICATE %s\r\n%s\r\nQUIT\r\n' "$(hexcookie "$DIR/$c/data/control_auth_cookie")" "$*" >&"$fd"
  timeout 10 cat <&"$fd" | tr -d '\r'
  exec {fd}>&-
}
socksport() { sed -n 's/^SocksPort 127.0.0.1:\([0-9]*\).*/\1/p' "$DIR/$1/torrc"; }
ctlport()   { sed -n 's/^ControlPort 127.0.0.1:\([0-9]*\).*/\1/p' "$DIR/$1/torrc"; }
dirport()   { sed -n 's/^DirPort 127.0.0.1:\([0-9]*\).*/\1/p' "$DIR/$1/torrc"; }
bootstrapped() { ctl "$1" 'GETINFO status/bootstrap-phase' 2>/dev/null | grep -q 'PROGRESS=100 '; }
socks_get() { # socks_get SOCKSPORT HOST PORT PATH : HTTP GET through SOCKS5, remote names
  local fd code h=$2
  exec {fd}<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf '\x05\x01\x00' >&"$fd"
  [ "$(timeout 5 head -c 2 <&"$fd" | od -An -tx1 | tr -d ' ')" = 0500 ] || { exec {fd}>&-; return 1; }
  printf "\\x05\\x01\\x00\\x03\\x$(printf %02x ${#h})%s\\x$(printf %02x $(($3 / 256)))\\x$(printf %02x $(($3 % 256)))" "$h" >&"$fd"
  code=$(timeout 30 head -c 10 <&"$fd" | od -An -tx1 | tr -d ' \n')
  [ "${code:0:4}" = 0500 ] || { exec {fd}>&-; return 1; }
  printf 'GET %s HTTP/1.0\r\n\r\n' "$4" >&"$fd"
  timeout 10 head -c 4096 <&"$fd" | tr -d '\r\0'
  exec {fd}>&-
}
probe() { # probe CLIENT SECONDS : publish an onion service, reach it through SOCKS, remove it
  local c=$1 fd line id= up= dp end=$((SECONDS + ${2:-60})) rc=1; dp=$(dirport auth0)
  exec {fd}<>"/dev/tcp/127.0.0.1/$(ctlport "$c")" || return 1
  printf 'AUTHENTICATE %s\r\nSETEVENTS HS_DESC\r\nADD_ONION NEW:ED25519-V3 Flags=DiscardPK Port=80,127.0.0.1:%s\r\n' \
    "$(hexcookie "$DIR/$c/data/control_auth_cookie")" "$dp" >&"$fd"
  while [ $SECONDS -lt $end ] && read -r -t $((end - SECONDS + 1)) line <&"$fd"; do
    line=${line%$'\r'}
    case $line in
      250-ServiceID=*) id=${line#*=};;
      "650 HS_DESC UPLOADED ${id:-none} "*) up=1; break;;
      5*) break;;
    esac
  done
  if [ -n "$up" ]; then
    while [ $SECONDS -lt $end ]; do
      socks_get "$(socksport "$c")" "$id.onion" 80 /tor/status-vote/current/consensus 2>/dev/null |
        grep -q '^HTTP/1.0 200' && { rc=0; break; }
      sleep 0.2
    done
  fi
  exec {fd}>&-          # not detached: the service goes with the connection
  return $rc
}

# ---- configuration -----------------------------------------------------------
write_common() { # write_common NODE
  cat <<T
TestingTorNetwork 1
DataDirectory $DIR/$1/data
PidFile $DIR/$1/tor.pid
Log notice file $DIR/$1/notice.log
SafeLogging 0
LogTimeGranularity 1
ShutdownWaitLength 0
DisableDebuggerAttachment 0
PathsNeededToBuildCircuits 0.67
GeoIPFile /dev/null
GeoIPv6File /dev/null
Schedulers Vanilla
T
  cat "$DIR/dirauthorities" 2>/dev/null
}
relay_lines() { # relay_lines NODE ORPORT
  cat <<T
Nickname $1
Address 127.0.0.1
ORPort 127.0.0.1:$2
SocksPort 0
AssumeReachable 1
ExitRelay 0
ExitPolicy reject *:*
ContactInfo none
BandwidthRate 1 GBytes
BandwidthBurst 1 GBytes
TestingMinTimeToReportBandwidth 1 day
T
}
auth_lines() { # auth_lines NODE DIRPORT
  cat <<T
AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
DirPort 127.0.0.1:$2
AuthDirTestReachability 0
AuthDirMaxServersPerAddr 0
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingMinExitFlagThreshold 0
AuthDirVoteStableGuaranteeMinUptime 0
AuthDirVoteStableGuaranteeMTBF 0
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVoteDelay 2
V3AuthDistDelay 2
V3AuthNIntervalsValid 48
T
}

keygen() { # keygen NODE ORPORT : long-term keys; the fingerprint goes to data/fingerprint
  [ -s "$DIR/$1/data/fingerprint" ] || "$TOR" --quiet --defaults-torrc "$DIR/empty" -f "$DIR/empty" --DataDirectory "$DIR/$1/data" \
    --ORPort "127.0.0.1:$2" --Nickname "$1" --ExitRelay 0 --list-fingerprint >"$DIR/$1/keygen.log" 2>&1 || die "keys of $1: $(cat "$DIR/$1/keygen.log")"
}
configure() {
  local i n b=$1 fp v3 pids=()
  chmod 700 "$DIR"; : > "$DIR/empty"
  for ((i = 0; i < AUTHS; i++)); do mkdir -p "$DIR/auth$i/data/keys"; done      # umask 077: mode 0700
  for ((i = 0; i < RELAYS; i++)); do mkdir -p "$DIR/relay$i/data"; done
  for ((i = 0; i < CLIENTS; i++)); do mkdir -p "$DIR/client$i/data"; done
  # keys, in parallel: a single slow RSA-3072 search (tor-gencert) must not hold up the others
  for ((i = 0; i < AUTHS; i++)); do (
    cd "$DIR/auth$i/data/keys" || exit 1
    [ -s authority_certificate ] || printf 'x\n' |
      "$GENCERT" --create-identity-key -m 12 -a "127.0.0.1:$((b + 2 * i + 1))" --passphrase-fd 0 >"$DIR/auth$i/gencert.log" 2>&1
  ) & pids+=($!); done
  for ((i = 0; i < AUTHS; i++)); do keygen auth$i $((b + 2 * i)); done
  for ((i = 0; i < RELAYS; i++)); do keygen relay$i $((b + 2 * AUTHS + i)); done
  for i in "${pids[@]}"; do wait "$i" || die "tor-gencert failed (see $DIR/auth*/gencert.log)"; done
  : > "$DIR/dirauthorities.new"
  for ((i = 0; i < AUTHS; i++)); do n=auth$i
    v3=$(sed -n 's/^fingerprint //p' "$DIR/$n/data/keys/authority_certificate")
    fp=$(sed -n "s/^$n //p" "$DIR/$n/data/fingerprint" | tr -d ' ')
    [ ${#v3} = 40 ] && [ ${#fp} = 40 ] || die "no fingerprint for $n"
    echo "DirAuthority $n orport=$((b + 2 * i)) no-v2 v3ident=$v3 127.0.0.1:$((b + 2 * i + 1)) $fp" >> "$DIR/dirauthorities.new"
  done
  mv "$DIR/dirauthorities.new" "$DIR/dirauthorities"
  for ((i = 0; i < AUTHS; i++)); do n=auth$i
    { write_common $n; relay_lines $n $((b + 2 * i)); auth_lines $n $((b + 2 * i + 1)); } > "$DIR/$n/torrc"
  done
  for ((i = 0; i < RELAYS; i++)); do n=relay$i
    { write_common $n; relay_lines $n $((b + 2 * AUTHS + i)); } > "$DIR/$n/torrc"
  done
  local hash; hash=$("$TOR" --quiet --hash-password "$PASSWORD")
  for ((i = 0; i < CLIENTS; i++)); do n=client$i
    { write_common $n; cat <<T
ClientOnly 1
SocksPort 127.0.0.1:$((b + 2 * AUTHS + RELAYS + 2 * i)) IsolateSOCKSAuth KeepAliveIsolateSOCKSAuth
ControlPort 127.0.0.1:$((b + 2 * AUTHS + RELAYS + 2 * i + 1))
CookieAuthentication 1
CookieAuthFile $DIR/$n/data/control_auth_cookie
HashedControlPassword $hash
T
      [ -n "$EXTRA_CLIENT" ] && printf '%b\n' "$EXTRA_CLIENT"
    } > "$DIR/$n/torrc"
  done
  # everybody knows the authorities' certificates from the start: no fetch, no 10 s retry
  cat "$DIR"/auth*/data/keys/authority_certificate > "$DIR/certs"
  for n in $(nodes); do cp "$DIR/certs" "$DIR/$n/data/cached-certs"; done
}
seed_client() { # directory documents from auth0's disk, where the client has none
  local f src="$DIR/auth0/data" dst="$DIR/$1/data"
  for f in cached-microdesc-consensus cached-microdescs cached-microdescs.new; do
    [ -s "$src/$f" ] && cp "$src/$f" "$dst/$f"
  done
}
# Voting is held back until every authority has every descriptor, then called at once:
# the schedule is written to the torrc and the authority told to reread it (SIGHUP).
schedule() { # schedule INITIAL_INTERVAL OFFSET INTERVAL ; tor refuses an offset beyond either interval
  local i t
  for ((i = 0; i < AUTHS; i++)); do t="$DIR/auth$i/torrc"
    sed -i '/^TestingV3AuthInitialVotingInterval\|^TestingV3AuthVotingStartOffset\|^V3AuthVotingInterval/d' "$t"
    printf 'TestingV3AuthInitialVotingInterval %d\nTestingV3AuthVotingStartOffset %d\nV3AuthVotingInterval %d\n' "$@" >> "$t"
  done
}
schedule_far() { local now; now=$(date +%s); schedule 1800 $(((now - 60) % 1800)) $((VOTE > 1800 ? VOTE : 1800)); }    # next vote in 29 minutes
vote_now() { local i pid now; now=$(date +%s)
  schedule 5 $(((now + 2) % 5)) "$VOTE"
  for ((i = 0; i < AUTHS; i++)); do pid=$(alive auth$i) && kill -HUP "$pid"; done
}
descriptors() { # descriptors AUTH -> how many relay descriptors it holds
  local fd
  { exec {fd}<>"/dev/tcp/127.0.0.1/$(dirport "$1")"; } 2>/dev/null || { echo 0; return; }
  printf 'GET /tor/server/all HTTP/1.0\r\n\r\n' >&"$fd"
  timeout 5 cat <&"$fd" | tr -d '\0' | grep -c '^router '
  exec {fd}>&-
}
consensus_relays() { # number of relays in auth0's newest live consensus, 0 if none
  local f="$DIR/auth0/data/cached-microdesc-consensus" vu
  [ -s "$f" ] || { echo 0; return; }
  vu=$(sed -n 's/^valid-until //p' "$f")
  [ -n "$vu" ] && [ "$(date -u -d "$vu" +%s)" -gt "$(date +%s)" ] || { echo 0; return; }
  grep -c '^s .*HSDir.*Running' "$f"
}
relays_alive() { local n; for n in $(nodes); do case $n in client*) ;; *) alive $n >/dev/null || die "$n died: $(tail -n 3 "$DIR/$n/stdout" "$DIR/$n/notice.log" 2>/dev/null)";; esac; done; }
in_time() { [ $SECONDS -lt $end ] || die "not in time: $*"; }
print_info() {
  local n
  for n in $(nodes); do case $n in client*)
    printf '%s socks=127.0.0.1:%s control=127.0.0.1:%s cookie=%s\n' "$n" "$(socksport $n)" "$(ctlport $n)" "$DIR/$n/data/control_auth_cookie";;
  esac; done
}
all_up() { local n; [ -d "$DIR/client0" ] || return 1; for n in $(nodes); do alive "$n" >/dev/null || return 1; done; }

start() {
  T0=$(now_ms); local i n want=$((AUTHS + RELAYS)) end base
  command -v "$TOR" >/dev/null || die "no tor"; command -v "$GENCERT" >/dev/null || die "no tor-gencert"
  mkdir -p "$DIR" || exit 1
  exec 9>"$DIR/.lock"; flock -w "$TIMEOUT" 9 || die "another start holds $DIR/.lock"
  if all_up && bootstrapped client0; then say "already up"; print_info; return 0; fi
  STARTING=1
  local shape="$CLIENTS $PASSWORD $EXTRA_CLIENT"
  local nports=$((2 * AUTHS + RELAYS + 2 * CLIENTS)) p reuse= any=
  for n in $(nodes); do alive "$n" >/dev/null && any=1; done
  if [ -s "$DIR/base" ] && [ "$(cat "$DIR/shape" 2>/dev/null)" = "$shape" ]; then
    base=$(cat "$DIR/base"); reuse=1
    [ "$TT_BASE" != "$base" ] && reuse=
    # some node lives on: only the missing ones are started; none lives: the ports must be free
    [ -z "$any" ] && for ((p = base; p < base + nports; p++)); do port_free $p || reuse=; done
    [ -n "$any" ] && [ "$(consensus_relays)" -lt "$want" ] && stop_nodes $(nodes)
  fi
  if [ -z "$reuse" ]; then
    stop_nodes $(nodes)
    rm -rf "$DIR"/{auth,relay,client}[0-9]* "$DIR/dirauthorities" "$DIR/shape"
    base=$TT_BASE
    for ((p = base; p < base + nports; p++)); do port_free $p || die "port $p is in use"; done
  fi
  [ -n "$reuse" ] || { configure "$base"; echo "$base" > "$DIR/base"; echo "$shape" > "$DIR/shape"; }
  say "[$(since)] keys and torrc files written, ports $base-$((base + nports - 1))"
  end=$((SECONDS + TIMEOUT))
  # 1. authorities and relays; wait for a consensus that lists all of them
  if [ "$(consensus_relays)" -lt "$want" ]; then
    rm -rf "$DIR"/*/data/{cached-consensus,cached-microdesc-consensus,unverified-*,diff-cache}
    schedule_far
    for ((i = 0; i < AUTHS; i++)); do launch auth$i; done
    for ((i = 0; i < RELAYS; i++)); do launch relay$i; done
    for ((i = 0; i < AUTHS; i++)); do
      until [ "$(descriptors auth$i)" -ge "$want" ]; do relays_alive; in_time "auth$i has $(descriptors auth$i) of $want descriptors"; sleep 0.1; done
    done
    say "[$(since)] the authorities have all $want descriptors"
    vote_now
    until [ "$(consensus_relays)" -ge "$want" ]; do relays_alive; in_time "consensus lists $(consensus_relays) of $want relays"; sleep 0.1; done
    say "[$(since)] consensus with $want relays"
  else
    for n in $(nodes); do case $n in client*) ;; *) launch "$n";; esac; done
    say "[$(since)] the cached consensus is still valid: used"
  fi
  # 2. clients
  for ((i = 0; i < CLIENTS; i++)); do alive client$i >/dev/null || { seed_client client$i; launch client$i; }; done
  for ((i = 0; i < CLIENTS; i++)); do
    until [ -s "$DIR/client$i/data/control_auth_cookie" ] && bootstrapped client$i; do
      [ $SECONDS -lt $end ] || die "client$i did not bootstrap: $(tail -n 3 "$DIR/client$i/notice.log")"
      alive client$i >/dev/null || die "client$i died: $(tail -n 3 "$DIR/client$i/notice.log")"
      sleep 0.05
    done
  done
  say "[$(since)] clients bootstrapped (100%)"
  # 3. an onion service really answers
  probe client0 $((end - SECONDS)) || die "no onion service answered"
  say "[$(since)] an onion service answered through SOCKS"
  print_info
}
status() {
  local n pid rc=0 any=
  for n in $(nodes); do any=1
    if pid=$(alive "$n"); then echo "$n up pid=$pid rss_kb=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' /proc/$pid/status)"
    else echo "$n down"; rc=3; fi
  done
  [ -n "$any" ] || { echo "nothing in $DIR"; return 3; }
  [ $rc = 0 ] && { ctl client0 'GETINFO status/bootstrap-phase' | grep bootstrap-phase; print_info; }
  return $rc
}

[ $# -ge 2 ] || die "usage: $0 start|stop|status DIR"
case $1 in start) mkdir -p "$2" 2>/dev/null;; stop) [ -d "$2" ] || exit 0;; status) [ -d "$2" ] || { echo "nothing in $2"; exit 3; };; esac
DIR=$(cd "$2" 2>/dev/null && pwd) || die "no directory $2"
case $1 in
  start) : "${TT_BASE:?the first of the ports to take}"; start;;
  stop) stop_nodes $(nodes);;
  status) status;;
  *) die "usage: $0 start|stop|status DIR";;
esac
