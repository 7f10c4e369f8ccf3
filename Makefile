# make book     run every notebook and build the website
# make test     run all checks and tests
# make lab      open the course in JupyterLab
# make bench    run the benchmarks
# make clean    remove what was built;  make distclean  also removes the environment
#
# The first of them sets up the environment in .venv; later runs install nothing.
# Settings, as in `make book TORCH_BACKEND=cpu`:
#   TORCH_BACKEND  which build of torch uv should fetch (cpu, cu128, ...); empty: whatever pip finds
#   JOBS           how many notebooks, and how many test processes, run at a time
#   PY             a Python environment that exists already (conda, Binder); nothing is installed into it
#   NB             the notebooks that `make notebooks` runs, e.g. NB="01_two_views 02_early_fusion"
#   RECORD_TIMES   1 to keep the notebooks' run times in data/results/notebook_times.json

.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
JOBS ?= 2
TORCH_BACKEND ?=
NB ?=
RECORD_TIMES ?=

# A PY given on the command line is an environment that somebody else maintains.
SETUP := $(if $(filter command,$(origin PY)),,$(STAMP))
PIP = $(PY) -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' tools/requirements.lock)
# Its 0.6 release requires old versions of scikit-learn and others, yet works with the current
# ones; pip would refuse to install it with the rest, so it is installed alone, without dependencies.
MATBENCH := matbench==0.6

# The first interpreter found that is Python 3.11, the version the course is tested with.
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	if $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; \
	then echo $$python; break; fi; done)

.PHONY: help book test lab bench clean distclean setup packages notebooks site lint lock vendor

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# --- environment ---------------------------------------------------------------------------------

setup: $(SETUP)

$(STAMP): tools/requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "No Python 3.11 found. Install it, or name it: make PYTHON=/path/to/python3.11 (see README.md)" >&2; exit 1; fi
	@echo "Setting up $(VENV) with $(PYTHON): once, a few minutes"
	$(PYTHON) -m venv $(VENV)
	$(MAKE) packages
	touch $@

# Also used by .binder/postBuild, with PY=python.
packages:
ifneq ($(TORCH_BACKEND),)
	$(PIP) install uv
	$(PY) -m uv pip install --python "$$($(PY) -c 'import sys; print(sys.executable)')" --torch-backend $(TORCH_BACKEND) $(TORCH)
endif
	$(PIP) install --requirement tools/requirements.lock
	$(PIP) install --no-deps $(MATBENCH)
	$(PIP) install --no-deps --editable .
	@# Matplotlib builds its font list at the first import and says so, which must not appear in a notebook's output.
	$(PY) -c "import matplotlib.font_manager"

# --- the course ----------------------------------------------------------------------------------

# One thread per process: two processes fill two cores, and the numbers do not depend on the machine's cores.
book notebooks test bench: export OMP_NUM_THREADS = 1

book: notebooks
	$(MAKE) site

notebooks: $(SETUP)
	$(PY) tools/run_notebooks.py --jobs $(JOBS) $(if $(RECORD_TIMES),--record-times) $(NB)

# Built from the stored outputs, so the site shows exactly what was run and tested. All pages are
# rebuilt each time (--all): a warning must not vanish because its page did not change.
site: $(SETUP)
	rm -rf _build/html
	$(PY) -c 'from jupyter_book.cli.main import main; main()' build --config pages/_config.yml --all -W -n \
		--keep-going --quiet .
	@echo "The website is at file://$(CURDIR)/_build/html/index.html"

test: $(SETUP) lint
	$(MAKE) site
	$(PY) -m pytest --numprocesses $(JOBS) --dist loadfile --nbval-lax tests notebooks

lint: $(SETUP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

lab: $(SETUP)
	$(PY) -m jupyterlab notebooks/00_start_here.ipynb

bench: $(SETUP)
	@for benchmark in tools/benchmarks/bench_*.py; do \
		echo "== $$benchmark"; $(PY) $$benchmark || exit 1; done

clean:
	rm -rf _build .pytest_cache .ruff_cache .hypothesis lightning_logs
	find . -name $(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) *.egg-info

# --- for maintainers -----------------------------------------------------------------------------

# Resolves pyproject.toml in an empty environment and writes what came out.
lock:
	rm -rf _build/lock
	$(PYTHON) -m venv _build/lock
	_build/lock/bin/python -m pip install --editable '.[book,test]'
	sed '/^#/!d' tools/requirements.lock > tools/requirements.lock.tmp
	_build/lock/bin/python -m pip list --format=freeze --exclude pip --exclude setuptools --exclude wheel \
		--exclude course_lib | sed 's/+[a-z0-9]*$$//' >> tools/requirements.lock.tmp
	mv tools/requirements.lock.tmp tools/requirements.lock
	rm -rf _build/lock

# Fetches the scripts that the website serves itself; needs Node's npm. See pages/_extra/vendor/README.md.
MATHJAX := mathjax@3.2.2
WIDGETS := @jupyter-widgets/html-manager@1.0.15
vendor:
	rm -rf _build/vendor && mkdir -p _build/vendor/mathjax _build/vendor/widgets
	cd _build/vendor && tar -xzf "$$(npm pack --silent $(MATHJAX))" -C mathjax --strip-components 1
	cd _build/vendor && tar -xzf "$$(npm pack --silent $(WIDGETS))" -C widgets --strip-components 1
	cp _build/vendor/mathjax/LICENSE _build/vendor/mathjax/es5/tex-chtml.js pages/_extra/vendor/mathjax
	cp _build/vendor/mathjax/es5/input/tex/extensions/*.js pages/_extra/vendor/mathjax/input/tex/extensions
	rm pages/_extra/vendor/mathjax/input/tex/extensions/all-packages.js
	cp _build/vendor/mathjax/es5/output/chtml/fonts/woff-v2/*.woff pages/_extra/vendor/mathjax/output/chtml/fonts/woff-v2
	cp _build/vendor/widgets/dist/embed.js _build/vendor/widgets/dist/embed.js.LICENSE.txt \
		_build/vendor/widgets/dist/*.woff2 pages/_extra/vendor/ipywidgets
