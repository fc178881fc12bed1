# Two commands matter: `make demo` and `make test`. TORCH_INDEX=<url> takes torch from an index of
# CPU-only builds; DATA=<folder> gives the demo real data; ROWS=<names> picks benchmarks.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
TORCH_INDEX ?=
BESIDE := -n 2 --dist worksteal # tests in two processes, each beginning its next when it is free
FORMATTED := $(patsubst %/__init__.py,%,$(wildcard */__init__.py)) examples tests

.PHONY: demo test check lint bench docs lock clean

demo: $(READY)
	$(BIN)/python -m services demo $(if $(DATA),--data "$(DATA)")

# Those that start Ray come last and one by one: they take both cores, and some watch the clock.
test: $(READY)
	$(BIN)/python -m pytest -q $(BESIDE) -m "not ray"
	$(BIN)/python -m pytest -q -m ray

check: lint
	$(BIN)/python -m pytest -q $(BESIDE) -m "not ray and not slow"

lint: $(READY)
	$(BIN)/ruff format --check $(FORMATTED)
	$(BIN)/ruff check $(FORMATTED)
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m tests.bench $(ROWS)

docs: $(READY)
	$(BIN)/zensical build --strict

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Lepton's lock is for Python 3.11; name one: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(PIP) "$$(grep '^torch==' requirements.lock)" --index-url $(TORCH_INDEX))
	$(PIP) --quiet --requirement requirements.lock
	$(PIP) --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Exact versions of what the ranges in pyproject.toml allow today.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet "pip>=25.1"
	build/lock/bin/python -m pip install --quiet --group cluster --group dev .
	build/lock/bin/python -m pip freeze --exclude lepton --exclude pip | \
		sed -e 's/+cpu$$//' -e '/^nvidia-/d' -e '/^triton==/d' > requirements.lock

clean:
	rm -rf $(VENV) build dist
