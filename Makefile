# The one door. `make help` lists what it opens.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV ?= .venv
# ros and one of cpu or gpu are needed to run; dev to test.
EXTRAS ?= ros cpu dev
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps

# A shell of another ROS or of another environment of ROS wheels must not leak into ours: the wheels' bootstrap marks
# the environment once it has set LD_LIBRARY_PATH, and would then leave ours unset.
ifdef _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport LD_LIBRARY_PATH
endif
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

# Stamps are named after the content they stand for, so that a checkout or a touch alone rebuilds nothing.
hash = $(shell cat $(1) | sha256sum | cut -c1-16)
DEPENDENCIES := $(STAMPS)/dependencies-$(shell echo '$(EXTRAS)' | cat - pyproject.toml constraints.txt | sha256sum | cut -c1-16)
SOURCES := CMakeLists.txt package.xml setup.py pyproject.toml $(wildcard README.md) $(shell find crossover_models \
    crossover_ros cmake config launch msg srv action scripts -type f -not -path '*/__pycache__/*' 2>/dev/null | LC_ALL=C sort)
PACKAGE := $(STAMPS)/package-$(call hash,$(SOURCES))

# One thread a process: with more, the small matrices of the tests run slower, and CI machines have few cores.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help setup demo test lint format types bench faults clean distclean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(PACKAGE) ## Install everything into .venv (quick when nothing changed)
	@echo "$(VENV) is up to date"

demo: setup ## Build a map, simulate a robot, localize it over ROS 2; writes build/demo/report.{json,html}
	$(BIN)/crossover demo --out build/demo

test: setup ## Run all tests (PYTEST_ARGS=... for some)
	$(TEST_ENVIRONMENT) $(BIN)/pytest $(PYTEST_ARGS)

lint: setup ## Check style
	$(BIN)/ruff check .

format: setup ## Format the sources in place
	$(BIN)/ruff format .

types: setup ## Check types (mypy strict, both packages)
	$(BIN)/mypy

# Real scans and logs for 'bench laser2d'; left out where there are none.
LASER2D ?= ../shared/data/laser2d
LASER_LOGS ?= ../shared/data/radish

# Small sizes by default; FULL=1 measures a million places and the whole ranges of growth.
bench: setup ## Measure index, growth, search, sparse, laser, latency (FULL=1: all sizes); writes docs/performance.md
	@mkdir -p build/bench
	$(TEST_ENVIRONMENT) $(BIN)/crossover bench index --places 20000 --json build/bench/index-20k.json
	$(TEST_ENVIRONMENT) $(BIN)/crossover bench index --places 100000 --json build/bench/index-100k.json
	$(if $(FULL),$(TEST_ENVIRONMENT) $(BIN)/crossover bench index --places 1000000 --json build/bench/index-1M.json)
	$(if $(FULL),$(TEST_ENVIRONMENT) $(BIN)/crossover bench index --places 1000000 --dimensions 768 --kind ivf \
	    --json build/bench/index-1M-768.json)
	$(TEST_ENVIRONMENT) $(BIN)/crossover bench growth $(if $(FULL),,--points 100000 --views 4 --rooms 20000 --levels 20 \
	    --area 4000) --json build/bench/growth.json
	$(TEST_ENVIRONMENT) $(BIN)/crossover bench search --json build/bench/search.json
	$(TEST_ENVIRONMENT) $(BIN)/crossover bench sparse $(if $(FULL),,--voxels 20000) --json build/bench/sparse.json
	$(if $(wildcard $(LASER2D)),$(BIN)/crossover bench laser2d --data $(LASER2D) --logs $(LASER_LOGS) \
	    $(if $(wildcard $(LASER_LOGS)),,--starts 0) --json build/bench/laser2d.json,@echo "laser2d: no scans in $(LASER2D)")
	$(BIN)/crossover bench latency $(if $(FULL),,--duration 20 --repeat 1) --out build/bench/latency \
	    --json build/bench/latency.json
	$(BIN)/crossover bench page --figures build/bench --markdown docs/performance.md

faults: setup ## Break sensors, files and processes, fuzz all readers (LONG=1 for hours); writes build/faults.json
	$(BIN)/crossover bench faults $(if $(LONG),--long) --json build/faults.json

clean: ## Remove what was built, keep .venv
	rm -rf build install log *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

distclean: clean ## Remove .venv too
	rm -rf $(VENV)

$(DEPENDENCIES): | $(BIN)/python
	@echo "== Dependencies ($(EXTRAS)): several minutes the first time"
	$(BIN)/python -m pip install --upgrade 'pip>=25'
	@mkdir -p $(STAMPS) && rm -f $(STAMPS)/*
	$(BIN)/python scripts/requirements.py build $(EXTRAS) > $(STAMPS)/requirements.txt
	# torch first and pinned: met as somebody's dependency, pip would fetch its several GB of CUDA libraries.
	$(BIN)/python -m pip install -c constraints.txt "$$(grep '^torch==' $(STAMPS)/requirements.txt)"
	$(BIN)/python -m pip install -c constraints.txt -r $(STAMPS)/requirements.txt
	@touch $@

$(PACKAGE): $(DEPENDENCIES)
	@echo "== Package (interfaces take half a minute when they changed)"
	$(BIN)/python -m pip install --no-build-isolation --no-deps --force-reinstall .
	@rm -f $(STAMPS)/package-* && touch $@

$(BIN)/python:
	@echo "== Virtual environment $(VENV)"
	python=$$(scripts/system_packages.sh) && "$$python" -m venv $(VENV)
