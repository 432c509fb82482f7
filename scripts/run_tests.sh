#!/bin/sh
# run_tests.sh JOBS BUILD_DIR...: runs ctest in each build, all of them whatever fails, and closes
# with a summary: what ran, what was skipped and why, what failed. Fails if a test failed, or none
# was found.
set -eu

jobs=$1
shift

status=0
for build in "$@"; do
  echo "== Tests of $build"
  ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel "$jobs" || status=1
done

logs=""
for build in "$@"; do
  logs="$logs $build/Testing/Temporary/LastTest.log"
done
echo
echo "== Summary"
# shellcheck disable=SC2086
awk -f scripts/summarize_tests.awk $logs
exit "$status"
