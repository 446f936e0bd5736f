PYTHON ?= python3
BIN := .venv/bin
# two processes of one thread share out the tests; AT_ONCE= runs them one by one
AT_ONCE ?= -n 2 --dist worksteal
export HF_HUB_OFFLINE ?= 1
export WANDB_MODE ?= offline
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help demo check test test-slow bench clean

help: ## show this list
	@grep -hE '^[a-z.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z.-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.venv: pyproject.toml constraints.txt ## set up: a virtual environment with pinned packages
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,demo,opensmile,dev]'
	@touch .venv

demo: .venv ## the whole story on a synthesised corpus: teacher, student, distilled student, report
	$(BIN)/ser-kd demo

check: .venv ## style, types, import law
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy ser_kd
	$(BIN)/lint-imports

test: .venv ## fast tests (under 10 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not slow and not gpu and not browser' $(AT_ONCE)

test-slow: .venv ## flows, notebooks, documented commands, two processes (under 30 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'slow and not gpu and not browser' $(AT_ONCE) --durations=30

bench: .venv ## side-by-side measurements: ratios, as a table in benchmarks/README.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/peers.txt
	$(BIN)/python -m benchmarks

clean: ## remove caches and the virtual environment; runs and reports stay
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
