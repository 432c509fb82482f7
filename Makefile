# Portolan's everyday commands; `make help` lists them. Everything but `format` and `tidy` needs no
# more than Debian 12, git and make: root gets the packages installed, others are told their names.

JOBS ?= $(shell scripts/jobs.sh)
CMAKE_ARGS ?=
FUZZ_SECONDS ?= 600
FUZZERS ?=
PROGRAMS := portolan portolan-server portolan-goldens
BENCHMARKS := portolan-speed portolan-stages portolan-serving portolan-newton

ifneq ($(shell command -v ccache),)
LAUNCHER := -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache
endif
# $(call configure,PRESET[,BENCH]): quick when nothing has changed.
configure = cmake --preset $(1) -DPORTOLAN_BENCH=$(or $(2),OFF) $(LAUNCHER) $(CMAKE_ARGS)
SOURCES = $(shell git ls-files --cached --others --exclude-standard '*.cc' '*.h')

.DEFAULT_GOAL := help
.PHONY: help build test asan demo bench format tidy fuzz clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: JOBS=$(JOBS) (compilers and tests at once), CMAKE_ARGS, SKIP_DEPS=1, PORTOLAN_TEST_DATA, FUZZ_SECONDS=$(FUZZ_SECONDS), FUZZERS"

build:  ## build the programs into build/bin/
	@scripts/dependencies.sh build test
	$(call configure,release)
	cmake --build --preset release --parallel $(JOBS) --target $(PROGRAMS)

test:  ## build everything, run all tests, then those without LibTorch under sanitizers
	@scripts/dependencies.sh build test
	$(call configure,release)
	cmake --build --preset release --parallel $(JOBS)
	$(call configure,asan)
	cmake --build --preset asan --parallel $(JOBS)
	scripts/run_tests.sh $(JOBS) build build-asan

asan:  ## build and run the tests without LibTorch under address and undefined-behaviour sanitizers
	@scripts/dependencies.sh build test
	$(call configure,asan)
	cmake --build --preset asan --parallel $(JOBS)
	scripts/run_tests.sh $(JOBS) build-asan

demo: build  ## map a small query onto a small atlas, from start to end
	demo/run.sh

bench:  ## build the benchmarks and run them (PORTOLAN_BENCH_LONG=1: all of them)
	@scripts/dependencies.sh build test bench
	@test -x bench/run.sh || { echo "There are no benchmarks yet: bench/run.sh is missing." >&2; exit 1; }
	$(call configure,release,ON)
	cmake --build --preset release --parallel $(JOBS) --target $(PROGRAMS) $(BENCHMARKS)
	bench/run.sh

format:  ## format the C++ sources
	@scripts/dependencies.sh format
	clang-format-14 -i $(SOURCES)

tidy:  ## run clang-tidy on core, client, server and tools
	@scripts/dependencies.sh build test tidy
	$(call configure,release)
	cmake --build --preset release --parallel $(JOBS) --target portolan_proto
	scripts/tidy.sh $(JOBS) build

fuzz:  ## run every fuzzer for FUZZ_SECONDS (or FUZZERS="query_mex ...")
	@scripts/dependencies.sh build test fuzz
	$(call configure,fuzz)
	cmake --build --preset fuzz --parallel $(JOBS)
	scripts/fuzz.sh $(FUZZ_SECONDS) build-fuzz $(FUZZERS)

clean:  ## remove what the other commands made
	rm -rf build build-asan build-dev build-fuzz demo/out
