# Two commands do everything on a fresh machine: make run, make test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: setup run test check compiled stress faults fuzz bench lock clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

run: setup
	$(BIN)/swarmdeck

# Most tests wait for a screen or a process, so there are more of them at once than cores.
test: setup
	$(MAKE) --jobs 2 check compiled
	$(BIN)/python -m pytest -n 6 --dist worksteal

# Once, while mypy has one core, instead of in each worker and each process that tests start.
unexport PYTHONDONTWRITEBYTECODE
compiled: setup
	$(BIN)/python -m compileall -q engine console widgets themes configs
	-$(BIN)/python -m pytest --collect-only -q >/dev/null

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/lint/painted_text.py console widgets

# The state machines with a hundred times the examples, and walks on every kind of terminal.
stress: setup
	STRESS=100 $(BIN)/python -m pytest -n 2 -o faulthandler_timeout=0 \
		tests/engine/queue/test_queue_model.py tests/engine/test_ledger.py \
		tests/console/test_walk.py tests/console/test_app.py
	STRESS=1 $(BIN)/python -m pytest -n 2 -o faulthandler_timeout=0 \
		tests/engine/vault tests/engine/audit tests/engine/access tests/engine/backup tests/engine/metrics tests/engine/artifacts
	STRESS=1 $(BIN)/python -m pytest tests/engine/input/test_fuzz.py tests/engine/test_memory_results.py
	STRESS=1 $(BIN)/python -m pytest -s -o faulthandler_timeout=0 \
		tests/engine/swarms/test_adoption.py tests/engine/swarms/test_clients.py \
		tests/engine/swarms/enforcement/test_leak.py
	STRESS=1 $(BIN)/python -m pytest -o faulthandler_timeout=0 \
		tests/engine/service tests/console/test_engine.py
	STRESS=1 $(BIN)/python -m pytest -n 2 -o faulthandler_timeout=0 tests/simulation
	$(BIN)/python tests/probes/task_graph.py
	$(MAKE) faults fuzz

# Every state and cycle of the fault harness, one after another so that nothing else takes the disk's
# time: power loss 6 min, kills and signals 7 min, refused calls 45 min, consumers killed 2 min. FAULTS_SEED repeats a run.
faults: setup
	STRESS=1 $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/faults/test_power_loss.py
	STRESS=1 $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/faults/test_kill.py
	STRESS=1 $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/faults/test_io_errors.py
	STRESS=1 $(BIN)/python -m pytest -s -o faulthandler_timeout=0 tests/faults/test_consumers_killed.py
	STRESS=1 $(BIN)/python -m pytest -s -o faulthandler_timeout=0 \
		tests/faults/test_swarmdb_disk.py tests/faults/test_swarmdb_kill.py

# Each decoder for FUZZ_S seconds (600); what is interesting is kept in .fuzz/ for the next run.
fuzz: setup
	set -e; for name in record frame config message manifest command names vaultfile; do \
		$(BIN)/python tests/fuzz/fuzz_decoders.py $$name; done

bench: setup
	$(BIN)/swarmdeck bench compare
	$(BIN)/swarmdeck bench bars
	$(BIN)/python tests/probes/console.py --rounds 3

lock: setup
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
