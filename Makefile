# The whole developer interface. Everything works on a fresh checkout.
SHELL := /bin/bash
BIN := .venv/bin
WORKERS ?= 4
TORTURERS ?= 6
TORTURE ?= tests/torture tests/simulation tests/faults/test_commands_under_faults.py

.PHONY: help setup demo test check torture bench soak docs lock

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup:  ## .venv with everything pinned, and .venv/bin/filemill
	@scripts/setup

demo: setup  ## real files through the real product, into demo/
	@$(BIN)/python scripts/demo.py

check: setup  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check  ## check, and every test
	@scripts/services
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 25

torture: setup  ## kill it at every step, for longer than `test` does (under an hour)
	@scripts/services torture
	FILEMILL_SEEDS=$${FILEMILL_SEEDS:-2000} FILEMILL_STRIDE=$${FILEMILL_STRIDE:-3} $(BIN)/python -m pytest $(TORTURE) \
		-n $(TORTURERS) --dist load --maxschedchunk 1 --timeout 3600 --durations 40

bench: setup  ## measure it beside its peers, into docs/performance.md (about 40 minutes)
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/uploads.py --write

soak: setup  ## half an hour of mixed load with kills; does anything grow?
	$(BIN)/python benchmarks/soak.py

docs: setup  ## write the generated pages of docs/ anew
	$(BIN)/python scripts/docs.py

lock:  ## pin dependencies anew (needs uv)
	scripts/lock
