#!/bin/bash
# The long checks, for before a release: every part runs, whatever became of those before it.
# Ends with a table of parts, results and times, and fails if a part failed.

set -uo pipefail
cd "$(dirname "$0")/.." || exit

readonly PYTHON=build/venv/bin/python
table=""
failed=0

# part NAME COMMAND...
part() {
  local name=$1 start=$SECONDS result=passed
  shift
  echo "=== $name"
  if ! "$@"; then
    result=FAILED
    failed=1
  fi
  table+=$(printf '%-44s %s %6d s' "$name" "$result" $((SECONDS - start)))$'\n'
}

# sanitizer PRESET: builds and runs what the preset's tests select
sanitizer() { scripts/build.sh "$1" && ctest --preset "$1" --parallel "$(nproc)"; }

tidy_all() { scripts/build.sh dev && "$PYTHON" tests/lint/check_tidy.py --all; }

report_page() { scripts/build.sh dev octet && ctest --preset all -R 'e2e.report_page_test'; }

alert_drill() {
  scripts/build.sh dev octet &&
    OCTET_BINARY=build/dev/server/octet "$PYTHON" -m tests.observability.drill
}

peers() { scripts/build.sh release measured_model && "$PYTHON" tests/bench/run.py --quick; }

part "asan+ubsan: unit, property, conformance, e2e" sanitizer asan
part "tsan: everything behind gRPC" sanitizer tsan
part "clang-tidy: every file" tidy_all
part "the report's page in a browser" report_page
part "alerts fire and resolve: a drill" alert_drill
part "comparison with peers" peers

echo "=== check"
printf '%s' "$table"
exit "$failed"
