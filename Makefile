# Everything a user or developer runs. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.pubner-installed
BENCH_STAMP := $(VENV)/.pubner-bench-installed
LOCKS := requirements/runtime.txt requirements/training.txt requirements/dev.txt requirements/bench.txt requirements/image.txt requirements/build.txt
JOBS ?= 2
PUBNER_DATA ?= $(wildcard ../shared/data)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup annotate test unit test-docs check docs docs-serve bench soak soak-swap train lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(STAMP) ## create .venv with the locked dependencies and pubner in it

$(STAMP): pyproject.toml requirements/dev.txt requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another with: make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements/dev.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

annotate: setup ## annotate the bundled PubMed sample into out/
	$(BIN)/pubner annotate --output out

# Coverage counts branches: with them the unit tests alone reach 87 %, and lack few branches (339).
test: setup ## run the whole test suite with coverage, two tests at a time (JOBS=1: one)
	PUBNER_DATA="$(PUBNER_DATA)" OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup --no-loadscope-reorder --durations=20 --cov --cov-report=term --cov-fail-under=90

unit: setup ## run the unit tests alone: no service, no network (JOBS=1: one at a time)
	PUBNER_DATA="$(PUBNER_DATA)" OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest tests/unit -n $(JOBS) --dist loadgroup --durations=10

test-docs: setup ## run the code in README and docs as it stands, the long ones too
	PUBNER_LONG_DOCUMENTS=1 PUBNER_DATA="$(PUBNER_DATA)" $(BIN)/python -m pytest --timeout 7200 tests/integration/test_documents.py

check: setup docs ## lint, format, types, import rules, and the documentation site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.wording

docs: setup ## build the documentation site into out/site; a broken link is an error
	$(BIN)/zensical build --strict

docs-serve: setup ## serve the documentation site on http://127.0.0.1:8000, built again at each change
	$(BIN)/zensical serve --dev-addr 127.0.0.1:8000

bench: $(BENCH_STAMP) ## measure speed beside other libraries into out/bench.json (QUICK=1: three minutes)
	PUBNER_DATA="$(PUBNER_DATA)" $(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(BENCH)

$(BENCH_STAMP): $(STAMP) requirements/bench.txt
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r requirements/bench.txt
	@touch $@

soak: setup ## kill workers, Flink and Kafka at random under load, then compare every row
	$(BIN)/python -m tests.soak

soak-swap: setup ## promote, roll back and refuse checkpoints under load, then compare every row
	$(BIN)/python -m tests.soak.swap $(SOAK)

train: setup ## train the shipped checkpoint again into out/checkpoint (resumable; see training/README.md)
	PUBNER_DATA="$(PUBNER_DATA)" PATH="$(CURDIR)/$(BIN):$$PATH" training/make-checkpoint $(if $(SHORT),short,shipped) out

.PHONY: experiments experiments-page
experiments: setup ## run the table of training experiments, then rewrite docs/experiments (resumable)
	PUBNER_DATA="$(PUBNER_DATA)" $(BIN)/python -m experiments --output out/experiments --gather docs/experiments.json --page docs $(EXPERIMENTS)

experiments-page: setup ## rewrite docs/experiments.md and its plots from docs/experiments.json
	$(BIN)/python -m experiments --page docs

lock: $(STAMP) ## write the hashed lock files again
	cd requirements && ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header uv.in -o uv.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra training -c requirements/runtime.txt -o requirements/training.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra training --extra dev -c requirements/training.txt -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra training --extra dev --extra bench -c requirements/dev.txt -o requirements/bench.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml --extra training --extra aws --extra gcp --extra http -c requirements/dev.txt -o requirements/image.txt
	cd requirements && ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -c dev.txt build.in -o build.txt

clean: ## remove the environment and what the targets wrote
	rm -rf $(VENV) .cache out dist build .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
