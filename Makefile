# Everything here works on a fresh clone: each target makes or updates .venv by itself.
.DEFAULT_GOAL := help
.PHONY: help setup run example test test-unit cover check clients-check bench format lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GENERATOR := build/clients/.venv
ARGS ?=

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

setup: $(READY) ## Make or update the virtual environment

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

run: $(READY) ## Start Tasques with its own Elasticsearch (ARGS="--port 9090" for options)
	@exec $(BIN)/tasques dev $(ARGS)

example: $(READY) ## Start the example: a web page whose messages workers cipher (ARGS="--failures 0.5")
	@exec $(BIN)/python -m examples.ciphers $(ARGS)

test: $(READY) ## Run all tests, on a real Elasticsearch (ARGS="-k claim" to choose)
	$(BIN)/python -m pytest $(ARGS)

test-unit: $(READY) ## Run the quick tests only
	$(BIN)/python -m pytest tests/unit $(ARGS)

cover: $(READY) ## Run all tests and report coverage
	$(BIN)/python -m coverage run -m pytest $(ARGS)
	$(BIN)/python -m coverage report

check: $(READY) ## Check format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

clients-check: $(READY) $(GENERATOR)/.ready ## Generate clients in other languages and try them (ARGS=go)
	$(BIN)/python clients/check.py --generator $(GENERATOR)/bin/openapi-generator-cli $(ARGS)

$(GENERATOR)/.ready: clients/requirements.lock
	test -x $(GENERATOR)/bin/python || $(PYTHON) -m venv $(GENERATOR)
	$(GENERATOR)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

bench: $(READY) ## Measure with the load generator (ARGS="--only drain --repeat 1"); needs Go
	$(BIN)/python benchmarks/run.py $(ARGS)

format: $(READY) ## Format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(READY) ## Write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --extra client --extra embedded --group dev pyproject.toml -o requirements.lock

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build htmlcov .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
