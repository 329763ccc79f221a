#!/bin/bash
# A real Kubernetes of one node, from plain processes, in a network namespace of its own:
#
#   tests/deploy/cluster.sh up     a new one: etcd, API server, controllers, scheduler, containerd,
#                                  kubelet, kube-proxy, CoreDNS, metrics-server; the node is ready
#   tests/deploy/cluster.sh down   ends it and what ran on it
#   tests/deploy/cluster.sh check  whether this machine can run one
#   tests/deploy/cluster.sh run COMMAND...   kubectl or anything else, in its network
#
# Needs the programs of `tools.sh cluster`, the archives of `image.sh build`, and the Debian packages
# listed below. As root, on a machine that is no node of another cluster. Works where
# CAP_SYS_RESOURCE is missing. Nothing in it reaches the outside.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

readonly PODS=10.244.0.0/16 SERVICES=10.96.0.0/16
readonly NODE_STATE=$CLUSTER/node
readonly SOCKET=$NODE_STATE/containerd.sock
readonly PROGRAMS=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy
  coredns metrics-server helm kubectl)
readonly PACKAGES=(containerd runc containernetworking-plugins nftables conntrack iproute2 openssl)
# In the order in which they end; containerd before those that keep its state.
readonly PROCESSES=(metrics-server kubelet kube-proxy coredns containerd kube-scheduler
  kube-controller-manager kube-apiserver etcd)
export KUBECONFIG=$CLUSTER/kubeconfig

# start NAME COMMAND...: in the background, in the cluster's network, with a log and a file of its
# process number. The programs in between replace themselves, so that the number is the command's.
start() {
  local name=$1
  shift
  nohup nsenter --net="/run/netns/$NETWORK" "$@" >"$LOGS/$name.log" 2>&1 </dev/null &
  echo $! >"$CLUSTER/$name.pid"
}

await() {
  local what=$1 seconds=$2 end=$((SECONDS + $2))
  shift 2
  while ((SECONDS < end)); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  die "not in $seconds s: $what; logs are in $LOGS"
}

network() {
  ip netns add "$NETWORK"
  in_cluster ip link set lo up
  in_cluster ip link add node0 type bridge
  in_cluster ip addr add "$NODE/24" dev node0
  in_cluster ip link set node0 up
  # There is nothing there; but programs look for a default route.
  in_cluster ip route add default via 10.200.0.254 dev node0 onlink
  in_cluster sysctl -qw net.ipv4.ip_forward=1
}

