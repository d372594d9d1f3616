# make help lists the targets; each installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

export RAY_USAGE_STATS_ENABLED = 0
export MLFLOW_DISABLE_TELEMETRY = true
export NO_MKDOCS_2_WARNING = true
# Containers like to set this. Every process then compiles torch, Ray and MLflow anew, 5 to 10 s each: collecting the
# tests took 19 s of a processor instead of 5, and every command and Ray worker that a test starts paid it again.
unexport PYTHONDONTWRITEBYTECODE

# Two processes of tests on two cores: with a thread pool each they would wait for one another.
test test-fast: export OMP_NUM_THREADS = 1

.DEFAULT_GOAL := help
# No target is a file of its name.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile)

install: $(VENV)/.installed ## a virtual environment in .venv with the pinned versions

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# What the panel is compared with (JAX, 570 MB): tests and benchmarks only, and no pin of requirements.lock changes.
$(VENV)/.reference: requirements-reference.lock $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-reference.lock
	touch $@

# Harmony (GPL-3): an extra of the product, not a part of it.
$(VENV)/.harmony: requirements-harmony.lock $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-harmony.lock
	touch $@

# Storage by URL, an extra of the product; and an S3-compatible server for its tests.
$(VENV)/.s3: requirements-s3.lock requirements-s3-server.lock $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-s3.lock -r requirements-s3-server.lock
	touch $@

$(VENV)/.docs: requirements-docs.lock $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-docs.lock
	touch $@

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-26s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install ## simulated screen → real sweep → runs/demo/report.html, in minutes
	$(BIN)/sweeper demo

test: install $(VENV)/.reference $(VENV)/.harmony $(VENV)/.s3 $(VENV)/.docs ## every test
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: install ## the unit tests without the slow ones: three and a half minutes on 2 cores
	$(BIN)/pytest tests/unit -n 2 --dist loadfile -m "not slow and not integration"

check: lint ## formatting, lint, types and import contracts
lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install $(VENV)/.docs ## the documentation, into build/site (a warning is an error)
	$(BIN)/mkdocs build --strict

docs-serve: install $(VENV)/.docs ## the documentation on http://127.0.0.1:8000, rebuilt at every change
	$(BIN)/mkdocs serve --strict --dev-addr 127.0.0.1:8000

# Studies of minutes to hours; each writes a result file that the documentation quotes.
jump: install ## study: the real table in both views
	$(BIN)/sweeper run configs/jump_source3.yaml
	$(BIN)/python benchmarks/jump.py

jump-cpdistiller: install ## study: the real table with cpDistiller
	$(BIN)/sweeper run configs/jump_source3_cpdistiller.yaml
	$(BIN)/python benchmarks/jump.py --trainer cpdistiller

jump-followed: install ## study: the same, after its next points
	$(BIN)/python benchmarks/jump_followed.py

verdicts: install ## study: the verdicts of JUMP, BBBC021 and the demo side by side
	$(BIN)/sweeper run configs/jump_source3.yaml
	$(BIN)/sweeper run configs/bbbc021.yaml --set seeds=3 --set abra.steps=150 --set strengths.adversarial_weight.count=6
	$(BIN)/sweeper demo
	$(BIN)/python benchmarks/verdicts.py

benchmark-adversaries: install ## study: which adversary
	$(BIN)/python benchmarks/adversaries.py

benchmark-critic: install ## study: what the ridge critic costs
	$(BIN)/python benchmarks/critic.py

benchmark-critics: install ## study: which critic sees what readers see
	$(BIN)/python benchmarks/critics.py

benchmark-cpdistiller: install ## study: our cpDistiller beside the public code
	$(BIN)/python benchmarks/cpdistiller_parity.py $(if $(CHECKOUT),--checkout $(CHECKOUT)) $(if $(PUBLIC_PYTHON),--python $(PUBLIC_PYTHON))

benchmark-mirror: install ## study: cells a second into MLflow on Postgres
	$(BIN)/python -m benchmarks.mirror

benchmark-overhead: install ## study: what a sweep costs beside training and scoring, against plain Ray Tune
	$(BIN)/python -m benchmarks.overhead

benchmark-packs: install ## study: packs against one cell a trial
	$(BIN)/python benchmarks/packs.py

benchmark-panel: install ## study: embeddings with a known fault
	$(BIN)/python benchmarks/panel.py

benchmark-readers: install ## study: which reader sees which batch effect
	$(BIN)/python benchmarks/readers.py

benchmark-panel-speed: install $(VENV)/.reference ## study: the panel's speed
	$(BIN)/python benchmarks/panel_speed.py --again

