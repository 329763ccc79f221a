#!/bin/bash
# Runs a make target in a clean Debian, to prove that the source tree needs nothing beside itself.
#
#   scripts/clean_root.sh SUITE FOLDER [TARGET]...
#
# SUITE is bookworm or trixie. FOLDER/SUITE becomes the root of a Debian with nothing but `make`,
# made by debootstrap from the mirror of this machine's apt; a root that is already there is used
# as it stands. The last commit of this tree is unpacked in it, and each TARGET (default: test)
# runs there. What the network of this machine asks for goes along: resolv.conf, the Acquire
# options of apt, PIP_* variables, certificates. Needs root, debootstrap and git.

set -euo pipefail
cd "$(dirname "$0")/.."

if (($# < 2)); then
  echo "usage: scripts/clean_root.sh SUITE FOLDER [TARGET]..." >&2
  exit 2
fi
readonly SUITE=$1
ROOT=$(realpath -m "$2/$SUITE")
readonly ROOT
shift 2
readonly TARGETS=("${@:-test}")
readonly CERTIFICATES=/etc/octet-host-certificates.crt

mirror() {
  # shellcheck disable=SC2016  # apt-get expands these
  apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(COMPONENT) $(CODENAME)' |
    awk '$2 == "Debian" && $3 == "main" && $4 !~ /-/ { print $1; exit }'
}

make_root() {
  local uri
  uri=$(mirror)
  [[ -n $uri ]] || { echo "clean_root: apt has no Debian source to take the mirror from" >&2; exit 1; }
  echo "clean_root: debootstrap $SUITE from $uri into $ROOT"
  mkdir -p "$ROOT"
  debootstrap --variant=minbase --include=make "$SUITE" "$ROOT" "$uri" >"$ROOT.log"
}

copy_network_settings() {
  cp -L /etc/resolv.conf "$ROOT/etc/resolv.conf"
  apt-config dump | grep '^Acquire::' >"$ROOT/etc/apt/apt.conf.d/99host" || true
  local bundle=${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}
  if [[ -f $bundle ]]; then cp -L "$bundle" "$ROOT$CERTIFICATES"; fi
}

# The variables a target sees in the root; nothing else of this machine's environment.
environment() {
  printf '%s\n' PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root LANG=C.UTF-8 "TERM=${TERM:-dumb}"
  env | grep '^PIP_' | grep -v -e '^PIP_CERT=' -e '^PIP_FIND_LINKS=' || true
  if [[ -f $ROOT$CERTIFICATES ]]; then
    printf '%s\n' "PIP_CERT=$CERTIFICATES" "SSL_CERT_FILE=$CERTIFICATES"
  fi
}

# The mounts live in a namespace of their own and end with it.
run_in_root() {
  local variables
  mapfile -t variables < <(environment)
  # shellcheck disable=SC2016  # expanded by the inner shell
  unshare --mount bash -c '
    root=$1; shift
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/dev/shm" 2>/dev/null || true
    exec chroot "$root" "$@"' bash "$ROOT" env -i "${variables[@]}" "$@"
}

if [[ ! -x $ROOT/bin/bash ]]; then make_root; fi
copy_network_settings
mkdir -p "$ROOT/octet"
find "$ROOT/octet" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
git archive HEAD | tar -x -C "$ROOT/octet"

times=""
for target in "${TARGETS[@]}"; do
  echo "clean_root: $SUITE: make $target"
  start=$SECONDS
  result=passed
  run_in_root make -C /octet "$target" || result=FAILED
  times+="clean_root: $SUITE: make $target: $result after $((SECONDS - start)) s"$'\n'
  [[ $result == passed ]] || break
done
printf '%s' "$times"
[[ $result == passed ]]
