# Every target makes what it needs first: .venv and the packages of pyproject.toml.
# With another Python: make clean test PYTHON=python3.12

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
SOURCES := inngest_serverless sdk examples tests benchmarks

.DEFAULT_GOAL := help
.PHONY: help demo dev test check format bench wheel clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 16

demo: $(VENV)/.dev ## run the example shop through the local Lambda and engine, and check every run
	@$(BIN)/python examples/orders/demo.py

dev: $(VENV)/.dev ## serve the example shop at http://127.0.0.1:8288 until Ctrl-C
	@cd examples/orders && ../../$(BIN)/inngest-serverless dev --app orders.functions:client

test: $(VENV)/.test ## run the tests on every supported Python that this machine has
	@.ci/test $(ARGS)

check: $(VENV)/.test ## format, lint, types, layers, wheel
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory wheel
	$(BIN)/check-wheel-contents dist

format: $(VENV)/.test ## format the code and fix what the linter can fix
	$(BIN)/ruff check --fix-only $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(VENV)/bench/.bench ## measure the Lambda handler beside its peers, and the engine
	@$(VENV)/bench/bin/python benchmarks/entrypoint.py
	@echo
	@$(VENV)/bench/bin/python benchmarks/engine.py

wheel: $(VENV)/.test ## build dist/*.whl
	@rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean: ## remove everything that these targets made
	rm -rf $(VENV) dist build .inngest .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .grimp_cache
	rm -rf .hypothesis .coverage
	find inngest_serverless sdk examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: quick when there, made anew when pyproject.toml changes. Test packages include dev's.
$(VENV)/.dev: pyproject.toml
	@.ci/venv $(VENV) dev $(PYTHON)

$(VENV)/.test: pyproject.toml
	@.ci/venv $(VENV) test $(PYTHON)

$(VENV)/bench/.bench: pyproject.toml | $(VENV)/.dev
	@.ci/venv $(VENV)/bench bench $(PYTHON)
