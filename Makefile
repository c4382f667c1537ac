# make demo   trains a network dense, sparse, and sparse with kernels, and compares them
# make test   all tests
# make lint   style and types
# make ops    compiles the ops that have changed; demo and test do that, too
# make objects   compiles only the files that need no TensorFlow, which can be installed meanwhile
# make sanitize   tests of kernels and ops under AddressSanitizer, UndefinedBehaviorSanitizer and
#                 ThreadSanitizer
# make mutants   changes of keras_sparse/rules and training that no fast test notices; takes hours,
#                and goes on where it was stopped; MODULES='rules/budget' for one module
# make docs   the documentation site, in build/site; fails for a link or anchor that does not exist
# make release-check   an sdist and a wheel in dist/, installed and tried without a compiler; takes
#                      several minutes; PYTHONS="3.12 3.13" tries these versions of Python
# Each creates .venv on its first run. They need Python 3.11 or later with venv, and make
# (Debian: python3 python3-venv make g++).

PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
BUILD_OPS = $(BIN)/python custom_ops/build/build_ops.py
CPP = $(shell find custom_ops keras_sparse/tpu_check tests/gpu \
    -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo test lint ops objects sanitize mutants docs release-check clean

demo: .venv/installed-demo
	$(BUILD_OPS)
	$(BIN)/python examples/demo.py

test: .venv/installed-test
	$(BUILD_OPS)
	$(BIN)/pytest -n $(JOBS) --dist worksteal

lint: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(if $(CPP),$(BIN)/clang-format --dry-run --Werror $(CPP))

ops: .venv/installed-test
	$(BUILD_OPS)

objects:
	$(PYTHON) custom_ops/build/build_ops.py --without-tensorflow

sanitize: .venv/installed-test
	$(BIN)/python custom_ops/build/sanitize.py

mutants: .venv/installed-mutants
	$(BUILD_OPS)
	$(BIN)/python tests/mutants $(MODULES)

docs: .venv/installed-docs
	$(BIN)/python docs/build_site.py

release-check: .venv/installed-release
	$(BIN)/python custom_ops/build/release.py $(PYTHONS:%=--python %)
	$(BUILD_OPS)

.venv/bin/pip:
	$(PYTHON) -m venv .venv

# pyproject.toml is newer than the stamps after every change of the requirements. BUILD_OPS builds
# the ops afterwards: within this installation, they would need a TensorFlow of their own.
.venv/installed-%: pyproject.toml setup.py | .venv/bin/pip
	KERAS_SPARSE_BUILD_OPS=0 $(BIN)/pip install --quiet --editable '.[$*]'
	touch $@

# The site needs what the extra `docs` names, and neither the package nor TensorFlow.
REQUIREMENTS_OF_DOCS = import tomllib; \
    print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])

.venv/installed-docs: pyproject.toml | .venv/bin/pip
	$(BIN)/python -c '$(REQUIREMENTS_OF_DOCS)' | xargs $(BIN)/pip install --quiet
	touch $@

clean:
	rm -rf .venv build dist *.egg-info keras_sparse/_ops
