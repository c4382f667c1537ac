# make demo   train two LeNets, dense and sparse
# make test   all tests
# make lint   style and types
# Each makes .venv on its first run. Needs Python 3.11 or later with venv, and make (Debian: python3 python3-venv make g++).

PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
CPP = $(shell find custom_ops -name '*.h' -o -name '*.cc' -o -name '*.cu')

.PHONY: demo test lint clean

demo: .venv/installed-demo
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python examples/mnist.py

test: .venv/installed-test
	$(BIN)/pytest -n $(JOBS) --dist worksteal

lint: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(if $(CPP),$(BIN)/clang-format --dry-run --Werror $(CPP))

.venv/bin/pip:
	$(PYTHON) -m venv .venv

# The stamps are older than pyproject.toml after every change of what is needed.
.venv/installed-%: pyproject.toml setup.py | .venv/bin/pip
	$(BIN)/pip install --quiet --editable '.[$*]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info
