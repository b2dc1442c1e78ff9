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
READY := $(if $(wildcard $(DEV)),$(DEV),$(VENV)/runtime.stamp)

.PHONY: help
help:
	@echo "make VERB, where VERB is one of:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-10s %s\n", $$1, $$2 }'

.PHONY: setup
setup: $(DEV) ## Make .venv with everything that development needs, from the hashed locks

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
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --require-hashes $(LOCKS)/uv.txt $(LOCKS)/$*.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "$(VENV) is ready ($*)."
