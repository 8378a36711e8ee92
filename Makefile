# Every target does the set-up that it needs. Another interpreter: make clean, then make PYTHON=...
PYTHON ?= python3
PYTEST_ARGS ?=

# uv follows the index and the certificates that pip is configured with on this machine.
UV = UV_DEFAULT_INDEX="$(or $(UV_DEFAULT_INDEX),$(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2>/dev/null))" \
     SSL_CERT_FILE="$(or $(SSL_CERT_FILE),$(PIP_CERT))" .tools/uv/bin/uv --quiet
# With pyenv only the chosen versions are on PATH; the matrix may use all that are installed.
ANY_PYTHON = PYENV_VERSION="$(shell pyenv versions --bare 2>/dev/null | paste -sd: -)"
UV_READY = .tools/uv/bin/uv
COMPILE_PINS = $(UV) pip compile --universal --python-version 3.11 --no-header --no-annotate
PROTOC = .tools/protoc/bin/python -m grpc_tools.protoc -Iprotos
PROTOS = $(wildcard protos/orbax_model_lite/_proto/*.proto)

OLD_PROTOBUFS = 5.29.0 6.33.0
PROTOBUFS = $(OLD_PROTOBUFS) 7.36.2
EXCHANGE = sh tests/matrix/exchange.sh
MATRIX = python3.11 python3.13 orbax-checkpoint0.11.36

.PHONY: setup demo test check bench protos
setup: .venv/.dev

demo: .venv/.demo
	.venv/bin/python examples/digits/demo.py

test: .venv/.dev browser test-old-protobufs test-exchange test-without-tensorflow
	.venv/bin/python -m pytest $(PYTEST_ARGS)

check: lint types layers protos-clean

bench: .venv/.dev
	for script in benchmarks/*.py; do .venv/bin/python $$script || exit 1; done

protos: .tools/protoc/.ready
	$(PROTOC) --python_out=. --pyi_out=. $(PROTOS)

# Parts of `check`
.PHONY: lint types layers protos-clean
lint: .venv/.dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

types: .venv/.dev
	.venv/bin/pyright --pythonpath .venv/bin/python

layers: .venv/.dev
	.venv/bin/lint-imports --no-logo

protos-clean: .tools/protoc/.ready
	rm -rf .tools/generated && mkdir -p .tools/generated
	$(PROTOC) --python_out=.tools/generated --pyi_out=.tools/generated $(PROTOS)
	diff -r -x __init__.py -x __pycache__ .tools/generated/orbax_model_lite/_proto orbax_model_lite/_proto

# Pages are tested in Debian's chromium.
.PHONY: browser
browser:
	@command -v chromium >/dev/null || { echo 'installing chromium'; apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; }

# Other versions
.PHONY: test-old-protobufs test-protobuf test-newest test-exchange test-without-tensorflow test-matrix kill-points coverage-lift screenshots
test-old-protobufs: $(OLD_PROTOBUFS:%=.venvs/protobuf%/.ready)
	for v in $(^D); do $$v/bin/python -m pytest -q -m "not frameworks" tests/proto || exit 1; done

test-protobuf: $(PROTOBUFS:%=.venvs/protobuf%/.ready)
	for v in $(^D); do $$v/bin/python -m pytest -q -m "not frameworks" tests/proto tests/core tests/orchestration || exit 1; done

test-newest: .venvs/python3.13/.ready
	.venvs/python3.13/bin/python -m pytest -q $(PYTEST_ARGS)

# Bundles that one version writes are run by another, both ways.
test-exchange: .venv/.dev .venvs/python3.13/.ready
	$(EXCHANGE) .venv .venvs/python3.13
	$(EXCHANGE) .venvs/python3.13 .venv

# A pipeline with TensorFlow processors runs where TensorFlow is not installed.
test-without-tensorflow: .venv/.dev .venvs/without-tensorflow/.ready
	$(EXCHANGE) .venv .venvs/without-tensorflow tests/matrix/without_tensorflow.py

test-matrix: $(MATRIX:%=.venvs/%/.ready)
	for v in $(^D); do $$v/bin/python -m pytest -q $(PYTEST_ARGS) || exit 1; done
	for a in $(^D); do for b in $(^D); do $(EXCHANGE) $$a $$b || exit 1; done; done

# Saves that are killed, torn, interrupted or refused at every single step; tests try a slice.
kill-points: .venv/.dev
	.venv/bin/python -W error tests/core/fault_injection.py

# Each public function of JAX, lifted and compared with itself; the table goes to docs/lift.md.
coverage-lift: .venv/.dev
	.venv/bin/python -m tests.lift.conformance

# Pages of bundles in Chromium, in both themes, wide, narrow and on paper, for eyes.
screenshots: .venv/.dev
	.venv/bin/python -m tests.pages.screenshots demo_output/pages

# Housekeeping
.PHONY: format pins clean
format: .venv/.dev
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

pins: $(UV_READY)
	$(COMPILE_PINS) --upgrade -o requirements/dev.txt requirements/dev.in
	for list in core demo; do $(COMPILE_PINS) -c requirements/dev.txt -o requirements/$$list.txt requirements/$$list.in; done

clean:
	rm -rf .tools .venv .venvs build dist demo_output .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments; each is marked ready by a file of its own
.tools/uv/bin/uv: requirements/uv.txt
	@echo 'making .tools/uv' && $(PYTHON) -m venv --clear .tools/uv
	@.tools/uv/bin/python -m pip install --quiet -r $< && touch $@

.tools/protoc/.ready: requirements/protoc.txt $(UV_READY)
	@echo 'making $(@D)' && $(UV) venv --clear --python $(PYTHON) $(@D)
	@$(UV) pip install --python $(@D) -r $< && touch $@

.venv/.demo: requirements/demo.txt $(UV_READY)
	@echo 'making $(@D)' && $(UV) venv --clear --python $(PYTHON) .venv
	@$(UV) pip install --python .venv -r $< -e . && touch $@

.venv/.dev: requirements/dev.txt .venv/.demo
	@echo 'adding test tools to .venv' && $(UV) pip install --python .venv -r $< && touch $@

.venvs/protobuf%/.ready: requirements/core.txt $(UV_READY)
	@echo 'making $(@D)' && $(UV) venv --clear --python $(PYTHON) $(@D)
	@$(UV) pip install --python $(@D) -r $< protobuf==$* && touch $@

.venvs/python%/.ready: requirements/dev.txt $(UV_READY)
	@echo 'making $(@D)' && $(ANY_PYTHON) $(UV) venv --clear --python $* $(@D)
	@$(UV) pip install --python $(@D) -r $< -e . && touch $@

.venvs/without-tensorflow/.ready: requirements/dev.txt $(UV_READY)
	@echo 'making $(@D)' && $(UV) venv --clear --python $(PYTHON) $(@D)
	@$(UV) pip install --python $(@D) -c $< -e '.[jax]' && touch $@

.venvs/orbax-checkpoint%/.ready: requirements/dev.txt $(UV_READY)
	@echo 'making $(@D)' && $(ANY_PYTHON) $(UV) venv --clear --python 3.11 $(@D)
	@grep -v '^orbax-checkpoint==' $< > $(@D)/others.txt
	@$(UV) pip install --python $(@D) -r $(@D)/others.txt orbax-checkpoint==$* -e . && touch $@
