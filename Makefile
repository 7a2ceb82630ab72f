.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SCRIPT ?=
# What pip tells in hundreds of lines, in one: how many of the packages it has, then that it installs them.
PROGRESS = awk -v all=$$(grep -c '^[a-z0-9].*==' requirements/dev.txt) '\
	/^Collecting /{n++; printf "\r\033[K%d of %d: %s", n, all, $$2; fflush()} \
	/^Installing /{printf "\r\033[KInstalling %d packages …", all; fflush()} \
	/^ERROR|^error/{printf "\n%s", $$0} \
	END{printf "\r\033[K"}'

help:  ## Show what can be typed here
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Install everything into .venv (safe to repeat)

$(STAMP): requirements/dev.txt pyproject.toml
	@echo "Setting up .venv (once; a few minutes) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made: install python3-venv (Debian: apt install python3-venv)."; exit 1; }
	@set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements/dev.txt | $(PROGRESS)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## Talk to a sample bakery in this terminal (SCRIPT=file.yaml plays a conversation)
	@$(BIN)/recado demo $(if $(SCRIPT),--script $(SCRIPT))

test: $(STAMP)  ## The fast suite (under five minutes)
	@$(BIN)/python -m pytest -m "not slow and not proof" -n auto --dist loadfile $(ARGS)

proofs: $(STAMP)  ## Whole processes that are killed, and the whole API against its description (a minute or two)
	@$(BIN)/python -m pytest -m "proof and not slow" -n auto --dist loadfile $(ARGS)

test-slow: $(STAMP)  ## The long tests
	@$(BIN)/python -m pytest -m slow $(ARGS)

sim: $(STAMP)  ## Simulate days of faults in seconds (SEEDS=200, or SEED=n to replay one)
	@$(BIN)/python -m tests.chaos.simulator $(if $(SEED),--seed $(SEED) --trace,--seeds $(or $(SEEDS),200) $(if $(START),--start $(START)))

torture: $(STAMP)  ## Kill real processes and count what is lost (CYCLES=60, SEED=n, BACKEND=bullmq,sqs, EVENTS=1)
	@$(BIN)/python -m tests.chaos.torture --cycles $(or $(CYCLES),60) $(if $(SEED),--seed $(SEED)) $(if $(BACKEND),--backend $(BACKEND)) $(if $(DATABASE),--database $(DATABASE)) $(if $(EVENTS),--events) $(ARGS)

check: $(STAMP)  ## Format, lint, types, imports, dependencies
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy src tests bench --exclude bench/rivals/
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.architecture.sql_builders
	@$(BIN)/deptry src

format: $(STAMP)  ## Rewrite the code in the house style
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: $(STAMP)  ## Measure; each file under bench/ prints a table (needs wrk)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@for file in bench/bench_*.py; do $(BIN)/python $$file || exit 1; done

bench-api: $(STAMP)  ## The API among a million messages, and webhooks beside it (PLACE=folder keeps them; ARGS)
	@for file in bench/bench_reading.py bench/bench_beside.py; do $(BIN)/python $$file $(if $(PLACE),--place $(PLACE)) $(ARGS) || exit 1; done

lock:  ## Resolve the dependencies anew into requirements/
	@$(PYTHON) -m pip install --quiet uv
	@bash requirements/lock.sh

api-reference: $(STAMP)  ## Make docs/reference/api.md from the routes
	@$(BIN)/python -m recado.entrypoints.api.reference.markdown > docs/reference/api.md

.PHONY: help setup demo test proofs test-slow sim torture check format bench bench-api lock api-reference
