# shellcheck shell=bash disable=SC2034
# Where the deployment checks keep their programs, images and logs; sourced by the scripts here.
# OCTET_KUBERNETES_ROOT outlives `make clean`.

ROOT=${OCTET_KUBERNETES_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/octet-kubernetes}
BIN=$ROOT/bin
LOGS=$ROOT/logs
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$BIN" "$LOGS" "$ROOT/build" "$ROOT/images"
export PATH=$BIN:$PATH

say() { echo "$(basename "$0" .sh): $*"; }
die() {
  echo "$(basename "$0" .sh): error: $*" >&2
  exit 1
}

# Containers, without a daemon. Their storage and settings are ours alone. runc and cgroupfs work
# where systemd does not run; the limits are those that a process without CAP_SYS_RESOURCE can set.
export CONTAINERS_STORAGE_CONF=$ROOT/storage.conf CONTAINERS_CONF=$ROOT/containers.conf
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$ROOT/containers/graph"
runroot = "$ROOT/containers/run"
END
cat >"$CONTAINERS_CONF" <<END
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=16384:16384"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
END
