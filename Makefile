# Set-up, the main job, the tests; `make help` says more. Everything is installed into .venv, nothing needs root.

VENV := .venv
BIN := $(VENV)/bin
# A set-up belongs to one content of pyproject.toml. Its stamp is written last, so an interrupted one starts again.
KEY := $(shell cksum < pyproject.toml | tr ' ' -)
READY := $(VENV)/.ready-$(KEY)
READY_DEV := $(VENV)/.ready-dev-$(KEY)
CANDIDATES := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)

# Tests start hundreds of processes: what Python has compiled is to be there for the next one.
unexport PYTHONDONTWRITEBYTECODE

.NOTPARALLEL:
.PHONY: run test lint data setup setup-dev venv help clean

run: data
	@$(BIN)/python -m suite.run --scenario offline --mode submission

test: lint
	@$(BIN)/python -m tools.fetch_data fashion-mnist --split all
	@$(BIN)/python -m pytest -m side_by_side -n 3 --dist worksteal --durations=25
	@$(BIN)/python -m pytest -m 'not side_by_side' --durations=25

lint: setup-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

data: setup
	@$(BIN)/python -m tools.fetch_data fashion-mnist

setup: $(READY)
setup-dev: $(READY_DEV)

help:
	@echo 'make run      set up, fetch the data, run the main job: offline, performance + accuracy, verdict'
	@echo 'make test     set up with the development tools, then lint (ruff, mypy) and the tests'
	@echo 'make setup    only $(VENV) with the pinned packages; make data: the data too; make clean: removes $(VENV)'
	@echo
	@echo 'make PYTHON=/path/to/python3 ...   takes that Python (3.11, 3.12 or 3.13)'
	@echo 'PIP_EXTRA_INDEX_URL=URL make ...   asks another package index too. With the index that pytorch.org names'
	@echo '                                   for "CPU", pip takes the small CPU build of torch and no CUDA packages'

clean:
	rm -rf $(VENV)

# The names of the requirements: the project's, and those of the extras given as arguments.
REQUIREMENTS = import sys, tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*p["dependencies"], *(r for e in sys.argv[1:] for r in p["optional-dependencies"][e]), sep="\n")

install = echo 'set-up: installing $(1) into $(VENV)' >&2; [ -t 2 ] || quiet=--quiet; \
	$(BIN)/python -c '$(REQUIREMENTS)' $(2) > $(VENV)/requirements.txt && \
	$(BIN)/python -m pip install $$quiet --disable-pip-version-check -r $(VENV)/requirements.txt

$(READY):
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(MAKE) --no-print-directory venv
	@rm -f $(VENV)/.ready-*
	@$(call install,the pinned packages (200 MB with torch for CPUs alone or several GB with torch for CUDA: make help))
	@touch $@

$(READY_DEV): $(READY)
	@$(call install,the development tools,dev detection)
	@touch $@

venv:
	@for python in $(CANDIDATES); do \
	  "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; \
	  python=; \
	done; \
	[ -n "$$python" ] || { echo 'set-up: Tandem needs Python 3.11, 3.12 or 3.13 and found none of them as' \
	  '$(CANDIDATES). Install one, or name it: make PYTHON=/path/to/python3' >&2; exit 1; }; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { echo "set-up: $$python cannot make a virtual" \
	  "environment (it lacks ensurepip). On Debian or Ubuntu: sudo apt-get install" \
	  "$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }; \
	echo "set-up: making $(VENV) with $$("$$python" --version)" >&2; \
	"$$python" -m venv --clear $(VENV)
