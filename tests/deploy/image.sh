#!/bin/bash
# Builds the image of the Dockerfile without a container engine's daemon, and shows what it is.
#
#   tests/deploy/image.sh build    the image localhost/octet:test, and OCI archives for a cluster
#   tests/deploy/image.sh check    runs it as the cluster does: not root, nothing writable; asks it
#   tests/deploy/image.sh base     only the base image, from the machine's Debian mirror
#
# Needs Debian's buildah, podman, runc and, where no registry can be reached, mmdebstrap. As root.
# A build takes about ten minutes of a core.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# Without a daemon; the storage is ours alone. runc and cgroupfs work where systemd does not run;
# the limits are those that a process without CAP_SYS_RESOURCE can set.
export CONTAINERS_STORAGE_CONF=$ROOT/storage.conf CONTAINERS_CONF=$ROOT/containers.conf
cat >"$CONTAINERS_STORAGE_CONF" <<EOF
[storage]
driver = "overlay"
graphroot = "$ROOT/containers/graph"
runroot = "$ROOT/containers/run"
EOF
cat >"$CONTAINERS_CONF" <<EOF
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
EOF

readonly IMAGE=localhost/octet:test
readonly BASE=docker.io/library/debian:trixie-slim

now() { date +%s%N; }
milliseconds_since() { echo $((($(now) - $1) / 1000000)); }

# What the official image is made of too; manual pages and the like are left out alike.
bootstrap_base() {
  local tar=$ROOT/images/trixie-slim.tar mirror
  # shellcheck disable=SC2016  # apt-get expands it
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
  if [[ ! -s $tar ]]; then
    mmdebstrap --variant=minbase --aptopt='Apt::Install-Recommends "false"' \
      --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
      --dpkgopt='path-include=/usr/share/doc/*/copyright' \
      --dpkgopt='path-exclude=/usr/share/locale/*' trixie "$tar" "$mirror"
  fi
  podman import -c 'CMD ["bash"]' "$tar" "$BASE"
}

base() {
  podman image exists "$BASE" || podman pull -q "$BASE" 2>/dev/null || bootstrap_base
}

# The process that keeps a pod's namespaces; clusters without a registry need one of their own.
pause_image() {
  local folder=$ROOT/build/pause
  mkdir -p "$folder"
  cat >"$folder/pause.c" <<'END'
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void stop(int signal) { (void)signal; _exit(0); }
static void reap(int signal) {
  (void)signal;
  while (waitpid(-1, 0, WNOHANG) > 0) {}
}
int main(void) {
  signal(SIGINT, stop);
  signal(SIGTERM, stop);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
END
  gcc -Os -static -o "$folder/pause" "$folder/pause.c"
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$folder/Dockerfile"
  buildah build -q --isolation chroot -t localhost/pause:test "$folder" >/dev/null
}

archive() {
  rm -f "$ROOT/images/$2"
  podman save -q --format oci-archive -o "$ROOT/images/$2" "$1"
}

build() {
  local start
  base
  start=$(now)
  # The format of Docker: that of OCI knows no HEALTHCHECK.
  buildah build --isolation chroot --pull-never --layers --format docker -t "$IMAGE" \
    --build-arg VERSION="$(version)" --build-arg CREATED="$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    --build-arg REVISION="$(git -C "$REPOSITORY" rev-parse HEAD 2>/dev/null || echo unknown)" \
    "$REPOSITORY"
  say "built in $(($(milliseconds_since "$start") / 1000)) s"
  pause_image
  archive "$IMAGE" octet.tar
  archive localhost/pause:test pause.tar
  size
}

version() { sed -n 's/^project(octet VERSION \([0-9.]*\).*/\1/p' "$REPOSITORY/CMakeLists.txt"; }

size_of() { podman image inspect --format '{{.Size}}' "$1"; }

size() {
  local whole base
  whole=$(size_of "$IMAGE")
  base=$(size_of "$BASE")
  say "$((whole / 1000000)) MB, of which $(((whole - base) / 1000000)) MB over the base"
}

expect() {
  local what=$1
  shift
  "$@" >/dev/null || die "$what: failed"
  say "$what: ok"
}

check() {
  local container start ready
  size
  start=$(now)
  container=$(podman run -d --network none --read-only --cap-drop ALL \
    --security-opt no-new-privileges --memory 512m "$IMAGE")
  # shellcheck disable=SC2064  # the container of now
  trap "podman rm -f -t 0 $container >/dev/null" EXIT
  until podman exec "$container" octet probe >/dev/null 2>&1; do
    [[ $(podman inspect -f '{{.State.Running}}' "$container") == true ]] ||
      die "ended: $(podman logs "$container" 2>&1 | tail -n 5)"
  done
  ready=$(milliseconds_since "$start")
  say "start to ready: $ready ms, of which the example's load is in the log"
  podman logs "$container" 2>&1 | grep -E 'model ready|digits/' || true
  expect "runs as user 10001" \
    grep -q '^Uid:.10001.10001' "/proc/$(podman inspect -f '{{.State.Pid}}' "$container")/status"
  expect "has no capabilities" \
    grep -q '^CapEff:.0*$' "/proc/$(podman inspect -f '{{.State.Pid}}' "$container")/status"
  expect "cannot write to its root" \
    podman exec "$container" sh -c '! touch /etc/octet/x /usr/bin/x /x 2>/dev/null'
  expect "health check of the image" podman healthcheck run "$container"
  expect "answers inference" podman exec "$container" \
    octet bench --target 127.0.0.1:8001 --model digits --clients 1 --duration 0.2
  expect "SBOM is valid JSON that lists oneDNN" bash -c \
    "podman exec $container cat /usr/share/doc/octet/sbom.spdx.json | python3 -c '
import json, sys
names = {package[\"name\"] for package in json.load(sys.stdin)[\"packages\"]}
assert {\"octet\", \"libdnnl3.6\", \"libgrpc++1.51t64\"} <= names, names'"
  start=$(now)
  podman stop -t 60 "$container" >/dev/null
  expect "SIGTERM ends it with exit code 0" \
    test "$(podman inspect -f '{{.State.ExitCode}}' "$container")" = 0
  say "stopped in $(milliseconds_since "$start") ms"
}

case ${1:-} in
  build | check | base) "$1" ;;
  *) die "unknown argument '${1:-}'; there are build, check and base" ;;
esac
