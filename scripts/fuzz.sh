#!/bin/sh
# fuzz.sh SECONDS BUILD_DIR [FUZZER...]: runs each fuzzer for that long, from the inputs that earlier
# runs found (BUILD_DIR/corpus) and the committed ones, and closes with the numbers of executions.
# What breaks a fuzzer is kept in BUILD_DIR/findings; once mended, the input belongs into
# tests/fuzz/corpus/FUZZER, where every build replays it as a test. Fails if there was a finding.
set -eu

seconds=$1
build=$2
shift 2
[ $# -gt 0 ] || set -- $(ls "$build/fuzz")

mkdir -p "$build/findings"
status=0
for fuzzer in "$@"; do
  echo "== $fuzzer"
  mkdir -p "$build/corpus/$fuzzer"
  log="$build/findings/$fuzzer.log"
  "$build/fuzz/$fuzzer" -max_total_time="$seconds" -timeout=300 -report_slow_units=300 -rss_limit_mb=4096 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="$build/findings/$fuzzer-" \
    "$build/corpus/$fuzzer" "tests/fuzz/corpus/$fuzzer" >"$log" 2>&1 || {
    status=1
    tail -n 60 "$log"
  }
done

echo "== Summary"
for fuzzer in "$@"; do
  executions=$(awk '/stat::number_of_executed_units/ { print $2 }' "$build/findings/$fuzzer.log")
  findings=$(find "$build/findings" -name "$fuzzer-*" | wc -l)
  echo "$fuzzer: ${executions:-0} executions, $findings findings"
done
exit "$status"
