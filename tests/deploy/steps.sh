# shellcheck shell=bash disable=SC2154
# What is shown of the chart on a cluster, a step each; sourced by kubernetes.sh, whose functions
# they use. Each begins and ends with two pods of an installation that serve the example in int8.

# A namespace in which the API server refuses pods that are not restricted as the profile says.
step_install() {
  local start
  in_cluster kubectl create namespace "$SPACE" >/dev/null
  in_cluster kubectl label namespace "$SPACE" pod-security.kubernetes.io/enforce=restricted \
    >/dev/null
  start=$(now)
  chart install "$RELEASE" "$CHART" --set image.repository=localhost/octet,image.tag=test \
    --set resources.requests.cpu=100m,resources.requests.memory=96Mi \
    --wait --timeout "${PATIENCE}s"
  say "install: two pods are ready after $(since "$start")"
  settled 2 || die "there are not two ready pods"
  all_in_mode int8 || die "not every pod serves int8"
  start_load "$(service)" --clients 1 --plain
  stop_load "requests by tritonclient failed"
  say "install: tritonclient over the Service: $result"
  start=$(now)
  chart test "$RELEASE" --timeout "${PATIENCE}s"
  say "helm test: passed after $(since "$start")"
}

# Clients that neither balance nor retry: nothing may go away.
step_mode() {
  local before start mode
  before=$(ready_pods)
  for mode in fp32 int8; do
    start_load "$(service)" --plain
    start=$(now)
    upgrade --set quantization.mode=$mode
    await_true "mode $mode" all_in_mode $mode
    say "mode: $mode in both pods after $(since "$start")"
    stop_load "requests failed while the mode changed"
    say "mode: $result"
    [[ $(ready_pods) == "$before" ]] || die "pods were replaced"
    has_restarts 0 || die "containers were restarted"
  done
  say "mode: the same pods, no restart"
}

step_rolling_update() {
  local before after start
  before=$(ready_pods)
  start_load "$(service)"
  start=$(now)
  upgrade_and_wait --set-string "podAnnotations.rolled=$start"
  await_true "only the new pods" settled 2
  say "rolling update: only new pods after $(since "$start")"
  stop_load "requests failed during a rolling update"
  say "rolling update: $result"
  after=$(ready_pods)
  ! grep -Fxq "$before" <<<"$after" || die "a pod was not replaced"
}

# Pods that end every connection before they go: clients need neither balance nor retry.
step_rolling_update_plain() {
  local start
  upgrade_and_wait --set server.max_connection_age_seconds=10,preStopSeconds=12
  await_true "only pods with that" settled 2
  start_load "$(service)" --plain
  start=$(now)
  upgrade_and_wait --set-string "podAnnotations.rolled=$start"
  await_true "only the new pods" settled 2
  say "rolling update with ageing connections: only new pods after $(since "$start")"
  stop_load "requests without retries failed during a rolling update"
  say "rolling update with ageing connections, clients that do not retry: $result"
  upgrade_and_wait --set server.max_connection_age_seconds=0,preStopSeconds=5
  await_true "two pods as before" settled 2
}

# On one node a new pod has no place as long as the node is drained, so that one must stay.
step_drain() {
  local before left
  before=$(ready_pods)
  start_load "$(service)"
  if in_cluster kubectl drain node --pod-selector=app.kubernetes.io/name=octet \
    --delete-emptydir-data --timeout=60s >"$LOGS/drain.log" 2>&1; then
    die "drain: both pods were let go"
  fi
  grep -q "violate the pod's disruption budget" "$LOGS/drain.log" ||
    die "drain failed for another reason: $(tail -n 3 "$LOGS/drain.log")"
  left=$(ready_pods)
  [[ $(wc -l <<<"$left") == 1 && $before == *"$left"* ]] || die "drain left: $left"
  in_cluster kubectl uncordon node >/dev/null
  await_true "two pods again" settled 2
  stop_load "requests failed during a drain"
  say "drain: one of two pods was let go, the other kept by the budget for 60 s; $result"
}

step_kill() {
  local pod container process start before
  before=$(restarts)
  pod=$(ready_pods)
  pod=${pod%%$'\n'*}
  container=$(kube get pod "$pod" -o jsonpath='{.status.containerStatuses[0].containerID}')
  process=$(ctr -a "$CLUSTER/node/containerd.sock" -n k8s.io tasks ls |
    awk -v id="${container##*/}" '$1 == id { print $2 }')
  start_load "$(headless)"
  start=$(now)
  kill -9 "$process"
  await_true "a restart" has_restarts $((before + 1))
  await_true "two ready pods" settled 2
  say "kill: a server that got SIGKILL is ready again after $(since "$start")"
  stop_load "requests failed when a server was killed"
  say "kill: $result"
}

