# README's two commands are `make demo` and `make test`; each makes .venv and installs what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NPM := $(shell command -v npm)

# Radiographs of your own: make demo DATA=folder. Without, the 16 examples.
DATA ?=
DEMO_DATA := $(if $(DATA),$(DATA),demo/phantoms)
DEMO_RUN := demo/runs/$(notdir $(abspath $(DEMO_DATA)))

# Test processes side by side; each takes up to 3 GiB. Files keep their order: the browser's come last.
TEST_JOBS ?= 2

.PHONY: demo demo-train test check check-page web serve format bench clean

demo: $(VENV)/.installed-base
	$(BIN)/pneumoscope predict "$(or $(DATA),examples/radiographs)" --overlay demo/overlays
	@echo "The pictures lie in demo/overlays."

demo-train: $(VENV)/.installed-train
ifeq ($(DATA),)
	@echo "No DATA was given: this demo draws synthetic phantoms. They are NOT radiographs, and"
	@echo "figures measured on them say nothing about patients; this smallest recipe hardly learns"
	@echo "from 600 of them: expect a guess. Your own radiographs: make demo-train DATA=folder"
	$(BIN)/pneumoscope data phantom demo/phantoms --count 600 --seed 0
endif
	$(BIN)/pneumoscope train smartinternz-64 --data "$(DEMO_DATA)" --out "$(DEMO_RUN)" --resume
	$(BIN)/pneumoscope evaluate "$(DEMO_RUN)" --data "$(DEMO_DATA)"
	@echo "The report lies in $(DEMO_RUN)/report.html"

# What the page needs to answer on the device alone: its WASM and the bundle, for
# `pneumoscope serve`, and in site/ the page with them, for any host of static files.
web: browser/node_modules/.installed
	cd browser && npm run build
	node browser/scripts/device.mjs

serve: $(VENV)/.installed-web
	$(BIN)/pneumoscope serve

# Where Node.js is there, the page too; the tests that need it or a browser say why they skip.
test: $(VENV)/.installed-dev $(if $(NPM),web)
	$(BIN)/pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

# One check for people and CI: style, types, that imports point down, and that what is imported is
# installed by more than the tests' extra.
check: $(VENV)/.installed-dev $(if $(NPM),check-page)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src

# The page's sources, and that the built page in the package is what they give.
check-page: browser/node_modules/.installed
	cd browser && npm run check
	cd browser && node scripts/build.mjs ../build/page
	diff -r build/page src/pneumoscope/web/page

format: $(VENV)/.installed-dev $(if $(NPM),browser/node_modules/.installed)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(NPM),cd browser && npm run format)

# Against the same work in Keras/TensorFlow, which gets an environment of its own.
bench: $(VENV)/.installed-dev .venv-keras/.installed web
	$(BIN)/python -m benchmarks --data "$(or $(DATA),$(PNEUMOSCOPE_DATA))"

$(VENV)/.installed-base: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-web: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[web]'
	touch $@ $(VENV)/.installed-base

$(VENV)/.installed-train: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[train]'
	touch $@ $(VENV)/.installed-base

$(VENV)/.installed-dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed-train $(VENV)/.installed-web $(VENV)/.installed-base

.venv-keras/.installed: benchmarks/keras-requirements.txt
	test -x .venv-keras/bin/python || $(PYTHON) -m venv .venv-keras
	.venv-keras/bin/pip install --quiet --requirement benchmarks/keras-requirements.txt
	touch $@

browser/node_modules/.installed: browser/package-lock.json
	cd browser && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

clean:
	rm -rf $(VENV) .venv-keras demo bench-out build site browser/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
