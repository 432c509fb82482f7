#!/usr/bin/env bash
# Runs the benchmarks, prints their tables and writes build/bench.json (bench/report.h).
# PORTOLAN_PEER_PYTHON names an interpreter with scvi-tools, h5py and scipy, which then run on the
# same shapes and files in the same run. PORTOLAN_BENCH_LONG=1 also does what takes minutes: a query
# of 100,000 cells.
set -euo pipefail
cd "$(dirname "$0")/.."
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
rows=(--out build/bench.json)
query=build/bench-query.h5ad
rm -f build/bench.json "$query"
build/bin/portolan-stages --write-query "$query"
peer=()
if [ -n "${PORTOLAN_PEER_PYTHON:-}" ]; then
  env -u OPENBLAS_NUM_THREADS -u OMP_NUM_THREADS \
    "$PORTOLAN_PEER_PYTHON" bench/peer/peer.py build/peer.json --query "$query"
  peer=(--peer build/peer.json)
fi
build/bin/portolan-speed "${rows[@]}" "${peer[@]}" "$@"
build/bin/portolan-stages "${rows[@]}" "${peer[@]}" --query "$query"
long=()
if [ "${PORTOLAN_BENCH_LONG:-0}" = 1 ]; then long=(--long); fi
build/bin/portolan-serving "${rows[@]}" "${long[@]}"
rm -f "$query"
echo "written: build/bench.json"
