# `make demo` and `make test` are all a newcomer needs; `make` lists the rest.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
VLLM_VENV  ?= .venv-vllm
VLLM_READY := $(VLLM_VENV)/.ready
RAY_READY  := $(VENV)/.ready-ray

.DEFAULT_GOAL := help
.PHONY: help demo test test-vllm test-ray check lint bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk 'BEGIN {FS = ":.*## "} {printf "  make %-9s %s\n", $$1, $$2}'

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[hf,data,summarise,serve,metrics,dev]'
	@touch $@

demo: $(READY) ## the main job on the embedded model: sample, score, select, table, report
	$(BIN)/tamis demo

test: $(READY) ## all tests that need no GPU
	$(BIN)/python -m pytest

$(VLLM_READY): requirements-vllm.txt pyproject.toml tests/on_vllm/torchvision_shim.py
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --no-deps --requirement requirements-vllm.txt
	$(VLLM_VENV)/bin/python -m pip install --quiet --no-deps --editable .
	cp tests/on_vllm/torchvision_shim.py $(VLLM_VENV)/lib/python3*/site-packages/
	cd $(VLLM_VENV)/lib/python3*/site-packages && echo 'import torchvision_shim' > torchvision_shim.pth
	@touch $@

test-vllm: $(VLLM_READY) ## real vLLM servers and engines, on a CPU (an environment of its own, 2.5 GB; minutes)
	$(VLLM_VENV)/bin/python -m pytest tests/on_vllm

$(RAY_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]'
	@touch $@

test-ray: $(RAY_READY) ## --on ray, on a cluster of this machine (a quarter of a GB more; minutes)
	$(BIN)/python -m pytest tests/on_ray

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test ## lint + test: what a change must pass

bench: $(READY) ## every benchmark, one after the other (tens of minutes)
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean: ## remove what the targets above made; your runs and results stay
	rm -rf $(VENV) $(VLLM_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis runs/demo dist
