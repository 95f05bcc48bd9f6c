#!/usr/bin/env bash
# A whole market in a sandbox: a regtest chain, a private Tor network, makers with real bonds, the daemon, and takers'
# questions answered over the onion service. Stays until Ctrl-C; --once ends after the answers (exit 0 when all is right).
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help) sed -n '2,3{s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
esac
setup_all
cd "$ROOT"
exec node scripts/demo.ts "$@"
