# Two commands: `make demo` and `make test`. Each sets up its own virtual environment first and uses it again while
# pyproject.toml and constraints.txt stay the same.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= demo-output
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint setup clean
.DELETE_ON_ERROR:

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,cluster,remote,aia,netcdf,backbones,tensorboard,service,schedule,lightning,torchdata,hub]'
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py --out $(OUT)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

clean:
	rm -rf $(OUT) build dist
