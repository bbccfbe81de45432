# Everything is installed into .venv by scripts/setup.sh, which does nothing when all is there.
#   make setup PYTHON=/path/to/python3.11    another Python than the first 3.11 on PATH
#   make setup MPI=system                    the site's MPI instead of Intel MPI from the registry
#   make setup WHEELHOUSE=folder             without internet: from what `make wheelhouse` gathered
#   make test ARGS="-k schedule"             arguments for what the target runs
#   make study DATA=/path/to/images          another folder than ./cifar10
PYTHON ?=
MPI ?=
WHEELHOUSE ?=
ARGS ?=
DATA ?= cifar10
# With it, as in many containers, every start of the program compiles it: 0.4 s more, each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
GROUPS := test-tf test-ranks test-slurm test-browser test-slow
.PHONY: help setup setup-tests wheelhouse dry-run test $(GROUPS) torture study rank-costs check format docs clean

help:     ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s  %s\n", $$1, $$2 }' Makefile

setup:    ## build .venv with the whole stack: once, about 6 minutes
	@PYTHON="$(PYTHON)" MPI="$(MPI)" WHEELHOUSE="$(WHEELHOUSE)" scripts/setup.sh

setup-tests:  ## the same with what tests and linters need
	@PYTHON="$(PYTHON)" MPI="$(MPI)" WHEELHOUSE="$(WHEELHOUSE)" TESTS=yes scripts/setup.sh

wheelhouse:  ## gather all that the set-up needs into a folder: 1 GB, for machines without internet
	@PYTHON="$(or $(PYTHON),python3)" scripts/wheelhouse.sh "$(or $(WHEELHOUSE),wheelhouse)"

dry-run: setup  ## train ResNet-50 for a few steps on this machine
	.venv/bin/hvdtrain dry-run $(ARGS)

test: setup-tests  ## all tests
	.venv/bin/python -m pytest $(ARGS)

# A test that is not quick is in one group. What has several marks is where most is needed.
test-tf: MARKS = tf and not (ranks or slurm or browser)  ## of these what needs TensorFlow alone
test-ranks: MARKS = ranks and not (slurm or browser)  ## what starts MPI ranks
test-slurm: MARKS = slurm  ## what needs a real Slurm
test-browser: MARKS = browser and not slurm  ## what needs Chromium
test-slow: MARKS = slow and not (tf or ranks or slurm or browser)  ## what only takes long
$(GROUPS): setup-tests
	.venv/bin/python -m pytest -m "$(strip $(MARKS))" $(ARGS)

torture: SEED = $(or $(HVDTRAIN_SEED),$(shell date +%s))
torture: setup-tests  ## 100 random faults, and 200 runs without a false alarm: about 80 minutes
	HVDTRAIN_FAULTS=100 HVDTRAIN_SEED=$(SEED) .venv/bin/python -m pytest tests/faults $(ARGS)
	HVDTRAIN_CALM=200 .venv/bin/python -m pytest tests/train/health/test_watchdog.py -k alarm $(ARGS)

study: setup  ## recipes against each other on a small data set: about 90 minutes
	.venv/bin/python -m scripts.study --data "$(DATA)" --results results/study

rank-costs: setup  ## measure what grows with the ranks: about 3 minutes
	.venv/bin/python -m scripts.rank_costs

check: setup-tests  ## ruff, mypy and the quick tests: no TensorFlow, MPI ranks, Slurm or Chromium
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/python -m pytest -n auto --quick $(ARGS)

format: setup-tests  ## lay out the code as `make check` wants it
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

docs: setup  ## write docs/commands.md, the reference of all commands
	.venv/bin/python -m scripts.reference

clean:    ## remove .venv and caches; the next target builds them anew
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
