# One name per thing a person wants to do; `make help` lists them.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help demo demo-check scope-check test thorough bench bench-audit bench-scraping endurance lint format lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(READY): requirements.lock pyproject.toml .ci/prepare
	@.ci/prepare

demo: $(READY) ## start the gateway in front of a small e-health app and say who can log in (PORT=8443)
	@exec $(BIN)/python -m gateway demo --port $(or $(PORT),8443)

demo-check: $(READY) ## play the attack of September 2025 against the demo; one JSON line at the end
	@exec $(BIN)/python -m gateway demo --check

scope-check: $(READY) ## let ten accounts rob the demo, and compare `ecluse breach scope` with what they took
	@exec $(BIN)/python -m gateway demo --scope-check

bench-scraping: $(READY) ## a region at work and its thieves in virtual time; patients gone, honest people disturbed; JSON at the end
	@exec $(BIN)/python -m loadtest.region

test: lint ## every check and every test
	@expression=$$(.ci/peers) && $(BIN)/python -m loadtest.bench.regression && exec $(BIN)/python -m pytest -q -n 3 --dist worksteal -m "$$expression" $(if $(ECLUSE_THOROUGH),--cov --cov-report=term)

thorough: ## every check and every test, with every step, ten times the examples and coverage: some 20 minutes
	@ECLUSE_THOROUGH=1 $(MAKE) --no-print-directory test

bench: $(READY) ## requests a second, latency and cost beside their yardsticks; ONLY=a,d for parts, SHORT=1; JSON at the end
	@exec $(BIN)/python -m loadtest.bench --figures docs $(if $(ONLY),--only $(ONLY)) $(if $(SHORT),--short)

endurance: $(READY) ## many people for MINUTES (10), every answer checked, memory watched; then idle and slow clients; JSON at the end
	@$(BIN)/python -m loadtest.endurance mixed --minutes $(or $(MINUTES),10)
	@exec $(BIN)/python -m loadtest.endurance idle

bench-audit: $(READY) ## make a trail of EVENTS (10000000) and tell what an auditor waits; one JSON line at the end
	@exec $(BIN)/python -m loadtest.bench_audit --events $(or $(EVENTS),10000000)

lint: $(READY) ## style, types and the walls between the rooms
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## put the code into its one form
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format --quiet .

lock: ## resolve the dependencies again into requirements.lock (needs uv)
	@uv pip compile --quiet --upgrade --universal --python-version 3.12 --no-emit-index-url --generate-hashes --extra dev pyproject.toml -o requirements.lock

clean: ## remove the environment, caches and build leftovers
	@rm -rf $(VENV) dist .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