step_headless() {
  local pair i before=() shares=()
  mapfile -t pair < <(ready_pods)
  ((${#pair[@]} == 2)) || die "there are ${#pair[@]} pods"
  for i in 0 1; do before[i]=$(answered_by "${pair[i]}"); done
  start_load "$(headless)"
  sleep 5
  stop_load "requests over the headless Service failed"
  for i in 0 1; do shares[i]=$(($(answered_by "${pair[i]}") - before[i])); done
  ((shares[0] * 2 > shares[1] && shares[1] * 2 > shares[0])) ||
    die "headless: the pods answered ${shares[*]}"
  say "headless Service: the pods answered ${shares[0]} and ${shares[1]}; $result"
}

utilisation() {
  kube get hpa "$NAME" -o \
    jsonpath='{.status.currentMetrics[0].resource.current.averageUtilization}'
}
has_utilisation() { [[ -n $(utilisation) ]]; }

step_autoscaling() {
  local start pod before answered=0
  upgrade --set autoscaling.enabled=true,autoscaling.minReplicas=2,autoscaling.maxReplicas=4 \
    --set autoscaling.scaleDownSeconds=15
  await_true "numbers for the autoscaler" has_utilisation
  await_true "two pods at rest" settled 2
  say "autoscaler: CPU at rest is $(utilisation) % of the request"
  start_load "$(headless)" --clients 16 --pause 0
  start=$(now)
  await_true "a third pod that is ready" more_pods_than 2
  say "autoscaler: a third pod is ready after $(since "$start")," \
    "CPU is $(utilisation) % of the request"
  await_true "four pods" settled 4
  say "autoscaler: four pods are ready after $(since "$start")"
  stop_load "requests failed while pods were added"
  say "autoscaler: $result"
  before=$(for pod in $(ready_pods); do echo "$pod $(answered_by "$pod")"; done)
  start_load "$(headless)"
  sleep 3
  stop_load "requests to four pods failed"
  while read -r pod count; do
    (($(answered_by "$pod") <= count)) || answered=$((answered + 1))
  done <<<"$before"
  ((answered == 4)) || die "autoscaler: $answered of four pods answered clients that came then"
  start=$(now)
  await_true "two pods when the load is over" settled 2
  say "autoscaler: back to two pods after $(since "$start")"
  upgrade_and_wait --set autoscaling.enabled=false
  await_true "two pods" settled 2
}

warm_pods() {
  local pod warm=0
  for pod in $(ready_pods); do
    ! metrics_of "$pod" | grep '^octet_model_warm_start{.*} 1$' >/dev/null || warm=$((warm + 1))
  done
  echo "$warm"
}

step_warm_start() {
  # What a provisioner would make.
  install -d -m777 "$CLUSTER/cache"
  kube apply -f - >/dev/null <<EOF
apiVersion: v1
kind: PersistentVolume
metadata: {name: octet-cache}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteMany]
  storageClassName: ""
  hostPath: {path: $CLUSTER/cache, type: Directory}
  claimRef: {namespace: $SPACE, name: $NAME-cache}
EOF
  upgrade_and_wait --set warmStart.enabled=true,replicaCount=1
  await_true "one pod" settled 1
  [[ $(warm_pods) == 0 ]] || die "the first pod had nothing to start from"
  upgrade_and_wait --set replicaCount=2
  await_true "two pods" settled 2
  [[ $(warm_pods) == 1 ]] || die "$(warm_pods) of two pods started warm"
  say "warm start: the second pod took over what the first had left on the volume"
  upgrade_and_wait --set warmStart.enabled=false
  await_true "two pods" settled 2
}

certificate() {
  local folder=$CLUSTER/tls
  mkdir -p "$folder"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=$1" \
    -addext "subjectAltName=DNS:$NAME" -keyout "$folder/tls.key" -out "$folder/tls.crt" 2>/dev/null
  kube create secret generic octet-tls --type=kubernetes.io/tls --dry-run=client -o yaml \
    --from-file="$folder/tls.crt" --from-file="$folder/tls.key" \
    --from-file=ca.crt="$folder/tls.crt" | kube apply -f - >/dev/null
}

# What clients that connect to the pods now are shown; without a certificate they get no further.
all_show_certificate() {
  local address shown
  for address in $(pods '{.status.podIP}'); do
    shown=$(in_cluster openssl s_client -connect "$address:8001" -alpn h2 </dev/null 2>/dev/null ||
      true)
    [[ $(openssl x509 -noout -subject <<<"$shown") =~ CN\ ?=\ ?$1$ ]] || return 1
  done
}

step_tls() {
  local start before
  certificate first
  upgrade_and_wait --set tls.secretName=octet-tls,tls.requireClientCertificate=true
  await_true "two pods" settled 2
  all_show_certificate first || die "TLS: another certificate is shown"
  # The test's pod shows the Secret's certificate.
  chart test "$RELEASE" --timeout "${PATIENCE}s"
  say "TLS: helm test passed over mutual TLS"
  before=$(ready_pods)
  start=$(now)
  certificate second
  await_true "the renewed certificate" all_show_certificate second
  say "TLS: both pods show a renewed certificate after $(since "$start")"
  [[ $(ready_pods) == "$before" ]] || die "pods were replaced"
  upgrade_and_wait --set tls.secretName=,tls.requireClientCertificate=false
  await_true "two pods" settled 2
}
