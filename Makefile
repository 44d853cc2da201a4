# `make demo` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
# What the tests try besides the default; without one of them its tests are skipped.
EXTRAS ?= heif,tencent,clip,ui,openvino
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: help demo test slow lint check docs clean

help:
	@echo "make demo    install into .venv, index pictures, search them, show the result"
	@echo "make test    install into .venv and run the tests"
	@echo "make slow    run the tests that take longer, also those in a browser if chromium is there"
	@echo "make docs    write the generated pages, then build the documentation into site/"
	@echo "make check   what CI runs: all tests, format, lint, types, layers, spelling"

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(PIP) --editable .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(PIP) --editable ".[$(EXTRAS)]" --group dev
	@$(PIP) "hnswlib>=0.8" || echo "hnswlib did not build (no C++ compiler?): its tests are skipped"
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/imagesearch demo

test: $(VENV)/.tested
	$(BIN)/python -m pytest -m "not slow and not browser" -n 2 --dist loadscope

slow: $(VENV)/.tested
	$(BIN)/python -m pytest -m "slow or browser" -n 4 --dist loadscope

lint: $(VENV)/.tested
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src tests benchmarks examples docs README.md CHANGELOG.md

check: test slow lint

docs: $(VENV)/.tested
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) imagesearch-demo build dist site
