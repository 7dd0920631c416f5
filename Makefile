# Every target sets up what it needs: a virtual environment in .venv and the packages pinned in constraints.txt.
# Another Python: make PYTHON=python3.13 test.  More options for a command: make demo ARGS="--users 500".

SHELL := /bin/bash
VENV := .venv
RUN := $(VENV)/bin/python
FIND_PYTHON := for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done
PYTHON ?= $(shell $(FIND_PYTHON))
WORKERS ?= 2
ARGS ?=
INPUTS := pyproject.toml constraints.txt

.PHONY: help demo test lint bench clean
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.core ## the demo shop: data, features, training, table, page and bundle in demo-out
	$(RUN) -m tmmsrec demo $(ARGS)

test: $(VENV)/.dev ## the whole test suite
	OMP_NUM_THREADS=1 $(RUN) -m pytest $$($(RUN) -c 'import xdist' 2>/dev/null && echo '-n $(WORKERS)') $(ARGS)

lint: $(VENV)/.dev ## style (ruff) and types (mypy --strict)
	$(RUN) -m ruff check .
	$(RUN) -m mypy

bench: $(VENV)/.dev ## speed and memory, measured and printed
	$(RUN) -m bench $(ARGS)

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "tmmsrec needs Python 3.11 or newer and found none. Install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "tmmsrec needs Python 3.11 or newer; $(PYTHON) is $$("$(PYTHON)" --version 2>&1). Name another: make PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# What tests and linters need holds all that the demo needs.
$(VENV)/.dev: $(INPUTS) | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.core

$(VENV)/.core: $(INPUTS) | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[serve]'
	@touch $@
