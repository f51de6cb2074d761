# `make train` learns demosaicing on scikit-image's photographs; `make test` runs the tests, `make test-all` the slow ones too;
# `make export MODEL=runs/demo` writes and verifies every artifact of a model; `make results DATA=TEST_SETS` measures the
# bundled networks on the paper's test sets; `make web` builds the page for browsers, which `rnan-tf web` serves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

OUTPUT ?= artifacts
# KServe wants older packages than ours: it has an environment of its own, which borrows TensorFlow from the other.
KSERVE := $(VENV)/kserve
SITE_PACKAGES := "import sysconfig; print(sysconfig.get_path('purelib'))"
# What artifacts are verified on; the default is scikit-image's cat.
DATA ?= $$($(BIN)/python -c "import skimage.data as d, os; print(os.path.dirname(d.__file__))")/chelsea.png

# `make fuzz` reads damaged files for an hour a target; `make soak` kills trainings and restorations KILLS times.
.PHONY: train test test-all fuzz soak export web results lint clean

train: $(VENV)/.installed-train
	$(BIN)/python training/train.py --task demosaic --steps 750 --batch-size 8 --learning-rate 2e-3 --validate-every 250 --run-dir runs/demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow"

test-all: $(VENV)/.installed-dev $(KSERVE)/.installed
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

fuzz: $(VENV)/.installed-dev
	FUZZ_SECONDS=$(or $(SECONDS),3600) $(BIN)/python -m pytest -q -s tests/fuzz

soak: $(VENV)/.installed-dev
	$(BIN)/python tests/soak.py --kills $(or $(KILLS),200)

export: $(VENV)/.installed-export
	$(BIN)/python export/export_saved_model.py --model $(MODEL) --output $(OUTPUT)/saved_model
	$(BIN)/python export/export_tflite.py --model $(MODEL) --output $(OUTPUT)/tflite
	$(BIN)/python export/export_onnx.py --model $(MODEL) --output $(OUTPUT)/model.onnx
	$(BIN)/python export/verify.py --model $(MODEL) --artifacts $(OUTPUT) --data $(DATA)

# What vite builds is emptied first; float16 networks are kept in artifacts/web.
web: $(VENV)/.installed-export export/web/node_modules/.package-lock.json
	npm run --prefix export/web build
	$(BIN)/python export/web/collect.py --output rnan_tf/web --float16 artifacts/web

export/web/node_modules/.package-lock.json: export/web/package-lock.json
	npm ci --prefix export/web

results: $(VENV)/.installed-train
	$(BIN)/python benchmarks/results.py --data $(DATA) $(if $(ENSEMBLE),--self-ensemble)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(KSERVE)/.installed: | $(BIN)/python
	$(PYTHON) -m venv $(KSERVE)
	$(BIN)/python -c $(SITE_PACKAGES) > $$($(KSERVE)/bin/python -c $(SITE_PACKAGES))/tensorflow.pth
	$(KSERVE)/bin/python -m pip install --quiet --disable-pip-version-check "kserve>=0.21"
	touch $@

# Installed again whenever pyproject.toml changes.
$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist *.egg-info export/web/node_modules rnan_tf/web
