# Everything starts from python3 and make alone; each target sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps

.DEFAULT_GOAL := help
.PHONY: help demo stack test check format lint types contracts docs docs-check budget histories cacheless soak lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

.venv/.run: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -r requirements.txt
	touch $@

.venv/.dev: requirements-dev.txt .venv/.run
	$(PIP) -r requirements-dev.txt
	touch $@

demo: .venv/.run ## run the tour on the embedded stack; ONCE=1 ends by itself
	$(BIN)/python -m starter demo $(if $(ONCE),--once)

stack: .venv/.run ## run the embedded stack until Ctrl-C
	$(BIN)/python -m starter stack

test: .venv/.dev ## run the whole test suite; every order of a live test is replayed at its end
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: lint types contracts docs-check test ## format, lint, types, import contracts, generated docs, tests

format: .venv/.dev ## format the code and bring the generated docs up to date
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(MAKE) docs

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.dev
	$(BIN)/mypy

contracts: .venv/.dev
	$(BIN)/lint-imports

docs: .venv/.dev ## write the generated parts of the docs
	$(BIN)/cog -r -I . README.md docs/*.md

docs-check: .venv/.dev
	$(BIN)/cog --check -I . README.md docs/*.md

budget: .venv/.dev ## count events, actions and bytes of one order per path, on the real server
	$(BIN)/python -m bench.budget

histories: .venv/.dev ## record the histories that are missing in tests/replay
	$(BIN)/python -m bench.record $(LIVES)

cacheless: .venv/.dev ## run the live tests on a worker that keeps no order in memory
	MAX_CACHED_WORKFLOWS=0 $(BIN)/python -m pytest -m "live and not patience"

soak: .venv/.dev ## the long version of the races: SOAK orders (default 300)
	$(BIN)/python -m pytest tests/test_races.py --soak $(or $(SOAK),300)

lock: .venv/.dev ## lock the requirements anew, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --extra dev pyproject.toml -o requirements-dev.txt

clean: ## remove the environment and the embedded stack's data
	rm -rf .venv .data