benchmark-locator: install ## study: the point where the truth is known
	$(BIN)/python -m benchmarks.locator

benchmark-locate: install ## study: trainings until it is known
	$(BIN)/python benchmarks/locate.py

benchmark-tier-c: install ## study: the decision on real training
	$(BIN)/python -m benchmarks.tier_c

benchmark-correctors: install $(VENV)/.harmony ## study: the correctors beside the libraries they are known from
	$(BIN)/python benchmarks/correctors.py

benchmark-causes: install ## study: screens whose cause is known, with real training
	$(BIN)/python benchmarks/causes.py

benchmark-methods-compared: install $(VENV)/.harmony ## study: corrections side by side on three screens
	$(BIN)/python benchmarks/methods_compared.py

benchmark-methods-coverage: install ## study: error bars of curves without seed noise
	$(BIN)/python benchmarks/methods_coverage.py

benchmark-methods-screens: install $(VENV)/.harmony ## study: is what is called safe safe, for each correction
	$(BIN)/python benchmarks/methods_screens.py

benchmark-methods-speed: install $(VENV)/.harmony ## study: a grid of settings in a pack, and in a plain loop
	$(BIN)/python benchmarks/methods_speed.py

benchmark-images-input: install ## study: images into the training step
	$(BIN)/python benchmarks/images_input.py

benchmark-images-training: install ## study: training on images
	$(BIN)/python benchmarks/images_training.py

benchmark-images-demo: install ## study: the image demo
	$(BIN)/python benchmarks/images_demo.py

benchmark-next-month: install ## study: a new batch through a kept model
	$(BIN)/python benchmarks/next_month.py

benchmark-doors: install ## study: the time of the quick verbs
	$(BIN)/python benchmarks/doors.py

benchmark-gpu: install ## study: one round on a GPU, ten minutes
	$(BIN)/python benchmarks/gpu

benchmark-typical: install ## study: seconds of a default cell and of its scores, for the estimate of plan
	$(BIN)/python -m benchmarks.typical_seconds

benchmark-report-page: install ## study: what a report weighs, and the wait for its first figure
	$(BIN)/python benchmarks/report_page.py

chaos: install ## study: sweeps disturbed at random moments, on three Ray nodes (root; Debian's postgresql)
	$(BIN)/python -m benchmarks.chaos

fuzz: install ## 10,000 malformed inputs at every door
	$(BIN)/python -m benchmarks.fuzz

COMPILE = $(BIN)/uv pip compile -q --upgrade pyproject.toml --extra dev --extra server --python-version 3.11 --no-header --no-annotate --no-emit-index-url

lock: install ## upgrade the pinned versions, on purpose
	$(COMPILE) -o requirements.lock
	$(COMPILE) --extra metrics-reference --constraint requirements.lock | grep -vxFf requirements.lock > requirements-reference.lock
	$(COMPILE) --extra harmony --constraint requirements.lock | grep -vxFf requirements.lock > requirements-harmony.lock
	$(COMPILE) --extra s3 --constraint requirements.lock | grep -vxFf requirements.lock > requirements-s3.lock
	$(COMPILE) --extra s3 --extra s3-server --constraint requirements.lock | grep -vxFf requirements.lock | grep -vxFf requirements-s3.lock > requirements-s3-server.lock
	$(COMPILE) --extra docs --constraint requirements.lock | grep -vxFf requirements.lock > requirements-docs.lock
	$(MAKE) --no-print-directory lock-image

HASHED = $(BIN)/uv pip compile -q requirements.lock --no-deps --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url
lock-image: install ## the same versions with their hashes, for the image: what needs CUDA apart
	$(HASHED) | awk '/^[A-Za-z]/ {cuda = /^(torch(vision)?==|triton==|nvidia-|cuda-)/} {print > (cuda ? "docker/locked_cuda.txt" : "docker/locked.txt")}'

PLOTLY_JS = $(shell $(BIN)/python -c 'from plotly.offline import get_plotlyjs_version as version; print(version())')

plotly-bundle: install ## the report's drawing library at the version of the pinned plotly (needs npm)
	mkdir -p build/plotly
	cd build/plotly && tar xzf $$(npm pack --silent plotly.js-cartesian-dist-min@$(PLOTLY_JS))
	cp build/plotly/package/plotly-cartesian.min.js dashboards/vendor/
	cp build/plotly/package/LICENSE dashboards/vendor/LICENSE-plotly.js
	sha256sum dashboards/vendor/plotly-cartesian.min.js

clean: ## remove the virtual environment, builds and runs
	rm -rf $(VENV) build dist *.egg-info runs
