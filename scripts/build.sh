#!/bin/bash
# Configures and builds one preset of CMakePresets.json: scripts/build.sh PRESET [TARGET...]
# Shows progress and errors; what CMake finds on the way is in build/PRESET-configure.log.

set -euo pipefail
cd "$(dirname "$0")/.."

readonly PRESET=$1
readonly TARGETS=("${@:2}")
readonly LOG=build/$PRESET-configure.log

mkdir -p build
if ! cmake --preset "$PRESET" >"$LOG" 2>&1; then
  cat "$LOG" >&2
  exit 1
fi
echo "build: preset $PRESET in build/$PRESET"
NINJA_STATUS='[%f/%t %es] ' cmake --build --preset "$PRESET" "${TARGETS[@]/#/--target=}"