certificates() {
  local pki=$CLUSTER/pki
  mkdir -p "$pki"
  openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=octet-test -keyout "$pki/ca.key" \
    -out "$pki/ca.crt" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -subj /CN=kube-apiserver -keyout "$pki/api.key" \
    -out "$pki/api.csr" 2>/dev/null
  openssl x509 -req -in "$pki/api.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial \
    -days 30 -out "$pki/api.crt" -extfile <(echo "subjectAltName=IP:127.0.0.1,IP:$NODE,\
IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default.svc") 2>/dev/null
  local token
  token=$(openssl rand -hex 16)
  echo "$token,admin,admin,system:masters" >"$pki/tokens.csv"
  cat >"$KUBECONFIG" <<END
apiVersion: v1
kind: Config
clusters:
  - name: test
    cluster: {server: "https://$NODE:6443", certificate-authority: $pki/ca.crt}
users: [{name: admin, user: {token: "$token"}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
END
}

control_plane() {
  local pki=$CLUSTER/pki
  local own=(--kubeconfig="$KUBECONFIG" --authentication-kubeconfig="$KUBECONFIG"
    --authorization-kubeconfig="$KUBECONFIG")
  start etcd "$BIN/etcd" --data-dir "$CLUSTER/etcd" --unsafe-no-fsync \
    --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380
  # The requestheader flags are for metrics-server, which the API server forwards to.
  start kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
    --bind-address=0.0.0.0 --advertise-address="$NODE" --secure-port=6443 \
    --tls-cert-file="$pki/api.crt" --tls-private-key-file="$pki/api.key" \
    --client-ca-file="$pki/ca.crt" --token-auth-file="$pki/tokens.csv" \
    --service-account-key-file="$pki/sa.key" --service-account-signing-key-file="$pki/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-cluster-ip-range=$SERVICES --authorization-mode=Node,RBAC --allow-privileged=true \
    --kubelet-preferred-address-types=InternalIP --kubelet-client-certificate="$pki/api.crt" \
    --kubelet-client-key="$pki/api.key" --requestheader-client-ca-file="$pki/ca.crt" \
    --requestheader-allowed-names=kube-apiserver \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$pki/api.crt" --proxy-client-key-file="$pki/api.key" \
    --enable-aggregator-routing=true
  await "API server ready" 300 in_cluster kubectl get --raw /readyz
  start kube-controller-manager "$BIN/kube-controller-manager" "${own[@]}" \
    --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" \
    --use-service-account-credentials=true --leader-elect=false --bind-address=127.0.0.1 \
    --allocate-node-cidrs=true --cluster-cidr=$PODS --service-cluster-ip-range=$SERVICES
  start kube-scheduler "$BIN/kube-scheduler" "${own[@]}" --leader-elect=false \
    --bind-address=127.0.0.1
}

node_files() {
  mkdir -p "$NODE_STATE"/{cni,containerd,kubelet,state,own}
  cat >"$NODE_STATE/cni/10-octet.conflist" <<'END'
{"cniVersion": "0.4.0", "name": "octet", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": false}]}
END
  # oom_score: without CAP_SYS_RESOURCE it cannot be lowered.
  cat >"$NODE_STATE/containerd.toml" <<END
version = 2
root = "$NODE_STATE/containerd"
state = "$NODE_STATE/state"
oom_score = 0
[grpc]
  address = "$NODE_STATE/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:test"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "$(command -v runc)"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$NODE_STATE/cni"
END
  cat >"$NODE_STATE/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $CLUSTER/pki/ca.crt}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
containerRuntimeEndpoint: unix://$NODE_STATE/containerd.sock
resolvConf: ""
clusterDNS: [$NODE]
clusterDomain: cluster.local
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
# A minute unless said otherwise: changes of ConfigMaps would be waited for that long.
syncFrequency: 5s
END
}

# The kubelet sets kernel flags of the whole machine: in a mount namespace of the node, files with
# the wanted values stand over them. There, too, the half of a hybrid cgroup hierarchy that is
# version 2 is out of sight, which runtimes would take for all of it; and what is written to fixed
# places (logs and networks of pods) stays in the cluster's folder.
# shellcheck disable=SC2016  # expanded by the shell that runs it
readonly NODE_NAMESPACE='
  set -e
  mount --make-rprivate /
  ! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
  for flag in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=$1/own/$(echo "${flag%=*}" | tr / -)
    echo "${flag#*=}" >"$file"
    [[ ! -e /proc/sys/${flag%=*} ]] || mount --bind "$file" "/proc/sys/${flag%=*}"
  done
  for folder in /var/log /var/lib/cni /run/netns /run/containerd; do
    mkdir -p "$1/own$folder" "$folder"
    mount --bind "$1/own$folder" "$folder"
  done
  mount --make-rshared /
  exec containerd -c "$1/containerd.toml"'

node() {
  local archive
  node_files
  start containerd unshare -m bash -c "$NODE_NAMESPACE" node "$NODE_STATE"
  await "containerd" 60 ctr -a "$SOCKET" version
  for archive in pause octet; do
    ctr -a "$SOCKET" -n k8s.io images import "$ROOT/images/$archive.tar" >/dev/null
  done
  # In containerd's mount namespace: the kubelet's mounts must be seen there.
  start kubelet nsenter --mount --target "$(<"$CLUSTER/containerd.pid")" \
    "$BIN/kubelet" --config="$NODE_STATE/kubelet.yaml" --kubeconfig="$KUBECONFIG" \
    --hostname-override=node --node-ip="$NODE" --root-dir="$NODE_STATE/kubelet" \
    --cert-dir="$NODE_STATE/kubelet/pki"
  start kube-proxy "$BIN/kube-proxy" --kubeconfig="$KUBECONFIG" --hostname-override=node \
    --proxy-mode=nftables --cluster-cidr=$PODS --conntrack-max-per-core=0 \
    --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0 --oom-score-adj=0
  await "node ready" 300 in_cluster kubectl wait --for=condition=Ready node/node --timeout=1s
}

# A process beside the kubelet, at the node's address, which the kubelet tells pods to ask.
names() {
  cat >"$CLUSTER/Corefile" <<EOF
cluster.local {
  bind $NODE
  errors
  kubernetes {
    kubeconfig $KUBECONFIG
  }
}
EOF
  start coredns "$BIN/coredns" -conf "$CLUSTER/Corefile"
}

# Another process beside the kubelet, which the API server finds as an aggregated API.
metrics() {
  in_cluster kubectl apply -f - >/dev/null <<END
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  group: metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics-server, namespace: kube-system}
---
apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec: {ports: [{port: 443, targetPort: 4443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: metrics-server-1
  namespace: kube-system
  labels: {kubernetes.io/service-name: metrics-server}
addressType: IPv4
ports: [{port: 4443}]
endpoints: [{addresses: ["$NODE"], conditions: {ready: true}}]
END
  start metrics-server "$BIN/metrics-server" --kubeconfig="$KUBECONFIG" \
    --authentication-kubeconfig="$KUBECONFIG" --authorization-kubeconfig="$KUBECONFIG" \
    --secure-port=4443 --cert-dir="$CLUSTER/metrics-server" --kubelet-insecure-tls \
    --kubelet-preferred-address-types=InternalIP --metric-resolution=15s
}

# Of the machine, before anything is built for it.
check() {
  local name
  ((EUID == 0)) || die "this needs root"
  for name in containerd runc nft conntrack openssl ip /usr/lib/cni/bridge; do
    command -v "$name" >/dev/null || die "$name is missing; packages: ${PACKAGES[*]}"
  done
}

up() {
  local begin=$SECONDS name
  check
  for name in "${PROGRAMS[@]}"; do
    [[ -x $BIN/$name ]] || die "$BIN/$name is missing: tests/deploy/tools.sh cluster"
  done
  for name in octet pause; do
    [[ -f $ROOT/images/$name.tar ]] || die "no image: tests/deploy/image.sh build"
  done
  [[ ! -d $CLUSTER ]] || down
  # A kubelet ends the pods that it does not know.
  [[ -z $(kubepods) ]] || die "this machine has pods already: $(kubepods | head -n 1)"
  mkdir -p "$CLUSTER"
  network
  certificates
  control_plane
  node
  names
  metrics
  say "up after $((SECONDS - begin)) s"
}

kubepods() { find /sys/fs/cgroup -maxdepth 2 -type d -name 'kubepods*' 2>/dev/null; }

end_process() {
  local process=$1
  kill "$process" 2>/dev/null || return 0
  for ((i = 0; i < 100; i++)); do
    kill -0 "$process" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -9 "$process" 2>/dev/null || true
}

# What runs in containers outlives containerd.
end_containers() {
  local task
  for task in $(ctr -a "$SOCKET" -n k8s.io tasks ls -q 2>/dev/null); do
    ctr -a "$SOCKET" -n k8s.io tasks delete --force "$task" >/dev/null 2>&1 || true
  done
}

down() {
  local name
  for name in "${PROCESSES[@]}"; do
    [[ -f $CLUSTER/$name.pid ]] || continue
    [[ $name != containerd ]] || end_containers
    end_process "$(<"$CLUSTER/$name.pid")"
  done
  ip netns del "$NETWORK" 2>/dev/null || true
  kubepods | while read -r name; do
    find "$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  rm -rf "$CLUSTER"
  say "down"
}

case ${1:-} in
  up | down | check) "$1" ;;
  run)
    shift
    in_cluster "$@"
    ;;
  *) die "unknown argument '${1:-}'; there are up, down, check and run" ;;
esac
