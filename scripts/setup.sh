#!/bin/bash
# Installs the Debian packages that Octet is built and tested with, if they are missing.
#
#   scripts/setup.sh          install
#   scripts/setup.sh --check  install, with the browser that the report's page is tested in, and
#                             Prometheus, which alerts and dashboards are tested with
#   scripts/setup.sh --undo   remove the Debian 13 package source that setup may have added
#
# Debian 13 has everything. Debian 12 has everything but a recent oneDNN: that one library comes
# from a Debian 13 source, pinned so low that nothing else is ever taken from it by itself. The
# source copies mirror and keyring from the machine's own sources. On other systems nothing is
# installed; what is missing is listed. Needs bash, apt and dpkg, nothing else.

set -euo pipefail
cd "$(dirname "$0")/.."

PACKAGES=(
  g++ cmake ninja-build pkg-config
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev
  prometheus-cpp-dev libcivetweb-dev libyaml-cpp-dev libcli11-dev libspdlog-dev libssl-dev libzip-dev
  libonnx-dev libhwy-dev libjpeg62-turbo-dev libpng-dev
  libgtest-dev libgmock-dev libbenchmark-dev python3 python3-venv
)
[[ ${1:-} != --check ]] || PACKAGES+=(chromium fonts-dejavu-core prometheus)
readonly PACKAGES
readonly ONEDNN=libdnnl-dev
readonly ONEDNN_AT_LEAST=3.5
readonly SOURCE=/etc/apt/sources.list.d/octet-trixie.sources
readonly PIN=/etc/apt/preferences.d/octet-trixie
readonly LOG=build/setup.log

say() { echo "setup: $*"; }
die() {
  echo "setup: error: $*" >&2
  exit 1
}

# --- What is there -------------------------------------------------------------------------------

missing_packages() {
  local installed
  installed=$(dpkg-query -W -f='${binary:Package} ${db:Status-Status}\n' "${PACKAGES[@]}" \
    2>/dev/null | awk '$2 == "installed" { sub(/:.*/, "", $1); print $1 }') || true
  printf '%s\n' "${PACKAGES[@]}" | grep -vxF "$installed" || true
}

has_onednn() {
  local version
  version=$(dpkg-query -W -f='${db:Status-Status} ${Version}' "$ONEDNN" 2>/dev/null) || return 1
  [[ $version == "installed "* ]] &&
    dpkg --compare-versions "${version#installed }" ge "$ONEDNN_AT_LEAST"
}

# --- Installing ----------------------------------------------------------------------------------

require_root() {
  ((EUID == 0)) || command -v sudo >/dev/null ||
    die "$1 needs root, and there is no sudo. As root, run: cd $PWD && make ${2}"
}

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

start_log() {
  mkdir -p build
  : >"$LOG"
}

# apt-get with its chatter in the log, which is shown if it fails.
apt() {
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 \
    -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 "$@" >>"$LOG" 2>&1 </dev/null; then
    tail -n 20 "$LOG" >&2
    die "\`apt-get $*\` failed; the whole output is in $LOG"
  fi
}

install() { apt install --no-install-recommends "$@"; }

candidate_version() { apt-cache policy "$1" | awk '$1 == "Candidate:" { print $2 }'; }

# "FILE:NUMBER URI" of the machine's source of a Debian release's main component. NUMBER is a line
# of a .list file, a stanza of a .sources file.
source_of() {
  # shellcheck disable=SC2016  # apt-get expands these
  apt-get indextargets --format \
    '$(SOURCESENTRY) $(REPO_URI) $(CODENAME) $(COMPONENT) $(CREATED_BY)' |
    awk -v codename="$1" '$3 == codename && $4 == "main" && $5 == "Packages" {
      print $1, $2; exit }'
}

