# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.
#   PYTHON=python3.12   interpreter to build it with, 3.11 or newer
#   ACCEL=cuda13        accelerator to install for: cuda12, cuda13 or tpu; none means CPU
#   PORT=8000           where `make serve` listens
#   OHIO_DATA=folder    where the city files lie, if they are at hand

PYTHON ?= python3
ACCEL ?=
PORT ?= 8000
comma := ,
BIN := .venv/bin
STAMP := .venv/.installed$(if $(ACCEL),-$(ACCEL))
DOCS := $(STAMP)-docs
# pip's work in a tenth of its time; compiled to bytecode, so that no process does it again where Python may not write.
INSTALL := $(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable

ifneq ($(filter-out cuda12 cuda13 tpu,$(ACCEL)),)
$(error ACCEL: expected cuda12, cuda13 or tpu, found $(ACCEL))
endif

.DEFAULT_GOAL := help
.PHONY: help install bench bench-routing bench-reacher bench-supply-chain bench-finetune bench-manipulation bench-paper leaderboard claims serve docs test lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## .venv with everything, for work on the project; the command is .venv/bin/ohio-jax

bench: $(STAMP) ## the tables, small: minutes on two cores
	$(BIN)/ohio-jax bench all --preset quick

bench-routing: $(STAMP) ## the vehicle-routing table: some hours on two cores
	$(BIN)/ohio-jax bench routing --preset cpu

bench-reacher: $(STAMP) ## the reacher table on the data with published figures: some two hours on two cores
	$(BIN)/ohio-jax bench reacher --preset cpu

bench-supply-chain: $(STAMP) ## the whole supply-chain table: an hour on two cores
	$(BIN)/ohio-jax bench supply-chain --preset cpu

bench-finetune: $(STAMP) ## learning on online, supply chain and routing: some hours on two cores
	$(BIN)/ohio-jax finetune --preset cpu

bench-manipulation: $(STAMP) ## Lift and Door under changed controllers: some hours on two cores
	$(BIN)/ohio-jax bench manipulation --preset cpu
	$(BIN)/ohio-jax bench gains --preset cpu

bench-paper: $(STAMP) ## the same with the paper's budgets: for an accelerator
	$(BIN)/ohio-jax bench all --preset paper

leaderboard: $(STAMP) ## results/index.html and every table again, from the run files alone
	$(BIN)/ohio-jax leaderboard

claims: $(STAMP) ## every claim judged anew, and written into README.md, docs and results/claims
	$(BIN)/ohio-jax claims --write

serve: leaderboard ## shows the leaderboard on localhost
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory results $(PORT)

docs: $(DOCS) ## the documentation as a site, docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

# Tests start many processes: modules are compiled once for all of them.
test: $(STAMP) ## the tests, without the slow ones
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest

lint: $(STAMP) ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean: ## removes the virtual environment, work files and caches; results stay
	rm -rf .venv .work results/.work build dist docs/_build docs/api/modules docs/tables docs/tasks docs/reference .pytest_cache .ruff_cache .hypothesis
	find . -type d -name __pycache__ -prune -exec rm -rf {} +

# A half-made environment has no pip yet and is made anew; a failed installation leaves no stamp and is tried again.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "expected Python 3.11 or newer," \
		"found $$($(PYTHON) --version 2>/dev/null || echo no $(PYTHON)); say which one: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "Making .venv, once; this takes a minute."; $(PYTHON) -m venv --clear .venv; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(INSTALL) '.[dev$(if $(ACCEL),$(comma)$(ACCEL))]'
	@touch $@

$(DOCS): $(STAMP)
	$(INSTALL) '.[docs]'
	@touch $@
