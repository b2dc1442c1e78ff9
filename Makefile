# Verbs for people. `make` alone lists them. CI calls the same ones: .ci/run.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# The newest python3 on this machine that is recent enough; `make setup PYTHON=python3.13` chooses another.
PYTHON ?= $(or $(shell for one in python3 python3.13 python3.12 python3.11; do \
	"$$one" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$one" && break; done),python3)

VENV := .venv
BIN := $(VENV)/bin
LOCKS := deploy/locks
PROGRAMS := shared manager delegate client

# Whoever has the tools of development keeps them; `make demo` in a fresh clone needs only what runs.
DEV := $(VENV)/dev.stamp
# An emulator of AWS for tests.
MINISTACK := build/ministack/ready.stamp
READY := $(if $(wildcard $(DEV)),$(DEV),$(VENV)/runtime.stamp)

.PHONY: help
help:
	@echo "make VERB, where VERB is one of:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-10s %s\n", $$1, $$2 }'

.PHONY: setup
setup: $(DEV) $(MINISTACK) ## Make .venv with everything that development needs, from the hashed locks

$(BIN)/uv: $(LOCKS)/uv.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed: install it, or name it: make setup PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip' 2>/dev/null \
		|| { echo "$(PYTHON) has no ensurepip: install its venv package (Debian: apt-get install python3-venv)"; exit 1; }
	@[ -x $(BIN)/python ] || "$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCKS)/uv.txt
	@touch $@

$(VENV)/%.stamp: $(BIN)/uv pyproject.toml $(LOCKS)/%.txt
	@rm -f $(VENV)/*.stamp
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes $(LOCKS)/$*.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "$(VENV) is ready ($*)."

# In an environment of its own, since its botocore isn't ours.
$(MINISTACK): $(BIN)/uv $(LOCKS)/ministack.txt
	@rm -rf build/ministack && "$(PYTHON)" -m venv --without-pip build/ministack
	@VIRTUAL_ENV=build/ministack $(BIN)/uv pip sync --quiet --require-hashes $(LOCKS)/ministack.txt
	@touch $@

.PHONY: demo
demo: $(READY) ## Show the main job with real processes: store, reveal, refuse a swapped record, verify the audit
	@$(BIN)/python deploy/demo.py

.PHONY: run
run: $(READY) ## Start a manager and two delegates here, set up an account, and stay up until Ctrl-C
	@$(BIN)/privyseal dev

NODE_MODULES := tests/node/node_modules/.package-lock.json

# What the coverage gate counts: tests that are the same in each run, of code that is pure. Counting takes as long as testing, so the others go without.
# Those wait for processes and networks, so that there is one more of them than CI has cores.
COUNTED := tests/unit/shared tests/vectors $(sort $(wildcard tests/adversary/test_core_*.py)) tests/unit/manager/test_policy.py \
	tests/unit/manager/test_manager_metrics.py tests/unit/test_traces_settings.py tests/integration/test_otlp.py

.PHONY: test
test: $(DEV) $(MINISTACK) $(if $(T),,$(NODE_MODULES)) ## All tests, the coverage gate, Node's verifier; T=tests/unit runs only those
ifdef T
	@$(BIN)/python -m pytest $(T)
else
	@$(BIN)/python -m pytest --numprocesses=2 --cov --cov-report= $(COUNTED)
	@$(BIN)/coverage report --include='shared/*,manager/policy.py' --fail-under=100
	@$(BIN)/python -m pytest --numprocesses=3 $(addprefix --ignore=,$(COUNTED))
	@node tests/node/verify.mjs
endif

$(NODE_MODULES): tests/node/package.json tests/node/package-lock.json
	@command -v npm >/dev/null || { echo "Node.js 20 or later is needed for the independent verifier: install node and npm"; exit 1; }
	@npm ci --prefix tests/node --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: check
check: $(DEV) ## Formatting, lint, types, and that generated files are up to date
	@$(BIN)/ruff format --check --quiet . || { echo "Some files are not formatted: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy $(PROGRAMS)
	@rm -rf build/wire && mkdir -p build/wire && $(call generate,build/wire)
	@diff -r -x __init__.py -x __pycache__ build/wire/shared/wire shared/wire \
		|| { echo "shared/wire is not what proto/ says: make proto"; exit 1; }
	@$(BIN)/python -m tests.vectors.generate --check

.PHONY: format
format: $(DEV) ## Format the code and repair what the linter can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

.PHONY: bench
bench: $(DEV) ## Measure, each figure beside its floor; also written to build/bench.json
	@$(BIN)/python -m tests.bench

# protoc makes an empty *_pb2_grpc.py for a file without a service: those are removed.
define generate
$(BIN)/python -m grpc_tools.protoc -I proto --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) \
	proto/shared/wire/*.proto \
	&& for one in $$(grep -L '^service' proto/shared/wire/*.proto); do \
		rm -f "$(1)/shared/wire/$$(basename "$$one" .proto)_pb2_grpc.py"; done
endef

.PHONY: proto
proto: $(DEV) ## Generate shared/wire from proto/shared/wire/*.proto
	@$(call generate,.)

.PHONY: vectors
vectors: $(DEV) ## Generate the test vectors that docs/formats.md describes
	@$(BIN)/python -m tests.vectors.generate

# Each lock is held to the versions of dev.txt, so that every program runs with the versions that were tested.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)

.PHONY: lock
lock: $(BIN)/uv ## Resolve pyproject.toml into deploy/locks anew; UPGRADE=--upgrade takes the newest versions
	@$(COMPILE) pyproject.toml --group setup --all-extras -o $(LOCKS)/dev.txt
	@$(COMPILE) -c $(LOCKS)/dev.txt --group setup -o $(LOCKS)/uv.txt
	@$(COMPILE) -c $(LOCKS)/dev.txt pyproject.toml --group setup --extra manager --extra delegate --extra client \
		--extra aws --extra demo -o $(LOCKS)/runtime.txt
	@$(COMPILE) -c $(LOCKS)/dev.txt pyproject.toml --extra manager --extra postgresql --extra otel -o $(LOCKS)/manager.txt
	@$(COMPILE) -c $(LOCKS)/dev.txt pyproject.toml --extra delegate --extra aws --extra azure --extra gcp --extra vault \
		--extra age --extra pkcs11 --extra rest --extra ssh --extra otel -o $(LOCKS)/delegate.txt
	@$(COMPILE) -c $(LOCKS)/dev.txt pyproject.toml --extra client -o $(LOCKS)/client.txt
	@printf 'cryptography\nministack>=1.5\n' | $(COMPILE) - -o $(LOCKS)/ministack.txt
	@! grep -nE 'https?://|--index|--find-links' $(LOCKS)/*.txt

.PHONY: clean
clean: ## Remove what make made: .venv, build, caches, node_modules
	@rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/node/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