# The keyring options of one source, as fields of a .sources stanza.
keyring_of() {
  local file=${1%:*} number=${1##*:}
  if [[ $file == *.sources ]]; then
    # Stanzas are parted by empty lines; a key in the file itself continues on indented lines.
    awk -v wanted="$number" '
      /^#/ { next }
      /^[ \t]*$/ { inside = 0; next }
      !inside { inside = 1; stanza++ }
      stanza != wanted { next }
      /^[^ \t]/ { copy = tolower($0) ~ /^(signed-by|trusted):/ }
      copy { print }' "$file"
  else
    sed -n "${number}p" "$file" | tr '][ ' '\n' |
      sed -n -e 's/^signed-by=/Signed-By: /p' -e 's/^trusted=/Trusted: /p' |
      sed 's/,/ /g'
  fi
}

add_trixie_source() {
  local entry origin uri keyring
  read -r entry uri <<<"$(source_of bookworm)"
  keyring=$(keyring_of "$entry")
  origin=${entry%:*}
  say "oneDNN of Debian 12 is $(candidate_version "$ONEDNN"), Octet needs $ONEDNN_AT_LEAST or newer."
  say "It will be installed from Debian 13 (trixie). For that, now:"
  say "  $SOURCE is added: $uri, mirror and keyring as in $origin"
  say "  $PIN pins it to priority 100: nothing else comes from it by itself"
  say "\`make setup-undo\` removes both files again."
  as_root tee "$SOURCE" >/dev/null <<EOF
# Added by Octet's setup for $ONEDNN; \`make setup-undo\` removes it.
Types: deb
URIs: $uri
Suites: trixie
Components: main
${keyring}
EOF
  as_root tee "$PIN" >/dev/null <<EOF
# Added by Octet's setup; \`make setup-undo\` removes it.
Package: *
Pin: release n=trixie
Pin-Priority: 100
EOF
  # An empty line (no keyring named) would end the stanza early, and two would be an error.
  as_root sed -i '/^$/d' "$SOURCE"
  apt update
}

install_onednn_from_trixie() {
  if [[ -n $(source_of trixie) ]]; then
    say "taking $ONEDNN from the Debian 13 source that apt already has"
  else
    add_trixie_source
  fi
  local upgraded
  upgraded=$(apt-get -s install --no-install-recommends -t trixie "$ONEDNN" |
    awk '$1 == "Inst" && $3 ~ /^\[/ { print $2 }' | sort | tr '\n' ' ')
  say "installing $ONEDNN from Debian 13, which also upgrades: ${upgraded:-nothing}"
  [[ $upgraded != *base-files* ]] || say "(with base-files, /etc/os-release will say Debian 13)"
  install -t trixie "$ONEDNN"
}

install_on_debian() {
  local packages
  read -r -a packages <<<"$(missing_packages | tr '\n' ' ')"
  require_root "installing ${packages[*]:-$ONEDNN}" setup
  start_log
  say "updating apt's lists"
  apt update
  if ((${#packages[@]})); then
    say "installing ${#packages[@]} packages and what they need: ${packages[*]}"
    install "${packages[@]}"
  fi
  if ! has_onednn; then
    local candidate
    candidate=$(candidate_version "$ONEDNN")
    if dpkg --compare-versions "${candidate:-0}" ge "$ONEDNN_AT_LEAST"; then
      say "installing $ONEDNN $candidate"
      install "$ONEDNN"
    elif [[ -n $(source_of bookworm) ]]; then
      # Asked of apt, not of /etc/os-release, which says 13 once base-files has been upgraded.
      install_onednn_from_trixie
    else
      die "apt offers $ONEDNN '${candidate:-none}', Octet needs $ONEDNN_AT_LEAST or newer"
    fi
  fi
  say "done in ${SECONDS} s"
}

# --- Other systems -------------------------------------------------------------------------------

# One line per requirement that is not met: command or header, and what provides it.
unmet_requirements() {
  local command header need
  while read -r command need; do
    command -v "$command" >/dev/null || echo "  command $command: $need"
  done <<'EOF'
g++ GCC 12 or newer (C++20)
cmake CMake 3.25 or newer
ninja Ninja
pkg-config pkg-config
protoc protobuf compiler 3.21 or newer
grpc_cpp_plugin gRPC's protoc plugin 1.51 or newer
python3 Python 3.11 or newer with venv (tests)
EOF
  command -v g++ >/dev/null || return 0
  while read -r header need; do
    echo "#include <$header>" | g++ -std=c++20 -DONNX_ML=1 -DONNX_NAMESPACE=onnx -E -x c++ - \
      >/dev/null 2>&1 || echo "  header $header: $need"
  done <<'EOF'
grpcpp/grpcpp.h gRPC C++ 1.51 or newer, with reflection
google/protobuf/message.h protobuf C++ 3.21 or newer
absl/status/statusor.h Abseil 20220623 or newer
prometheus/registry.h prometheus-cpp
civetweb.h civetweb
yaml-cpp/yaml.h yaml-cpp 0.7 or newer
CLI/CLI.hpp CLI11
spdlog/spdlog.h spdlog
openssl/sha.h OpenSSL 3
onnx/onnx_pb.h the protobuf classes of ONNX (libonnx) 1.12 or newer
hwy/highway.h Highway 1.0 or newer
jpeglib.h libjpeg-turbo 2.1 or newer
png.h libpng 1.6
oneapi/dnnl/dnnl.hpp oneDNN 3.5 or newer, for CPUs, OpenMP runtime
gtest/gtest.h GoogleTest
gmock/gmock.h GoogleMock
benchmark/benchmark.h Google Benchmark
EOF
}

check_other_system() {
  local unmet
  unmet=$(unmet_requirements)
  if [[ -z $unmet ]]; then
    say "not Debian 12 or 13, but everything needed seems to be here"
    return
  fi
  echo "setup: error: setup installs packages on Debian 12 and 13 only; this is ${1:-unknown}." >&2
  echo "Please install what is missing, then run make again:" >&2
  echo "$unmet" >&2
  exit 1
}

# --- Undoing -------------------------------------------------------------------------------------

undo() {
  if [[ ! -e $SOURCE && ! -e $PIN ]]; then
    say "nothing to undo: setup has added no package source here"
    return
  fi
  require_root "removing $SOURCE" setup-undo
  start_log
  as_root rm -f "$SOURCE" "$PIN"
  apt update
  say "removed $SOURCE and $PIN."
  say "Packages stay installed: $ONEDNN and what it upgraded (libc6, libstdc++6, ...) cannot be"
  say "taken back to Debian 12's versions safely. They get no security updates from now on."
  say "The other packages are Debian 12's own and can be removed with apt."
}

# --- Entry ---------------------------------------------------------------------------------------

case ${1:-} in
  "" | --check) ;;
  --undo) undo && exit ;;
  *) die "unknown argument '$1'; there are --check and --undo" ;;
esac

if command -v dpkg-query >/dev/null && [[ -z $(missing_packages) ]] && has_onednn; then
  say "all packages are installed"
  exit
fi

system=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_ID:-}") || system=""
case $system in
  "debian 12" | "debian 13") install_on_debian ;;
  *) check_other_system "$system" ;;
esac
