# Every target does its own set-up: a virtual environment in .venv, made once and reused.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

# The first Python that is new enough; `make PYTHON=/path/to/python …` names another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
READY := .venv/ready
FAST := not slow and not alone and not gpu and not services
# One process a core; what measures time runs alone.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist loadgroup

.PHONY: help test test-all test-services audit lint format demo bench clean

help:
	@echo "make demo           train a small model on text with two CPU cores, let it write, and compare three (TEXT=path: on your own)"
	@echo "make test           linters, types, import rules and the fast tests"
	@echo "make test-all       every test that needs neither a server nor a browser (up to 2 hours)"
	@echo "make test-services  the tests that need a server or a browser"
	@echo "make audit          known vulnerabilities of the pinned dependencies (needs the network)"
	@echo "make bench          the speed and accuracy figures of docs/results.md"
	@echo "make lint, format   check, or rewrite, the form of the code"
	@echo "make clean          remove .venv and caches; runs stay"

$(READY): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then echo "No Python 3.11 or newer was found ($$(python3 --version 2>&1 || true))." \
		"Install one, or name it: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 2; fi
	@"$(PYTHON)" -c 'import sys; sys.version_info < (3, 11) and sys.exit(f"Python 3.11 or newer is needed, $(PYTHON) is {sys.version.split()[0]}. Name another: make PYTHON=/path/to/python")'
	@[ -x $(BIN)/python ] || "$(PYTHON)" -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) could not make a virtual environment; on Debian and Ubuntu install python3-venv." >&2; exit 2; }
	@echo "Installing into .venv (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

test: lint
	$(BIN)/python -m pytest $(PARALLEL) -m "$(FAST)"
	@echo
	@echo "Left out: slow proofs (make test-all, up to 2 hours), tests on a GPU (make test-all on a machine with one),"
	@echo "and tests with servers or browsers (make test-services)."

test-all: lint
	$(BIN)/python -m pytest $(PARALLEL) -m "not alone and not gpu and not services"
	$(BIN)/python -m pytest -m "(alone or gpu) and not services"
	@echo
	@echo "Left out: tests with servers or browsers (make test-services); GPU tests skip where there is no GPU."

PIP_AUDIT = $(BIN)/python -c "import pip_audit" 2>/dev/null \
	|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt 'pip-audit>=2.10'
SERVERS := postgresql mariadb-server chromium slurm-wlm munge
# Servers and a browser that Debian brings, and Ray, which nothing else needs.
test-services: $(READY)
	@{ command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 \
		&& (for name in mariadbd chromium slurmctld slurmd munged; do command -v $$name >/dev/null || exit 1; done) \
		|| { apt-get update -qq && apt-get install -qq -y --no-install-recommends $(SERVERS); } \
		|| { echo "Needed (as root): apt-get install $(SERVERS)" >&2; exit 2; }
	@$(BIN)/python -c "import ray" 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	@$(PIP_AUDIT)
	$(BIN)/python -m pytest -m services

# TEXT reaches the shell as a variable, so that any name of a file will do.
export TEXT
demo: $(READY)
	@demo=runs/demo-$$(date +%Y%m%d-%H%M%S) && \
	$(BIN)/eos train experiment=demo run="$$demo/long" $${TEXT:+"task.source=$$TEXT"} && \
	echo && echo "A sample, written after a line break:" && \
	$(BIN)/eos generate "$$demo/long" $$'\n' && \
	echo && echo "Now three oscillations side by side, 300 steps each:" && \
	$(BIN)/eos sweep experiment=demo oscillation=none,head_decay,head_rate minutes=null steps=300 run="$$demo/compared" \
		$${TEXT:+"task.source=$$TEXT"} && \
	$(BIN)/eos report "$$demo" -o "$$demo/report.html" && \
	echo && echo "Open $$demo/report.html in a browser: what came of it, and what each memory keeps." && \
	echo "To let it write more: $(BIN)/eos generate $$demo/long 'your prompt'"

# Known vulnerabilities of what constraints.txt pins; asks a database on the network.
# AUDIT=--unless-offline passes where it cannot be asked.
audit: $(READY)
	@$(PIP_AUDIT)
	$(BIN)/python -m tests.audit $(AUDIT)

bench: $(READY)
	$(BIN)/eos bench

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
