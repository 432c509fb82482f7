#!/usr/bin/env bash
# Maps a small query onto a small atlas, from start to end: starts a server on a free port with an
# empty data folder, asks what it hosts, maps demo/data/query.h5ad, and compares the labels it gives
# with the true ones. The programs are built by `make demo`, which calls this.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=build/bin
query=demo/data/query.h5ad
out=demo/out
result=$out/mapped.h5ad
cite_result=$out/mapped_cite.h5ad
data=$(mktemp -d)
log=$out/server.log
server=""

stop_server() {
  if [[ -n $server ]] && kill -TERM "$server" 2>/dev/null; then
    wait "$server" || echo "The server ended with status $?; its log is $log" >&2
  fi
  server=""
}

cleanup() {
  stop_server
  rm -rf "$data"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n== %s\n' "$*"; }

# Prints HOST:PORT once the server has said where it listens; fails if it ends or stays silent.
listening_address() {
  local address
  for _ in $(seq 600); do
    address=$(sed -nE 's/.*[Ll]istening on ([^ ]+:[0-9]+).*/\1/p' "$log" | head -n 1)
    if [[ -n $address ]]; then
      echo "$address"
      return
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo "The server did not start:" >&2
  cat "$log" >&2
  return 1
}

mkdir -p "$out"
rm -f "$result" "$cite_result" "$log"

say "Starting the server with the atlases in demo/atlases"
"$bin/portolan-server" serve --atlases demo/atlases --data "$data" --listen 127.0.0.1:0 \
  >"$log" 2>&1 &
server=$!
PORTOLAN_SERVER=$(listening_address)
export PORTOLAN_SERVER
echo "listening on $PORTOLAN_SERVER"

say "What it hosts"
"$bin/portolan" atlas list
"$bin/portolan" atlas show pbmc_demo

say "Mapping $query: two batches that the reference has never seen"
"$bin/portolan" map "$query" --atlas pbmc_demo --batch-key batch --epochs 100 \
  -o "$result"

say "Labels given, against the true ones in obs[\"cell_type\"]"
"$bin/portolan" compare "$result" --truth cell_type

say "Mapping its proteins, too, onto a TOTALVI reference"
"$bin/portolan" map "$query" --atlas cite_demo --batch-key batch --epochs 50 \
  --proteins protein_expression --outputs proteins,foreground --output-proteins CD3,CD4,CD8a,CD19 \
  --transform-batch lab_a --samples 5 -o "$cite_result"

say "Stopping the server"
stop_server

say "Done"
echo "The mapped query is $result: the latent in obsm, labels and their certainty in obs."
echo "With proteins it is $cite_result: denoised values and foreground in obsm."
echo "The server's log is $log."
