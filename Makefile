# Two commands are all a newcomer needs: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
BASE := .venv/.base
DEV := .venv/.dev

define into_environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "symbias needs Python 3.11 or newer: make PYTHON=/path/to/python" >&2; exit 1; }
@echo "Installing into .venv ..."
@$(PYTHON) -m venv .venv
@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt --editable '$(1)'
endef

.PHONY: install demo check test test-slow docs lint format clean

# all extras, tests, linters, documentation
install: $(DEV)

# what the demo needs
$(BASE): pyproject.toml constraints.txt
	$(call into_environment,.)
	@touch $@

$(DEV): pyproject.toml constraints.txt
	$(call into_environment,.[dev])
	@touch $(BASE) $@

demo: $(BASE)
	@$(BIN)/symbias demo --out out/demo

# two workers, a file at a time; more BLAS threads would only wait for one another
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# half of the time of most tests goes into compiling: here in a hurry, in test-slow as for users
HURRY := JAX_DISABLE_MOST_OPTIMIZATIONS=1 \
	XLA_FLAGS="--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"

# a few tests of every file: under two minutes
check: $(DEV)
	$(HURRY) $(PYTEST) -m "not slow" --few 2

test: $(DEV)
	$(HURRY) $(PYTEST) -m "not slow"

# in two runs: a process may map only 65,530 areas of memory, some tens for each program of JAX
test-slow: $(DEV)
	$(PYTEST) -m slow tests/studies
	$(PYTEST) -m slow --ignore tests/studies

# computes the gallery of cards: a minute and a half
docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "The site is out/docs/index.html; with its search: $(BIN)/mkdocs serve"

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv out build dist
