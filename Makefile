# Commands for developers. Everything runs in a virtual environment that install.sh creates once and
# updates when pyproject.toml, constraints.txt, lock.txt or install.sh change.
#
#   make demo                   pictures in, an evaluated style transfer out, on any CPU
#   make test PYTHON=python3.12 with the interpreter of your choice (3.11 or newer)
#   make demo OUT=../demo       into another folder
#
# PYTHON  interpreter of the environment (to change it: make clean first); empty: the
#         first suitable one on the PATH
# VENV    folder of the environment
# LOCK    lock file to install from; empty: the versions of constraints.txt, without hashes
# OUT     output folder of the demo, or of the open benchmark
# TESTS   arguments for pytest, e.g. TESTS="tests/pair -k draw"
# JOBS    test files, or torture trials, to run in parallel
# TRIALS  arguments for torture, e.g. TRIALS="kills --seed 5"

PYTHON =
VENV = .venv
LOCK = lock.txt
OUT = demo
TESTS =
TRIALS =
JOBS := $(shell nproc 2> /dev/null || echo 1)

BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
SOURCES := megastyle_cli commands tests benchmarks

# For examples/, which call `megastyle` by name.
export PATH := $(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo test fmt lint type completions docs site lock bench benchmark torture clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml constraints.txt lock.txt install.sh
	@LOCK="$(LOCK)" ./install.sh "$(VENV)" $(PYTHON)
	@touch $@
	-@$(BIN)/megastyle doctor --prepare > /dev/null

demo: $(READY) ## run the whole pipeline on examples/pictures into OUT
	examples/pipeline.sh "$(OUT)"

test: $(READY) ## run the tests (on the CPU)
	$(BIN)/pytest -n $(JOBS) --max-worker-restart 0 $(TESTS)

fmt: $(READY) ## format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

lint: $(READY) ## check format, rules and shell scripts
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	if command -v shellcheck; then shellcheck -x install.sh .ci/run tests/*.sh tests/slurm/*.sh examples/*.sh examples/slurm/*.s[bh]*; fi

type: $(READY) ## check types
	$(BIN)/mypy megastyle_cli commands

completions: $(READY) ## generate completions/
	$(BIN)/megastyle completion bash > completions/megastyle.bash
	$(BIN)/megastyle completion zsh > completions/_megastyle
	$(BIN)/megastyle completion fish > completions/megastyle.fish

docs: completions ## update the generated parts of README.md and docs/, and the man pages
	$(BIN)/python -m tests.contract.test_docs

site: $(READY) ## build docs/ into site/; broken links are errors
	$(BIN)/zensical build --strict --clean

# Without packages that are not for Linux or macOS, and without torch, which install.sh installs.
lock: $(READY) ## update lock.txt: the versions of constraints.txt with the hashes of their files
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
		--python-version 3.11 --extra dev --constraint constraints.txt --output-file lock.txt \
		$(addprefix --no-emit-package ,torch colorama httpx2-jsfetch) pyproject.toml

bench: $(READY) ## time the commands beside their peers (minutes); figures are kept in RESULTS.md
	for question in benchmarks/*.py; do $(BIN)/python "$$question" || exit 1; done

benchmark: OUT = open-benchmark
benchmark: $(READY) ## score every encoder that needs no download on the open style benchmark
	examples/open_benchmark/run.sh "$(OUT)"

torture: $(READY) ## test every command against kills, full disks and damaged files (half an hour)
	$(BIN)/python -m benchmarks.torture --jobs $(JOBS) $(TRIALS)

clean: ## remove everything that make created, including the environment
	rm -rf "$(VENV)" "$(OUT)" build site .cache *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +
