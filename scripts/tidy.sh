#!/usr/bin/env bash
# tidy.sh JOBS BUILD_DIR: clang-tidy, with the checks of .clang-tidy, on the sources of core, client,
# server and tools that the build compiles. core/model and core/surgery are left out: Clang does not
# take LibTorch 1.13's headers with GCC 12's library in C++20 (a vector of the incomplete
# c10::IValue).
set -euo pipefail

run-clang-tidy-14 -quiet -j "$1" -p "$2" -extra-arg=-Wno-unknown-warning-option \
  "$PWD/(core/(?!model/|surgery/)|client/|server/|tools/)" 2>&1 |
  { grep -vE '^(clang-tidy-14 |[0-9]+ warnings? generated|Suppressed |Use -header-filter)' || true; }
echo "clang-tidy found nothing"
