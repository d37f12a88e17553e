# Cloudlet: `make` lists what there is.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python

.PHONY: help setup setup-test demo test test-alone test-with-engines test-slow lint bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing to run Cloudlet (.venv, Debian packages)
	@packaging/setup.sh run

setup-test:
	@packaging/setup.sh test

demo: setup ## the walk-through: push an image, run it, reach it, kill it, see it come back
	@packaging/rooted.sh .venv/bin/cloudlet demo

lint: setup-test ## ruff and mypy
	@.venv/bin/ruff check src tests bench
	@.venv/bin/mypy

# What needs nothing but itself runs beside what starts engines and whole Cloudlets, of which one runs at a time.
ALONE := tests/control tests/kernel tests/services tests/simulation tests/store tests/wire tests/test_coverage.py \
  tests/test_house.py

test: setup-test lint ## everything this machine can run, in minutes; says what it could not run
	@$(MAKE) -s -k -j2 -Otarget test-with-engines test-alone

test-alone:
	@packaging/rooted.sh $(PYTHON) -m pytest -m "not slow" $(ALONE)

test-with-engines:
	@packaging/rooted.sh $(PYTHON) -m pytest -m "not slow" $(ALONE:%=--ignore=%)

test-slow: setup-test ## the long suites as well
	@packaging/rooted.sh $(PYTHON) -m pytest

bench: setup-test ## the measurements of bench/README.md
	@packaging/rooted.sh $(PYTHON) -m bench

lock: ## resolve packaging/requirements.lock anew from pyproject.toml's ranges
	@$(PYTHON) -m pip install -q uv
	@$(PYTHON) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	  --no-emit-find-links --group dev pyproject.toml -o packaging/requirements.lock

clean: ## remove what make made here
	@rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
