#!/usr/bin/env bash
# A whole market in a sandbox: a regtest chain, a private Tor network, makers with real bonds, the daemon, and takers'
# questions answered over the onion service. Stays until Ctrl-C; --once ends after the answers (exit 0 when all is right).
# --three: three trackers as one instead: one PostgreSQL, one onion address; the one that holds it is killed.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help) sed -n '2,4{s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
esac
demo=scripts/demo.ts
if [ "${1:-}" = --three ] || [ "${2:-}" = --three ]; then
  demo=scripts/demo-three.ts
  for arg; do
    shift
    if [ "$arg" != --three ]; then set -- "$@" "$arg"; fi
  done
fi
setup_all
if [ $demo = scripts/demo-three.ts ]; then setup_postgres; fi
cd "$ROOT"
exec node $demo "$@"
