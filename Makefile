# The first target that needs it makes the environment in .venv; it is made again when pyproject.toml changes.
# PYTHON=/path/to/python3 names another interpreter. Nothing outside this folder is changed.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# PyTorch without CUDA for Linux; where this index cannot be reached, pip's own settings count.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Two at a time, a file each: integration tests start processes of their own, so more only get in each other's way.
TESTS ?= tests
PYTEST ?= --numprocesses 2 --dist loadfile

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
DEMO_JOB = demo-$(shell date -u +%Y%m%d-%H%M%S)

.PHONY: help demo test faults soak lint format docs benchmark-manifests evaluate-shapes clean
.DEFAULT_GOAL := help

help:  ## Say what the targets do
	@sed -n 's/^\([a-z-]*\):.*## /  make \1  \t/p' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints/cpu.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	@echo "Making the environment in $(VENV) with $$($(PYTHON) --version): some minutes, about 2 GB ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade pip
	@index=""; if [ "$$(uname -s)" = Linux ] && $(BIN)/python -c \
		"import urllib.request as r; r.urlopen('$(TORCH_INDEX)/torch/', timeout=5)" 2>/dev/null; \
		then index="--extra-index-url $(TORCH_INDEX)"; fi; \
		$(PIP) --constraint constraints/cpu.txt $$index torch
	@$(PIP) --constraint constraints/cpu.txt --editable '.[worker,local,dev]'
	@touch $@

demo: $(READY)  ## Render examples/demo.jsonl on this machine with all five pipelines, into demo-out/
	@rm -rf demo-out
	@$(BIN)/promptmill run examples/demo.jsonl --job-id $(DEMO_JOB) --data-dir .promptmill/demo --out demo-out
	@$(BIN)/python examples/contact_sheet.py demo-out
	@echo && ls demo-out && echo && echo "All on one sheet: $(CURDIR)/demo-out/sheet.png"

test: $(READY)  ## Run all tests
	@$(BIN)/pytest --quiet $(PYTEST) $(TESTS)

faults: $(READY)  ## Run the fault suite: processes killed, services broken, on real ones (about 20 minutes)
	@$(BIN)/pytest --quiet --numprocesses 2 --dist worksteal -m faults tests/faults

SOAK ?= --minutes 20 --seed 1 --rows 5000 --workers 3
soak: $(READY)  ## Run jobs while one fault follows the other, by a seed: make soak SOAK="--minutes 60 --seed 7"
	@$(BIN)/python -m tests.faults.soak $(SOAK)

lint: $(READY)  ## Run ruff, mypy, the import rules, and the check that docs/ is up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/generate.py --check

benchmark-manifests: $(READY)  ## Print how fast manifests are read, planned and submitted (ROWS=1000000)
	$(BIN)/python -m benchmarks.manifests --rows $(or $(ROWS),1000000) --twice

evaluate-shapes: $(READY)  ## Print the figures of the built-in model `shapes`
	$(BIN)/python -m models.training.evaluate

format: $(READY)  ## Format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## Write what docs/ has from the code: commands, settings, fields of a row
	$(BIN)/python docs/generate.py

clean:  ## Remove the environment, the demo and every cache; jobs of your own in .promptmill/ stay
	rm -rf $(VENV) demo-out .promptmill/demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
