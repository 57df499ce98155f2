# Two commands from a bare machine: `make demo` and `make test`. The rest is for those who change the code.
PYTHON ?= python3
BIN := .venv/bin
# Two processes, each with the half of the tests that lie together; who is done first takes over.
TWO_AT_ONCE := -n 2 --dist worksteal

.PHONY: demo test test-jax examples-jax test-torch test-oldest lint types docs dist format clean

demo: .venv/.demo
	$(BIN)/python examples/quickstart.py

test: .venv/.test
	$(BIN)/python -m pytest $(TWO_AT_ONCE)

# kr.augment and kr.datasets are TensorFlow's whatever the backend, and so are the notebooks; the examples are
# commands of the library's face, of which `make examples-jax` tries those that run on JAX. `test` has shown them all.
test-jax: .venv/.jax
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(TWO_AT_ONCE) --ignore=tests/augment --ignore=tests/datasets \
	    --ignore=tests/test_notebooks.py --ignore=tests/examples

# Not part of .ci/run.
examples-jax: .venv/.jax
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(TWO_AT_ONCE) tests/examples

# What runs on PyTorch too; not part of .ci/run.
test-torch: .venv/.torch
	KERAS_BACKEND=torch $(BIN)/python -m pytest $(TWO_AT_ONCE) tests/layers tests/initializers tests/regularizers \
	    tests/losses tests/test_contract.py tests/properties/test_layer_properties.py

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The public face, as a user's type checker sees it.
types: .venv/.test .venv/.types
	$(BIN)/mypy

# Into site/; a broken link or an unknown name fails.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# What would be uploaded, built, checked, and installed into an environment of its own, outside of the clone.
dist: .venv/.dist
	rm -rf dist build
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	sh tests/smoke/install.sh $(PYTHON) dist

format: .venv/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The lower bounds of setup.cfg, in an environment of their own; needs Python 3.11 or 3.12.
test-oldest: .venv-oldest/.test
	.venv-oldest/bin/python -m pytest $(TWO_AT_ONCE)

clean:
	rm -rf .venv .venv-oldest build dist site *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

# A stamp for each set of packages, so that a second run installs nothing.
.venv/.demo: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[examples]'
	touch $@

.venv/.test: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

.venv/.jax: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test,jax]'
	touch $@

.venv/.torch: setup.cfg pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]' torch==2.13.0
	touch $@

.venv/.lint: setup.cfg | .venv/bin/python
	$(BIN)/python -m pip install --quiet ruff==0.17.6
	touch $@

.venv/.types: setup.cfg | .venv/bin/python
	$(BIN)/python -m pip install --quiet 'mypy>=1.14'
	touch $@

.venv/.docs: setup.cfg | .venv/bin/python
	$(BIN)/python -m pip install --quiet 'mkdocs-material>=9.5' 'mkdocstrings[python]>=0.27' ruff==0.17.6
	touch $@

.venv/.dist: setup.cfg | .venv/bin/python
	$(BIN)/python -m pip install --quiet 'build>=1.2' 'twine>=6'
	touch $@

.venv-oldest/.test: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --editable '.[test]' \
	    keras==3.10.0 tensorflow==2.18.1 tensorboard==2.18.0 tensorflow-datasets==4.9.7 \
	    'tensorflow-metadata<1.18'
	touch $@
