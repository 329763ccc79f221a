# The front door: every target is a thin call of scripts/ or of a CMake preset.

MAKEFLAGS += --no-print-directory
PYTHON := build/venv/bin/python
CONFIG ?= examples/octet.yaml

.DEFAULT_GOAL := help
.PHONY: help setup setup-undo venv venv-bench browser build serve test check dashboards bench \
  format chart chart-tools image test-kubernetes clean

help:  ## show this
	@echo "Octet: an inference server that quantizes ONNX models when it starts."
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
	  while IFS='|' read -r target text; do printf '%-18s %s\n' "$$target" "$$text"; done

setup:  ## install missing Debian packages (12 and 13), else list what is missing
	@scripts/setup.sh

setup-undo:  ## remove the Debian 13 package source that setup added on Debian 12
	@scripts/setup.sh --undo

venv: setup
	@scripts/venv.sh

venv-bench: setup
	@scripts/venv.sh --bench

# What `make check` has beyond `make test`: a browser, in which the report's page is looked at, and
# Prometheus, in which alerts are seen to fire.
browser: setup
	@scripts/setup.sh --check

build: setup  ## build the release binary, build/octet
	@scripts/build.sh release
	@cp -f build/release/server/octet build/octet
	@echo "build: build/octet is ready"

serve: build  ## build and serve the example models (CONFIG=FILE for your own)
	@build/octet serve --config $(CONFIG)

test: venv  ## build and run every test and lint
	@scripts/build.sh dev
	@ctest --preset all --parallel $$(nproc)

check: venv-bench browser  ## sanitizers, clang-tidy of everything, a drill of the alerts, peers
	@scripts/check.sh

dashboards: venv browser  ## draw the dashboards with live data into docs/images (needs npm)
	@scripts/build.sh dev octet
	@OCTET_BINARY=build/dev/server/octet $(PYTHON) -m tests.observability.render.render

bench: venv-bench  ## measure speed beside other engines
	@scripts/build.sh release measured_model
	@$(PYTHON) tests/bench/run.py

format: venv  ## format all C++ files
	@$(PYTHON) tests/lint/check_format.py --fix

chart:  ## write the generated files of the Helm chart
	@for script in schema reference; do python3 scripts/chart_$$script.py; done
	@python3 deploy/grafana/dashboards.py

chart-tools:  ## build what checks the chart further in `make test`: kube-score and the like (Go)
	@tests/deploy/tools.sh chart

image:  ## build the image without a container engine's daemon, run it, check it (as root)
	@tests/deploy/image.sh build
	@tests/deploy/image.sh check

test-kubernetes: venv  ## the chart on a real one-node Kubernetes (as root; needs Go; 20 minutes, at first an hour)
	@tests/deploy/kubernetes.sh

clean:  ## remove the build folder
	@rm -rf build
