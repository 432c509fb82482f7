#!/usr/bin/env bash
# Runs the benchmarks, prints a table and writes build/bench.json. PORTOLAN_PEER_PYTHON names an
# interpreter with scvi-tools, which then runs on the same shapes in the same run.
set -euo pipefail
cd "$(dirname "$0")/.."
peer=()
if [ -n "${PORTOLAN_PEER_PYTHON:-}" ]; then
  "$PORTOLAN_PEER_PYTHON" bench/peer/peer.py build/peer.json
  peer=(--peer build/peer.json)
fi
OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 build/bin/portolan-speed --out build/bench.json "${peer[@]}" "$@"
echo "written: build/bench.json"
