# `make demo` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
# The extras that the tests need; without one of them its tests are skipped.
EXTRAS ?= heif,tencent,clip,ui,openvino,parquet
# The tests that need no model: for other versions of Python and the oldest dependencies.
CORE_TESTS := tests/filters tests/images tests/sources tests/stores tests/index tests/duplicates
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
FAST := -m "not slow and not browser" -n 2 --dist loadscope
EXAMPLE_PATHS := examples/plugin/src:examples/products
COVER := $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

.PHONY: help demo test slow wheel pythons floors lint check docs clean

help:
	@echo "make demo     install into .venv, index images, search them, show the result"
	@echo "make test     install into .venv and run the tests (COVERAGE=1 measures branch coverage)"
	@echo "make slow     run the tests that take longer, also those in a browser if chromium is there"
	@echo "make wheel    build the wheel and test it without the source tree"
	@echo "make pythons  run the tests that need no model on other versions of Python"
	@echo "make floors   run the tests that need no model on the oldest supported dependencies"
	@echo "make docs     write the generated pages, then build the documentation into site/"
	@echo "make check    all tests, format, lint, types, layers, spelling"

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
	$(BIN)/python -m pytest $(FAST) --durations=20 $(COVER)

slow: $(VENV)/.tested
	$(BIN)/python -m pytest -m "slow or browser" -n 4 --dist loadscope --no-loadscope-reorder --durations=20

wheel: $(VENV)/.tested
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --no-deps --target build/wheel/site build/wheel/*.whl
	cp -r tests pyproject.toml build/wheel/
	cd build/wheel && PYTHONPATH=site $(CURDIR)/$(BIN)/python -c \
		"import imagesearch, pathlib; assert pathlib.Path('site').resolve() in pathlib.Path(imagesearch.__file__).parents"
	cd build/wheel && PYTHONPATH=site $(CURDIR)/$(BIN)/python -m pytest $(FAST) -q \
		tests/test_import.py tests/test_config.py tests/filters tests/index tests/ui/test_view.py

pythons: $(VENV)/.tested
	@for python in $$($(BIN)/python tests/other_pythons.py); do \
		venv=.venv-$$($$python -c "import sys; print('%d.%d' % sys.version_info[:2])"); \
		echo "$$venv"; \
		$(BIN)/uv venv --quiet --allow-existing --python $$python $$venv && \
		$(BIN)/uv pip install --quiet --python $$venv --constraint constraints.txt \
			$$($(BIN)/python tests/core_requirements.py) --group core && \
		$(BIN)/uv pip install --quiet --python $$venv --no-deps --editable . && \
		$$venv/bin/python -m pytest $(FAST) -q $(CORE_TESTS) || exit 1; \
	done

floors: $(VENV)/.tested
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-floors
	$(BIN)/uv pip install --quiet --python .venv-floors --resolution lowest-direct \
		$$($(BIN)/python tests/core_requirements.py) --group core
	$(BIN)/uv pip install --quiet --python .venv-floors --no-deps --editable .
	.venv-floors/bin/python -m pytest $(FAST) -q $(CORE_TESTS)

lint: $(VENV)/.tested
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	MYPYPATH=$(EXAMPLE_PATHS) $(BIN)/mypy --explicit-package-bases $$(find examples -name '*.py' -not -path '*/tests/*')
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/codespell src tests benchmarks examples docs README.md CHANGELOG.md

check: test slow wheel pythons floors lint

docs: $(VENV)/.tested
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .venv-* imagesearch-demo build dist site
