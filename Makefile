# Each target does its own set-up. The second run finds it done and starts at once.
#
#   make demo     install, then show a trained character
#   make test     install with the developers' tools, then run the quick tests
#
# Settings:  make test VENV=/tmp/venv PYTHON=python3.12 TORCH_INDEX=<address of an index with CPU builds>

VENV        ?= .venv
PYTHON      ?=
# Without an NVIDIA GPU a build of torch for the CPU will do. On Linux the default package index has only the CUDA
# build, larger by gigabytes: TORCH_INDEX is the address of an index that has CPU ones (see CONTRIBUTING.md).
TORCH       ?= torch==2.13.0
TORCH_INDEX ?=

BIN  := $(VENV)/bin
# Twice quiet: errors alone. Package indexes that lack a package are not worth a line each.
PIP  := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
MADE = pyproject.toml setup.py
CODE = mprl motion envs agents scripts tests .ci

.DEFAULT_GOAL := help
.PHONY: help demo test lint format tree opengl clean

help:  ## show this
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile

demo: $(VENV)/.installed opengl  ## install, then show a trained character; results in runs/demo
	$(BIN)/mprl demo

# A file's tests go to one worker, which then makes their fixtures once. Bytecode is kept whatever the environment says: each worker
# would compile all tests and modules anew, half a minute of CPU.
test: $(VENV)/.installed-dev opengl  ## run the quick tests; e.g. make test ARGS="-m slow"
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: $(VENV)/.installed-dev tree  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## let ruff fix and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tree: $(VENV)/.torch  ## .tree: the tree as installed, for mypy and editors
	@$(BIN)/python .ci/tree.py

clean:  ## remove the virtual environment, builds and caches; runs/ stays
	rm -rf $(VENV) .tree build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

opengl:
	@.ci/opengl

# The stamps say what is done. The code is installed in place (-e): only a change of the packaging asks for a new install.
$(VENV)/.torch:
	@python="$(PYTHON)"; test -n "$$python" || python=$$(.ci/python) || exit 1; \
		echo "making $(VENV) with $$python"; "$$python" -m venv "$(VENV)"
	@if command -v nvidia-smi >/dev/null 2>&1; then \
		echo "an NVIDIA driver is here: torch with CUDA"; \
	else \
		echo "no NVIDIA driver is here: installing $(TORCH)"; \
		$(PIP) install $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)") "$(TORCH)"; \
	fi
	@touch $@

$(VENV)/.installed: $(VENV)/.torch $(MADE)
	@echo "installing mprl into $(VENV); the first time takes some minutes"
	@$(PIP) install -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.torch $(MADE)
	@echo "installing mprl and the developers' tools into $(VENV); the first time takes some minutes"
	@$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/.installed
