# Reads ctest's LastTest.log of one build or more, which hold what the GoogleTest programs printed,
# and prints the programs and cases that ran, each skipped case with its reason, and each failed
# one. The last line is ctest's own closing line, over all builds.

function build_of(path) {
  sub(/\/Testing\/Temporary\/LastTest\.log$/, "", path)
  return path
}

FNR == 1 { builds[++build_count] = build = build_of(FILENAME) }

# ctest: "3/17 Testing: core_io_test", and at its end "Test Passed." or "Test Failed."
/^[0-9]+\/[0-9]+ Testing: / { program = $NF; ++programs[build]; reason = ""; capture = 0 }
/^Test Passed\.$/ { ++passed[build] }
/^Test Failed\.$/ { failures[++failure_count] = program " (" build ")" }

# GoogleTest: the lines between "file.cc:12: Skipped" and the case's end are the reason.
/^\[ RUN      \] / { ++cases[build]; reason = ""; capture = 0; next }
/^[^ ]+:[0-9]+: Skipped$/ { capture = 1; next }
/^\[  SKIPPED \] .* \([0-9]+ ms\)$/ {
  ++skipped[build]
  if (reason == "") reason = "no reason given"
  if (!(reason in skips_for)) reasons[++reason_count] = reason
  skips_for[reason] = skips_for[reason] "\n    " $4 " (" build ")"
  reason = ""
  capture = 0
  next
}
/^\[  FAILED  \] .* \([0-9]+ ms\)$/ {
  name = $0
  sub(/^\[  FAILED  \] /, "", name)
  failed_cases[++failed_case_count] = name " in " program " (" build ")"
}
/^\[       OK \] / { capture = 0; next }
capture && NF { reason = reason == "" ? $0 : reason " " $0 }

END {
  for (i = 1; i <= build_count; ++i) {
    b = builds[i]
    printf "%s: %d of %d test programs passed; %d cases, %d of them skipped\n", b, passed[b],
           programs[b], cases[b], skipped[b]
    total += programs[b]
    total_passed += passed[b]
  }
  if (reason_count == 0) print "Skipped: none"
  for (i = 1; i <= reason_count; ++i) print "Skipped, " reasons[i] ":" skips_for[reasons[i]]
  for (i = 1; i <= failure_count; ++i) print "Failed program: " failures[i]
  for (i = 1; i <= failed_case_count; ++i) print "Failed case: " failed_cases[i]
  if (total == 0) exit 1
  printf "\n%d%% tests passed, %d tests failed out of %d\n", int(100 * total_passed / total),
         total - total_passed, total
}
