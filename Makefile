# `make demo` and `make test` are all a newcomer needs; `make` lists the rest.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check lint bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*## "} {printf "  make %-8s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[hf,data,dev]'
	@touch $@

demo: $(READY) ## the main job on the embedded model: sample, score, select, table, report
	$(BIN)/tamis demo

test: $(READY) ## all tests that need no GPU
	$(BIN)/python -m pytest

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test ## lint + test: what a change must pass

bench: $(READY) ## every benchmark, one after the other (tens of minutes)
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean: ## remove what the targets above made; your runs and results stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis runs/demo dist
