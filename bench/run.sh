#!/usr/bin/env bash
# Runs the benchmarks, prints their tables and writes build/bench.json (bench/report.h).
# PORTOLAN_PEER_PYTHON names an interpreter with scvi-tools, h5py and scipy, which then run on the
# same shapes and files in the same run, each just before Portolan. PORTOLAN_BENCH_LONG=1 also does
# what takes minutes: a query of 100,000 cells.
set -euo pipefail
cd "$(dirname "$0")/.."
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
rows=(--out build/bench.json)
query=build/bench-query.h5ad
rm -f build/bench.json build/peer.json "$query"
peer=()

run_peer() {
  if [ -z "${PORTOLAN_PEER_PYTHON:-}" ]; then return; fi
  env -u OPENBLAS_NUM_THREADS -u OMP_NUM_THREADS \
    "$PORTOLAN_PEER_PYTHON" bench/peer/peer.py build/peer.json "$@" 2> >(grep '^scvi-tools' >&2) >/dev/null
  peer=(--peer build/peer.json)
}

# A machine that others share is quicker at one time than at another, so the two take turns.
for shape in scvi_nb scvi_zinb scanvi_hlca totalvi kang_scvi kang_scanvi; do
  run_peer --only "train/$shape"
  build/bin/portolan-speed "${rows[@]}" "${peer[@]}" --only "train/$shape" "$@"
done
build/bin/portolan-speed "${rows[@]}" "${peer[@]}" --only encode "$@"
build/bin/portolan-stages --write-query "$query"
run_peer --only none --query "$query"
build/bin/portolan-stages "${rows[@]}" "${peer[@]}" --query "$query"
long=()
if [ "${PORTOLAN_BENCH_LONG:-0}" = 1 ]; then long=(--long); fi
build/bin/portolan-serving "${rows[@]}" "${long[@]}"
rm -f "$query"
echo "written: build/bench.json"
