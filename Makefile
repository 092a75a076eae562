# make demo [IMAGE=photo.jpg]   install, then segment a photograph with the embedded weights
# make test                     install the test tools, then ruff, mypy and pytest
# make web                      check and build the annotator's browser app (web/), which git and the wheel carry built
# make lint                     ruff and mypy only
# make clean                    remove everything these made
#
# Needs make and Python >= 3.11 (another one: make PYTHON=python3.12). On a machine without a GPU,
# `UV_TORCH_BACKEND=cpu make demo` takes the small CPU build of torch instead of the CUDA one.
# `make web` needs Node.js 20.19 or newer; `make test` leaves out the tests of the app where there is none.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
PY := $(VENV)/bin/python
WEB := web/node_modules/.package-lock.json
IMAGE ?=

# uv does not look where pip looks for local files. It separates them by commas, pip by spaces.
empty :=
space := $(empty) $(empty)
comma := ,
UV_FIND_LINKS ?= $(subst $(space),$(comma),$(strip $(PIP_FIND_LINKS)))
export UV_FIND_LINKS
# uv does not byte-compile what it installs: the first import must, or every later one is two seconds slower.
unexport PYTHONDONTWRITEBYTECODE
# A PYTHONPATH from outside could hide what was just installed.
unexport PYTHONPATH

.PHONY: demo test web web-tools lint clean help
help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.demo
	$(PY) -m opensam.demo --out out $(if $(IMAGE),--image "$(IMAGE)")

# loadgroup: tests of one group (those with the browser) run on one worker, which starts their server once.
test: lint web-tools
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadgroup

web: $(WEB)
	npm --prefix web --silent test
	npm --prefix web --silent run build

# For `make test`: what the app is tested with, if it can be had.
web-tools:
	@if ! command -v npm >/dev/null; then \
	    echo "there is no npm (Node.js): the tests of the browser app will be skipped"; \
	elif ! $(MAKE) -s --no-print-directory $(WEB); then \
	    echo "npm could not install the tools of the browser app: its tests will be skipped"; \
	fi

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check -q src tests tools
	$(PY) -m mypy

clean:
	rm -rf $(VENV) web/node_modules out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp $(VENV)/.demo says that the extra `demo` stands as pyproject.toml and constraints.txt want it; same for .dev.
$(VENV)/.demo $(VENV)/.dev: $(VENV)/.%: pyproject.toml constraints.txt | $(PY)
	@echo "installing opensam[$*] into $(VENV)"
	@if $(PY) -m pip install -q -c constraints.txt uv \
	    && $(PY) -m uv pip install -q --python $(PY) -c constraints.txt -e '.[$*]'; then :; \
	else \
	    echo "uv could not do it; trying pip, which is slower"; \
	    $(PY) -m pip install -q --no-compile -c constraints.txt -e '.[$*]'; \
	fi
	@touch $@

# npm writes this file when it has installed all of them.
$(WEB): web/package-lock.json
	@echo "installing the tools of the browser app into web/node_modules"
	@npm --prefix web ci --silent --engine-strict --no-audit --no-fund --fetch-retries=1
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "opensam needs Python 3.11 or newer, not %d.%d: make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
