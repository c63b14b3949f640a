# `make run` and `make test` need nothing but Python >= 3.11 and make: each makes .venv first.
PYTHON ?= python3
BIN := .venv/bin
.PHONY: run test test-all check clean

run: .venv/installed
	$(BIN)/raycollab run

test: .venv/installed check
	$(BIN)/python -m pytest -n auto --maxprocesses 8 -m "not ray and not long"
	$(BIN)/python -m pytest -m "ray and not long"

test-all: test
	$(BIN)/python -m pytest -n auto --maxprocesses 8 -m "long and not ray"
	$(BIN)/python -m pytest -m "long and ray"

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev,adapters,onnx,search,trust]'
	touch $@

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
