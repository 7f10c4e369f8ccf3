# The commands of course.py, for those who have make: `make book` is `python course.py book`.
#
# Settings, as in `make book JOBS=1`; `make help` says what they mean:
#   JOBS, PYTHON, TORCH, NB="01_two_views 02_early_fusion" (of `make notebooks`), RECORD_TIMES=1 (of `make notebooks`)
#   PY    an environment that somebody else maintains (conda, Binder), as in `make test PY=python`

.DEFAULT_GOAL := help
.PHONY: help book test check lab notebooks site lint bench setup clean distclean lock vendor

START := $(or $(shell command -v python3 || command -v python),$(PYTHON))

help:
	@"$(START)" course.py --help

book test check lab notebooks site lint bench setup clean distclean lock vendor:
	@"$(or $(START),$(error There is no Python on the path. Install one: see README.md))" course.py $@ $(NB) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(PYTHON),--python "$(PYTHON)") $(if $(TORCH),--torch $(TORCH)) \
		$(if $(filter command,$(origin PY)),--env "$(PY)") $(if $(RECORD_TIMES),--record-times)
