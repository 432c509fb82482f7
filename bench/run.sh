#!/usr/bin/env bash
# Runs the benchmarks, prints a table and writes build/bench.json (google-benchmark's format).
set -euo pipefail
cd "$(dirname "$0")/.."
build/bin/portolan-bench --benchmark_counters_tabular=true --benchmark_repetitions=3 \
  --benchmark_report_aggregates_only=true --benchmark_out=build/bench.json \
  --benchmark_out_format=json "$@"
echo "written: build/bench.json"
