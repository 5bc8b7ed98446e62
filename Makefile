# Everything that is done in this repository, from a fresh clone, with Python >= 3.10, pip and make.
# The first target that needs it makes .venv; each step of that is done again only if the files that
# it reads have changed. For a build of torch without CUDA, point pip at an index that has one
# (PIP_INDEX_URL or PIP_EXTRA_INDEX_URL) before the first `make`.

PYTHON ?= python3
OPTIM ?= adamw_torch
SCHEDULER ?=
REPORT_TO ?= tensorboard
ARGS ?=
PYTEST_ARGS ?=
KILLS ?= 3000
SEED ?=
JOBS ?= 2
BENCH ?= all
V ?=

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
QUIET := $(if $(V),,-qq)
INSTALL := $(PIP) install $(QUIET) -c constraints.txt
SPACE := $(subst ,, )
SAY := @printf '== %s\n'

# What `drivetrain` itself installs; other plugins have a stamp of their own.
DISTRIBUTIONS := . registry core plugins/torch plugins/tensorboard
BUILDABLE := . registry core $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml contrib/*/pyproject.toml))
# The other plugins, and the one that provides OPTIM: by its name, or as one of a family (`po_*`).
PLUGINS := $(filter-out contrib/template $(DISTRIBUTIONS),$(filter plugins/% contrib/%,$(BUILDABLE)))
APART := plugins/liger plugins/trackio contrib/dagshub contrib/dvclive contrib/flyte
OPTIM_NAME = $(lastword $(subst :, ,$(OPTIM)))
OPTIM_FAMILY = $(firstword $(subst _, ,$(OPTIM_NAME)))_\*
OPTIM_PLUGIN = $(patsubst %/pyproject.toml,$(STAMPS)/%,$(shell \
  grep -lsE '^"?($(OPTIM_NAME)|$(OPTIM_FAMILY))"? = ' $(addsuffix /pyproject.toml,$(PLUGINS))))

# Tests run in as many processes as there are cores to use, so one thread each.
test test-fast: export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-fast torture bench lint format wheels clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@printf '\nVariables: PYTHON=%s OPTIM=%s SCHEDULER=%s REPORT_TO=%s\n' $(PYTHON) $(OPTIM) '$(SCHEDULER)' $(REPORT_TO)
	@printf '  ARGS="..." for the demo, PYTEST_ARGS="-k name" and JOBS=2 for tests, V=1 to see what pip does\n'

# -- targets ----------------------------------------------------------------------------------------

demo: $(STAMPS)/demo $(OPTIM_PLUGIN) ## Train a small GPT: OPTIM=galore_adamw SCHEDULER=linear ...
	$(SAY) 'Training: optimizer $(OPTIM), schedule $(or $(SCHEDULER),that suits it), reporter $(REPORT_TO)'
	@$(BIN)/python examples/gpt/demo.py --optim $(OPTIM) $(if $(SCHEDULER),--scheduler $(SCHEDULER)) --report-to $(REPORT_TO) $(ARGS)

test: $(STAMPS)/test ## Run all tests but those that need a GPU.
	$(SAY) 'Running all tests (some minutes)'
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not gpu" $(PYTEST_ARGS)

test-fast: $(STAMPS)/test ## Run the tests that take no installs and no whole trainings.
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow and not gpu" $(PYTEST_ARGS)

torture: $(STAMPS)/test ## Kill training 3,000 times, a quarter of an hour: KILLS=500 SEED=7 ...
	@$(BIN)/python tests/e2e/crashes/torture.py --kills $(KILLS) --jobs $(JOBS) $(if $(SEED),--seed $(SEED))

bench: $(STAMPS)/bench ## Measure trainers side by side, an hour: BENCH=loop ARGS=--quick ...
	@$(BIN)/python benchmarks $(BENCH) $(ARGS)

lint: $(STAMPS)/lint ## Check style, types and the direction of imports.
	$(SAY) 'ruff, mypy, import-linter (20 s)'
	@status=0; \
	$(BIN)/ruff check . || status=1; \
	$(BIN)/ruff format --check . || status=1; \
	$(BIN)/mypy || status=1; \
	PYTHONPATH=$(subst $(SPACE),:,$(addsuffix /src,$(PLUGINS))) $(BIN)/lint-imports --no-logo || status=1; \
	exit $$status

format: $(STAMPS)/lint ## Rewrite the code as `make lint` wants it, as far as ruff can.
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

wheels: $(STAMPS)/build ## Build a wheel of every distribution into dist/.
	$(SAY) 'Building wheels into dist/ (5 s)'
	@rm -rf dist
	@$(PIP) wheel $(QUIET) --no-deps --no-build-isolation -w dist $(addprefix ./,$(BUILDABLE))
	@ls dist

clean: ## Remove .venv, wheels and caches. What runs wrote stays.
	rm -rf $(VENV) dist htmlcov .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the virtual environment, step by step ----------------------------------------------------------

$(STAMPS)/venv:
	$(SAY) 'Making $(VENV) (5 s)'
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.version_info >= (3, 10) or \
	  sys.exit(f"$(PYTHON) is Python {v}; drivetrain needs 3.10. Type: make PYTHON=python3.12, say")'
	@$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build: requirements/build.txt | $(STAMPS)/venv
	$(SAY) 'Installing what builds wheels (2 s)'
	@$(INSTALL) -r requirements/build.txt
	@touch $@

$(STAMPS)/torch: constraints.txt | $(STAMPS)/venv
	$(SAY) 'Installing torch (30 s; with CUDA some minutes)'
	@$(INSTALL) torch
	@touch $@

$(STAMPS)/base: $(addsuffix /pyproject.toml,$(DISTRIBUTIONS)) $(STAMPS)/torch $(STAMPS)/build
	$(SAY) 'Installing drivetrain: registry, core, torch and tensorboard plugins (15 s)'
	@$(INSTALL) --no-build-isolation $(addprefix -e ./,$(DISTRIBUTIONS))
	@touch $@

# One plugin and its library, for the demo.
$(addprefix $(STAMPS)/,$(PLUGINS)): $(STAMPS)/%: %/pyproject.toml $(STAMPS)/base
	$(SAY) 'Installing $* and its library (up to 30 s)'
	@$(INSTALL) --no-build-isolation -e ./$*
	@mkdir -p $(@D) && touch $@

# All of them, but the libraries of a few: Liger's brings Triton, a gigabyte, which computes nothing without a GPU;
# the others' move what the rest of this environment needs, and get one of their own when they are tested.
$(STAMPS)/plugins-all: $(addsuffix /pyproject.toml,$(PLUGINS)) $(STAMPS)/base
	$(SAY) 'Installing every plugin and the libraries (1 min)'
	@$(INSTALL) --no-build-isolation $(addprefix -e ./,$(filter-out $(APART),$(PLUGINS)))
	@$(INSTALL) --no-build-isolation --no-deps $(addprefix -e ./,$(APART))
	@touch $@

$(STAMPS)/demo: requirements/demo.txt $(STAMPS)/base
	$(SAY) 'Installing what the demo draws with (5 s)'
	@$(INSTALL) -r requirements/demo.txt
	@touch $@

$(STAMPS)/test: requirements/test.txt requirements/demo.txt requirements/examples.txt $(STAMPS)/plugins-all
	$(SAY) 'Installing what the tests need (20 s)'
	@$(INSTALL) -r requirements/test.txt
	@touch $@

$(STAMPS)/bench: requirements/bench.txt requirements/demo.txt $(STAMPS)/base
	$(SAY) 'Installing the trainers to compare with (1 min)'
	@$(INSTALL) -r requirements/bench.txt
	@touch $@

$(STAMPS)/lint: requirements/lint.txt $(STAMPS)/base
	$(SAY) 'Installing ruff, mypy and import-linter (6 s)'
	@$(INSTALL) -r requirements/lint.txt
	@touch $@
