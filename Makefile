# make demo   the main job on a simulated screen: installs what it needs, ends in runs/demo/report.html
# make test   every test but the slow ones: installs what it needs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

export RAY_USAGE_STATS_ENABLED = 0
export MLFLOW_DISABLE_TELEMETRY = true

.PHONY: install demo test lint lock jump jump-followed benchmark-adversaries benchmark-critic benchmark-packs benchmark-panel benchmark-panel-speed benchmark-readers benchmark-locator benchmark-locate benchmark-tier-c benchmark-images-training benchmark-images-input benchmark-images-demo clean

install: $(VENV)/.installed

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

demo: install
	$(BIN)/sweeper demo

test: install $(VENV)/.reference
	$(BIN)/pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Studies that take minutes; each writes the result file that the README quotes.
jump: install
	$(BIN)/sweeper run configs/jump_source3.yaml
	$(BIN)/python benchmarks/jump.py

jump-followed: install
	$(BIN)/python benchmarks/jump_followed.py

benchmark-adversaries: install
	$(BIN)/python benchmarks/adversaries.py

benchmark-critic: install
	$(BIN)/python benchmarks/critic.py

benchmark-packs: install
	$(BIN)/python benchmarks/packs.py

benchmark-panel: install
	$(BIN)/python benchmarks/panel.py

benchmark-readers: install
	$(BIN)/python benchmarks/readers.py

benchmark-panel-speed: install $(VENV)/.reference
	$(BIN)/python benchmarks/panel_speed.py --again

benchmark-locator: install
	$(BIN)/python -m benchmarks.locator

benchmark-locate: install
	$(BIN)/python benchmarks/locate.py

benchmark-tier-c: install
	$(BIN)/python -m benchmarks.tier_c

benchmark-images-input: install
	$(BIN)/python benchmarks/images_input.py

benchmark-images-training: install
	$(BIN)/python benchmarks/images_training.py

benchmark-images-demo: install
	$(BIN)/python benchmarks/images_demo.py

# Upgrade the pinned versions on purpose.
lock: install
	$(BIN)/uv pip compile -q --upgrade pyproject.toml --extra dev --python-version 3.11 --no-header --no-annotate --no-emit-index-url -o requirements.lock
	$(BIN)/uv pip compile -q --upgrade pyproject.toml --extra dev --extra metrics-reference --constraint requirements.lock --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url | grep -vxFf requirements.lock > requirements-reference.lock

clean:
	rm -rf $(VENV) build dist *.egg-info runs
