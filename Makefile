# Four verbs. `make audit` and `make test` set up a fresh machine by themselves, then act.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help setup audit test check bench
help:            ## Say what each verb does
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(READY)  ## Build the environment in .venv (extras cpu, offline, dev)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,offline,dev]'
	@touch $@

audit: $(READY)  ## Audit two small multimodal models over the lab's shifts; reports land in out/
	@$(BIN)/auditor audit --config examples/lab.yaml --out out; code=$$?; \
	case $$code in 0|1|4) echo "report: out/report.html";; *) exit $$code;; esac

test: $(READY)   ## Run every test
	$(BIN)/python -m pytest

check: $(READY)  ## Lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)  ## Run every benchmark (hours; each also runs alone, most take --quick)
	@for b in benchmarks/bench_*.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done
