# shellcheck shell=bash disable=SC2034
# Where the deployment checks keep their programs, images and logs, and how they reach the cluster;
# sourced by the scripts here. OCTET_KUBERNETES_ROOT outlives `make clean`.

ROOT=${OCTET_KUBERNETES_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/octet-kubernetes}
BIN=$ROOT/bin
LOGS=$ROOT/logs
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$BIN" "$LOGS" "$ROOT/build" "$ROOT/images"
export PATH=$BIN:$PATH:/usr/sbin

say() { echo "$(basename "$0" .sh): $*"; }
die() {
  echo "$(basename "$0" .sh): error: $*" >&2
  exit 1
}

# The cluster's state, the name of its network namespace, and the address of its node and its DNS.
CLUSTER=$ROOT/cluster
NETWORK=octet-cluster
NODE=10.200.0.1

# A command in the cluster's network; kubectl and helm find the cluster.
in_cluster() { KUBECONFIG=$CLUSTER/kubeconfig nsenter --net="/run/netns/$NETWORK" "$@"; }
