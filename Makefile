# zramfs: `make demo` and `make test` work as the first command after a clone (Debian 12, root or sudo).

.PHONY: help setup demo test test-long sanitize sanitize-quick check format wheel try-wheel bench bench-simulate clean

# Which builds `make sanitize` makes and runs: thread, address, debug.
BUILDS ?= thread address debug

# And of which parts CI has AddressSanitizer look at the unit tests.
QUICKLY := codec pool accel block

# Stubs say what Python uses, and no more; a disjoint base is what every class of Cython's is.
STUBBED = $(subst /,.,$(basename $(wildcard zramfs/*.pyi zramfs/*/*.pyi)))

# Tests wait for half of their time: four workers for two CPUs.
WORKERS ?= $(shell echo $$(($$(nproc) * 2)))

# How long each test of `make test-long` runs, in seconds.
ZRAMFS_TEST_SECONDS ?= 900

# What tests import is compiled once, and not by each process that they start.
unexport PYTHONDONTWRITEBYTECODE

# /dev/fuse, loop devices and swap belong to root.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

help:
	@echo 'make setup   install what is needed: Debian packages, .venv, the compiled parts'
	@echo 'make demo    mount, fio, loop, file system, swap: all of it, verified, in two minutes'
	@echo 'make test    the tests (STRICT=1: a test that this machine cannot run is an error), and the slowest ten of them'
	@echo 'make test-long   random operations, compared with the kernel'"'"'s zram, and hostile load (each ZRAMFS_TEST_SECONDS=$(ZRAMFS_TEST_SECONDS))'
	@echo 'make sanitize   the compiled parts under ThreadSanitizer, AddressSanitizer, and UBSan with bounds checks (BUILDS=$(BUILDS))'
	@echo 'make sanitize-quick   AddressSanitizer, and the unit tests of $(QUICKLY)'
	@echo 'make check   format, lint, types, and stubs held against the compiled parts'
	@echo 'make wheel   build dist/: wheels to install elsewhere, and a source distribution'
	@echo 'make try-wheel   install them in a fresh environment without a compiler, and mount'
	@echo 'make bench   measure against the kernel'"'"'s zram and the nearest peer (QUICK=1: within two minutes;'
	@echo '             BASE=DIR: another checkout beside it; TRANSPORT=dev or uring)'
	@echo 'make bench-simulate   a million requests in virtual time: how many events a second'
	@echo 'make clean   remove .venv and what was built'

setup:
	@scripts/setup.sh

demo: setup
	@$(SUDO) .venv/bin/python scripts/demo.py

test: setup
	@$(SUDO) .venv/bin/python -m pytest --numprocesses $(WORKERS) --durations 10 $(if $(STRICT),--strict-machine)

# Other sequences each time.
test-long: setup
	@$(SUDO) env ZRAMFS_TEST_SECONDS=$(ZRAMFS_TEST_SECONDS) ZRAMFS_TEST_SEED=$${ZRAMFS_TEST_SEED:-$$(date +%s)000} \
		.venv/bin/python -m pytest -s --timeout 0 tests/system/test_differential.py tests/system/test_hostile_load.py

sanitize: setup
	@$(SUDO) .venv/bin/python scripts/sanitize $(BUILDS)

sanitize-quick: setup
	@$(SUDO) .venv/bin/python scripts/sanitize address --no-load --tests $(addprefix tests/unit/,$(QUICKLY))

check: setup
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/stubtest --concise --allowlist scripts/stubtest_allowlist.txt --ignore-missing-stub --ignore-disjoint-bases $(STUBBED)
	@cd scripts/bench && MYPYPATH=../.. ../../.venv/bin/mypy --strict --config-file= .
	@cd scripts/sanitize && MYPYPATH=../.. ../../.venv/bin/mypy --strict --config-file= .

format: setup
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

wheel: setup
	@scripts/wheel.sh

try-wheel: wheel
	@$(SUDO) .venv/bin/python -m pytest tests/packages

bench:
	@scripts/setup.sh nbdkit libnbd-bin
	@$(SUDO) env QUICK=$(QUICK) .venv/bin/python scripts/bench $(if $(BASE),--base $(BASE)) $(if $(TRANSPORT),--transport $(TRANSPORT))

bench-simulate: setup
	@.venv/bin/python scripts/bench_simulate.py

clean:
	rm -rf .venv build dist man *.egg-info
	find zramfs '(' -name '*.so' -o -name '*.pyc' ')' -delete
