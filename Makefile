# Everything here works on a fresh clone: each target makes or updates .venv by itself.
.DEFAULT_GOAL := help
.PHONY: help setup run example test test-unit cover check clients-check check-deploy image bench format kibana pictures lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
GENERATOR := build/clients/.venv
ARGS ?=
# How many tests at a time; each process has an Elasticsearch of its own. 0: one, in this process.
JOBS ?= 0
PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile
IMAGE ?= tasques
# Its tools have an environment of their own, because they need nothing of ours.
DEPLOY := .venv-deploy
# The command that the package installs hides the exit code of the program in it.
COMPOSE = "$$(../$(DEPLOY)/bin/python -c 'import compose, pathlib; print(pathlib.Path(compose.__file__).with_name("docker-compose"))')"

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

test: $(READY) ## Run all tests, on a real Elasticsearch (ARGS="-k claim" to choose, JOBS=3 for three at a time)
	$(PYTEST) $(ARGS)

test-unit: $(READY) ## Run the quick tests only
	$(PYTEST) tests/unit $(ARGS)

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

check-deploy: $(DEPLOY)/.ready ## Check what docker/ and k8s/ hold
	$(DEPLOY)/bin/hadolint docker/Dockerfile
	$(DEPLOY)/bin/yamllint --strict -c docker/.yamllint.yaml docker k8s
	cd docker && $(COMPOSE) --env-file .env.example config --quiet
	$(DEPLOY)/bin/checkov --config-file docker/.checkov.yaml --framework dockerfile --file docker/Dockerfile
	$(MAKE) -C k8s check TOOLS=$(CURDIR)/$(DEPLOY)/bin

$(DEPLOY)/.ready: docker/check.lock
	$(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docker/check.lock
	touch $@

image: ## Build the image (IMAGE=name:tag)
	docker build -f docker/Dockerfile -t $(IMAGE) --build-arg REVISION="$$(git rev-parse HEAD)" \
	  --build-arg CREATED="$$(date -u +%Y-%m-%dT%H:%M:%SZ)" .

bench: $(READY) ## Measure with the load generator (ARGS="--only drain --repeat 1"); needs Go
	$(BIN)/python benchmarks/run.py $(ARGS)

format: $(READY) ## Format the code and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header

kibana: $(READY) ## Write the file that Kibana imports, kibana/tasques.ndjson
	$(BIN)/python -m tasques.kibana.contents > kibana/tasques.ndjson

pictures: $(READY) ## Draw what the dashboards show, for the README
	$(BIN)/python kibana/render.py

lock: $(READY) ## Write all files of pinned versions anew from pyproject.toml
	$(LOCK) --extra client --extra embedded --group dev pyproject.toml -o requirements.lock
	$(LOCK) --constraint requirements.lock pyproject.toml -o docker/requirements.lock
	$(LOCK) --constraint requirements.lock --group build -o docker/build.lock
	$(LOCK) --group deploy -o docker/check.lock

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) $(DEPLOY) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build htmlcov .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
