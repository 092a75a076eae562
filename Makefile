# make demo [IMAGE=photo.jpg]   install, then segment a photograph with the embedded weights
# make test                     install the test tools, then ruff, mypy and pytest
# make lint                     ruff and mypy only
# make clean                    remove everything these made
#
# Needs make and Python >= 3.11 (another one: make PYTHON=python3.12). On a machine without a GPU,
# `UV_TORCH_BACKEND=cpu make demo` takes the small CPU build of torch instead of the CUDA one.

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
PY := $(VENV)/bin/python
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

.PHONY: demo test lint clean help
help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.demo
	$(PY) -m opensam.demo --out out $(if $(IMAGE),--image "$(IMAGE)")

test: lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS)

lint: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check -q src tests tools
	$(PY) -m mypy

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
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

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "opensam needs Python 3.11 or newer, not %d.%d: make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
