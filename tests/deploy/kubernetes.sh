#!/bin/bash
# Installs the chart on a real one-node Kubernetes and shows what it promises, with figures:
#
#   tests/deploy/kubernetes.sh           builds what is missing, on a new cluster, which it ends
#   tests/deploy/kubernetes.sh STEP...   only those steps, on a cluster that is up: cluster.sh up
#
# The steps are in steps.sh. One that fails ends the run with an error. See cluster.sh for what is
# needed; as root.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

readonly HERE=$REPOSITORY/tests/deploy CHART=$REPOSITORY/helm/octet
readonly PYTHON=$REPOSITORY/build/venv/bin/python
readonly SPACE=octet RELEASE=vision NAME=vision-octet
readonly STEPS=(install mode rolling_update rolling_update_plain drain kill headless autoscaling
  warm_start tls)
# Long, for machines that have other work too; figures say what it really took.
readonly PATIENCE=300

kube() { in_cluster kubectl --namespace "$SPACE" "$@"; }

chart() {
  in_cluster helm --namespace "$SPACE" "$@" >"$LOGS/helm.log" 2>&1 ||
    die "helm $1: $(tail -n 5 "$LOGS/helm.log")"
}

upgrade() { chart upgrade "$RELEASE" "$CHART" --reset-then-reuse-values "$@"; }
upgrade_and_wait() { upgrade --wait --timeout "${PATIENCE}s" "$@"; }

now() { date +%s%N; }
since() { awk -v ns="$(($(now) - $1))" 'BEGIN { printf "%.1f s", ns / 1e9 }'; }

# await_true WHAT COMMAND...: until the command succeeds.
await_true() {
  local what=$1 end=$((SECONDS + PATIENCE))
  shift
  while ((SECONDS < end)); do
    if "$@" 2>/dev/null; then return; fi
    sleep 0.2
  done
  kube get pods,events >"$LOGS/state.log" 2>&1 || true
  die "not in $PATIENCE s: $what; the pods and events of then are in $LOGS/state.log"
}

# --- Pods ----------------------------------------------------------------------------------------

# pods JSONPATH: of each server's pod, a line.
pods() {
  kube get pods -l "app.kubernetes.io/name=octet,app.kubernetes.io/instance=$RELEASE" \
    -o jsonpath="{range .items[*]}$1{'\n'}{end}"
}
pod_count() { pods '{.metadata.name}' | wc -l; }
# Those that are ready and not on their way out.
ready_pods() {
  local ready='{.status.conditions[?(@.type=="Ready")].status}'
  pods "{.metadata.name} $ready {.metadata.deletionTimestamp}" |
    awk '$2 == "True" && NF == 2 { print $1 }'
}
# There are exactly as many pods, and all are ready.
settled() { [[ $(ready_pods | wc -l) == "$1" && $(pod_count) == "$1" ]]; }
more_pods_than() { (($(ready_pods | wc -l) > $1)); }
restarts() {
  pods '{.status.containerStatuses[0].restartCount}' | awk '{ sum += $1 } END { print sum + 0 }'
}
has_restarts() { [[ $(restarts) == "$1" ]]; }

metrics_of() { kube get --raw "/api/v1/namespaces/$SPACE/pods/$1:8002/proxy/metrics"; }
answered_by() {
  metrics_of "$1" | awk '/^octet_inference_requests_total\{.*code="OK"/ { sum += $NF }
    END { printf "%d", sum }'
}
# Both pods serve the model in that mode.
all_in_mode() {
  local pod
  settled 2 || return 1
  for pod in $(ready_pods); do
    metrics_of "$pod" | grep "^octet_model_info{.*[,{]mode=\"$1\".*} 1$" >/dev/null ||
      return 1
  done
}

# --- Clients -------------------------------------------------------------------------------------

# The cluster's DNS is asked, by the client library itself; the names are those that pods use.
service() { echo "dns://$NODE:53/$NAME.$SPACE.svc.cluster.local:8001"; }
headless() { echo "dns://$NODE:53/$NAME-headless.$SPACE.svc.cluster.local:8001"; }

load=
start_load() {
  nsenter --net="/run/netns/$NETWORK" "$PYTHON" "$HERE/load.py" "$@" >"$LOGS/load.log" 2>&1 &
  load=$!
  await_true "answers to the clients" grep -q '^started' "$LOGS/load.log"
}

# Ends the load; what became of it is in $result.
end_load() {
  local code=0
  kill -TERM "$load"
  wait "$load" || code=$?
  load=
  result=$(grep 'requests answered' "$LOGS/load.log") ||
    die "clients: $(tail -n 3 "$LOGS/load.log")"
  return "$code"
}
stop_load() { end_load || die "$1: $(tail -n 4 "$LOGS/load.log")"; }

# --- All -----------------------------------------------------------------------------------------

# shellcheck source=steps.sh
source "$HERE/steps.sh"

finish() {
  [[ -z $load ]] || kill -9 "$load" 2>/dev/null || true
  [[ -z ${whole:-} ]] || "$HERE/cluster.sh" down
}

main() {
  local begin=$SECONDS step steps=("$@")
  [[ -x $PYTHON ]] || die "there is no $PYTHON: make venv"
  trap finish EXIT
  if ((${#steps[@]} == 0)); then
    "$HERE/cluster.sh" check
    whole=yes steps=("${STEPS[@]}")
    "$HERE/tools.sh" cluster
    "$HERE/image.sh" build
    "$HERE/cluster.sh" up
    say "the cluster was up $((SECONDS - begin)) s after the start"
  fi
  begin=$SECONDS
  for step in "${steps[@]}"; do
    [[ $(type -t "step_$step") == function ]] || die "no step '$step'; there are: ${STEPS[*]}"
    "step_$step"
  done
  say "${#steps[@]} steps in $((SECONDS - begin)) s, all as promised"
}

main "$@"
