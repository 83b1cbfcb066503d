# The front door; `make` alone explains it.
PY := .venv/bin/python
READY := .venv/.complete
export DMIL_DATA := $(or $(DATA),$(DMIL_DATA),data)
flags = $(foreach v,$(1),$(if $($(v)),--$(shell echo $(v) | tr A-Z a-z) '$($(v))'))
then_report = run=$$?; [ $$run -le 1 ] || exit $$run; $(PY) -m reports $(1) || exit $$((run ? run : $$?)); exit $$run
.PHONY: help setup lint test test-all data bench sweep report ui sync speed clean
help: ## this text
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18; echo; sed -n 's/^#= \?/  /p' Makefile
#= DATASET=mosi  SUITE=name  METHODS=dmil,joint  SEEDS=5  EPOCHS=50  DEVICE=auto|cpu|cuda  JOBS=n side by side
#= TRIALS=64  POPULATION=8  AHEAD=2  BACKEND=ray|local  of a sweep; TUNED=0  a bench with default settings
#= DATA=folder            raw files; default $DMIL_DATA, else ./data
#= PYTHON=path            creates .venv; default python3.11, python3.12 or python3, 3.11 at least
$(READY): constraints.txt pyproject.toml
	.ci/setup $@
setup: $(READY) ## install .venv from constraints.txt; the others do so when it is missing or outdated
lint: $(READY) ## ruff and mypy
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
test: $(READY) ## the tests that take seconds
	$(PY) -m pytest -m 'not slow' -n auto --dist loadfile
test-all: $(READY) ## all tests
	$(PY) -m pytest -n auto --dist loadfile
data: $(READY) ## fetch, verify and prepare DATASET
	$(PY) -m benchmarks data $(call flags,DATASET)
bench: DATASET ?= $(if $(SUITE),,interactions-mixed)
bench: $(READY) ## train METHODS on DATASET (default interactions-mixed; if only SUITE is named: on all of it), then report
	@$(PY) -m benchmarks run $(call flags,DATASET SUITE METHODS SEEDS EPOCHS DEVICE JOBS TUNED); $(call then_report,$(call flags,DATASET SUITE) --allow-unreachable)
sweep: $(READY) ## search the settings of METHODS (default all) on DATASET, the same budget for each, then report
	@$(PY) -m sweeps run $(call flags,DATASET SUITE METHODS TRIALS SEEDS EPOCHS POPULATION AHEAD BACKEND JOBS DEVICE); $(call then_report,--sweep '$(or $(DATASET),interactions-mixed)' $(call flags,SUITE) --allow-unreachable)
report: $(READY) ## write reports/out from the tracked runs; SWEEP=mosi: of that search
	$(PY) -m reports $(call flags,DATASET SUITE SWEEP)
ui: $(READY) ## browse the tracked runs at http://localhost:5000
	mkdir -p results && MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false .venv/bin/mlflow server --workers 1 --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/results/mlflow.db}"
sync: $(READY) ## send the runs that an unreachable MLflow server missed
	$(PY) -m benchmarks sync
speed: $(READY) ## time stacked against sequential training
	$(PY) -m benchmarks.speed
clean: ## remove .venv and caches; results/ and data/ stay
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
