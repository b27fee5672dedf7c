# make help lists the targets. Each sets up .venv by itself, from pyproject.toml.
#
# Every part has a time budget; an overrun fails. Needed beforehand: python3 with venv, make, git.

PYTHON ?= python3
ARGS ?=
SETUP_BUDGET ?= 180
CHECK_BUDGET ?= 60
UNIT_BUDGET ?= 600
E2E_BUDGET ?= 600
# Test files that run side by side.
JOBS ?= $(shell nproc)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
# A part that overruns its seconds is asked to stop, then killed, with all that it started. On a
# terminal it stays in the foreground, so that Ctrl-C reaches it.
FOREGROUND := $(shell test -t 0 && echo --foreground)
within = timeout $(FOREGROUND) --kill-after=10 $(1) $(2) || { code=$$?; \
    case $$code in 124|137) echo "$@: over its budget of $(1) seconds" >&2;; esac; exit $$code; }
REPORTS := .lapdev/reports

.PHONY: help demo screenshot check unit e2e test bench fuzz clean setup setup-demo

help: ## this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: setup-demo ## start the demo shop and print its URLs (ARGS="--check" lets it test itself)
	@$(BIN)/lapdev demo $(ARGS)

screenshot: setup ## look at the demo shop with headless Chromium
	@$(call within,$(E2E_BUDGET),$(BIN)/python -m pytest tests/e2e -q -k screenshot)

check: setup ## ruff, mypy, import contracts, layout and documentation tests
	@$(call within,$(CHECK_BUDGET),$(MAKE) --no-print-directory check-now)

unit: setup ## every test that runs in one process; the pure rooms' with their coverage gate
	@mkdir -p $(REPORTS)
	@$(call within,$(UNIT_BUDGET),$(MAKE) --no-print-directory unit-now)

e2e: setup ## the real program as child processes
	@$(call within,$(E2E_BUDGET),$(BIN)/python -m pytest -q -m e2e)

test: check unit e2e ## everything above: the gate of main

bench: setup ## the benchmarks, side by side with their yardsticks
	@$(BIN)/python -m pip install --quiet -e '.[bench]'
	@$(BIN)/python -m benchmarks $(ARGS)

fuzz: setup ## mutated messages, and two ends of a tunnel against each other (ARGS="--minutes 30")
	@$(BIN)/python -m tests.fuzz $(ARGS)

faults: setup ## real processes under load while links and processes break (ARGS="F6 --seed 7")
	@$(BIN)/python -m tests.faults $(ARGS)

clean: ## remove the environment and everything that was made
	@rm -rf .venv .lapdev build dist *.egg-info .coverage .mypy_cache .ruff_cache .pytest_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A pure room must be covered by its own tests; measuring the others would only cost time.
PURE_TESTS := tests/wire tests/routing tests/cluster/manifests tests/cluster/compose \
    tests/manager/test_plan.py \
    tests/devbox/test_hosts.py tests/test_errors.py tests/test_model.py

.PHONY: unit-now
unit-now:
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile $(PURE_TESTS) \
	    --cov=lapdev --cov-report= --cov-report=json:$(REPORTS)/coverage.json
	@$(BIN)/python -m tests.support.coverage_gate $(REPORTS)/coverage.json
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile -m 'not e2e' tests $(addprefix --ignore=,$(PURE_TESTS))

.PHONY: check-now
check-now:
	@mkdir -p $(REPORTS)
	@$(BIN)/ruff check --quiet lapdev tests benchmarks
	@$(BIN)/ruff format --check --quiet lapdev tests benchmarks \
	    || { echo "not formatted: run $(BIN)/ruff format lapdev tests benchmarks"; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > $(REPORTS)/imports.txt || { cat $(REPORTS)/imports.txt; exit 1; }
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_layout.py tests/test_settings.py

# The stamp names the extras that are installed. It is older than pyproject.toml when that changed.

setup: .venv/.stamp-test
setup-demo: .venv/.stamp-demo

.venv/.stamp-%: pyproject.toml
	@mkdir -p $(REPORTS)
	@if [ "$*" = demo ] && [ .venv/.stamp-test -nt pyproject.toml ]; then touch $@; exit 0; fi; \
	test -x $(BIN)/python || { echo "making .venv with $(PYTHON)"; $(PYTHON) -m venv .venv; }; \
	echo "installing lapdev[$*] into .venv (budget $(SETUP_BUDGET) s)"; \
	{ $(call within,$(SETUP_BUDGET),$(BIN)/python -m pip install --quiet --no-input \
	    --disable-pip-version-check -e '.[$*]'); } || exit 1; \
	touch $@
