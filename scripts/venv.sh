#!/bin/bash
# Makes the Python environment of the tests, build/venv, if it is not there or out of date.
#
#   scripts/venv.sh           what tests/requirements.txt pins
#   scripts/venv.sh --bench   the peers of tests/requirements-bench.txt too

set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV=build/venv
requirements=tests/requirements.txt
stamp=$VENV/.tests
case ${1:-} in
  "") ;;
  --bench)
    requirements=tests/requirements-bench.txt
    stamp=$VENV/.bench
    ;;
  *)
    echo "venv: error: unknown argument '$1'; there is only --bench" >&2
    exit 1
    ;;
esac

# The stamp holds what was installed: the pins, and the Python they were installed for.
wanted=$(
  python3 --version
  cat tests/requirements.txt "$requirements"
)
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then exit 0; fi

echo "venv: installing $requirements into $VENV"
if ! [[ -x $VENV/bin/python && $("$VENV/bin/python" --version 2>&1) == "$(python3 --version)" ]]; then
  rm -rf "$VENV"
  python3 -m venv "$VENV"
fi
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: \
  -r "$requirements"
echo "$wanted" >"$stamp"
echo "venv: done in $SECONDS s"
