# make demo and make test are all a newcomer needs; each makes .venv and installs by itself.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Another torch than the one of constraints.txt, in a folder of its own: make test VENV=.venv-2.11 TORCH=2.11.0
TORCH ?=

REFERENCE ?= tests/fixtures/golden64
INPUTS ?= 2000
ROUNDS ?= 50
SEED ?= 0
CLUSTER ?= cluster.yaml

.PHONY: demo test test-kills test-browser test-cluster cluster-up cluster-check cluster-status cluster-down fuzz chaos check parity lint format install clean
.DEFAULT_GOAL := help

help: ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 20

demo: $(VENV)/installed ## the paper's Table 3, small, on this machine
	$(BIN)/python sweeps/run.py --study recursion_depth --profile mini

test: $(VENV)/installed ## the tests, on two cores
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not kills and not browser and not cluster"

test-kills: $(VENV)/installed ## the tests that kill and wait, or compile for long
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m kills

test-browser: $(VENV)/installed ## a small study's pages, and MLflow's, looked at in a Chromium where there is one
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser

test-cluster: $(VENV)/installed ## the tests of cluster files that start several machines, or AWS's stand-in
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m cluster

cluster-check: $(VENV)/installed ## look at a cluster's file, start nothing: make cluster-check CLUSTER=cluster/onprem.yaml
	$(BIN)/python -m sweeps.cluster check $(CLUSTER)

cluster-up: $(VENV)/installed ## token, commit, versions, then ray up: make cluster-up CLUSTER=cluster.yaml
	$(BIN)/python -m sweeps.cluster up $(CLUSTER)

cluster-status: $(VENV)/installed ## what is up, and the tunnels to its pages
	$(BIN)/python -m sweeps.cluster status $(CLUSTER)

cluster-down: $(VENV)/installed ## ray down
	$(BIN)/python -m sweeps.cluster down $(CLUSTER)

fuzz: $(VENV)/installed ## every command on hostile arguments and broken files: make fuzz INPUTS=2000 SEED=0
	$(BIN)/python -m tests.faults.fuzz --inputs $(INPUTS) --seed $(SEED)

chaos: $(VENV)/installed ## a small study, its processes killed and stopped as it runs: make chaos ROUNDS=50 SEED=0
	$(BIN)/python -m tests.faults.chaos --rounds $(ROUNDS) --seed $(SEED)

check: lint ## format, lint, strict types, fast tests
	$(BIN)/python -m pytest -m "not ray and not slow and not kills and not browser and not cluster"

parity: $(VENV)/installed ## equality with the released code's numbers: make parity [REFERENCE=FOLDER]
	$(BIN)/python -m trm_core.parity $(REFERENCE)

lint: $(VENV)/installed ## format, lint, strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/installed ## write the format that check asks for
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

install: $(VENV)/installed ## .venv with everything in it

clean: ## what was built; results/, data/ and mlflow.db stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"Python 3.11 or newer is needed, {v.major}.{v.minor} found; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH),sed -E 's/^torch==.*/torch==$(TORCH)/; /^triton==/d',cat) constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[dev]'
	@touch $@
