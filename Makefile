# `make demo` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test check bench clean

help:
	@echo "make demo    install into .venv, index pictures, search them, show the result"
	@echo "make test    install into .venv and run the tests"
	@echo "make check   what CI runs: tests, lint, types, layers, spelling"

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

# hnswlib comes as source; without a C++ compiler its tests are skipped and the rest runs.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[heif,tencent]" --group dev
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt "hnswlib>=0.8" \
		|| echo "hnswlib did not build (is there a C++ compiler?): its tests will be skipped"
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/imagesearch demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

check: test
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src tests benchmarks examples docs README.md CHANGELOG.md

clean:
	rm -rf $(VENV) imagesearch-demo build dist
