#!/usr/bin/env bash
# All tests, with all they need brought along. The last line is `N passed, N failed`.
#   scripts/test.sh                      lint, types, then every test
#   scripts/test.sh unit                 the unit tests
#   scripts/test.sh 'integration/reorg*' the tests whose path (under test/) begins so; wildcards as in the shell
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

setup_all
setup_checks
cd "$ROOT"
if [ $# -eq 0 ]; then
  say 'lint and types'
  npm run --silent lint
  npm run --silent typecheck
fi

files=()
while IFS= read -r file; do
  if [ $# -eq 0 ]; then files+=("$file"); continue; fi
  for pattern; do
    # shellcheck disable=SC2254  # unquoted: it may hold wildcards
    case $file in test/$pattern*) files+=("$file"); break ;; esac
  done
done < <(find test -name '*.test.ts' | sort)
[ ${#files[@]} -gt 0 ] || fail "no test matches: $*"

case " ${files[*]} " in *dashboard*) setup_chromium ;; esac
case " ${files[*]} " in *deploy-package*) setup_lowest_node ;; esac
case " ${files[*]} " in *deploy-debian*) setup_debian_base; setup_lintian ;; esac
case " ${files[*]} " in *container*) setup_containers ;; esac
case " ${files[*]} " in *onionbalance*) setup_onionbalance ;; esac
case " ${files[*]} " in *docs-commands*) setup_reader ;; esac
case " ${files[*]} " in *nostr-client*) setup_nostr_sdk ;; esac
case " ${files[*]} " in *shells*) setup_shells ;; esac
say "running ${#files[@]} test files"
exec node scripts/run-tests.mjs "${files[@]}"
