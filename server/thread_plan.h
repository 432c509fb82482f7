#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace portolan::server {

/// Parallelism comes from the worker pool: every worker computes with one BLAS and one OpenMP
/// thread, which is quicker than nested pools and keeps the bits independent of the core count.

/// The libraries read OPENBLAS_NUM_THREADS and OMP_NUM_THREADS when they are loaded, which is
/// before main(). So if either is not "1", sets both and replaces the process by itself with the
/// same arguments, once. Returns OK if they were set already; else only if the replacement failed.
absl::Status EnsureOneBlasThread(char** argv);

/// Processors' worth of time that a cgroup v2 "cpu.max" grants: "150000 100000" is 1.5. Nothing for
/// "max ..." and for text that is none.
std::optional<double> ParseCpuMax(std::string_view text);

/// The path in /proc/self/cgroup's cgroup v2 line ("0::/a/b" gives "/a/b"); nothing without one.
std::optional<std::string> ParseCgroupPath(std::string_view text);

/// Whole workers for so many allowed cores under a quota: at least one, a started core counts.
int WorkersFor(int cores, std::optional<double> quota);

/// The cores that this process may use: affinity mask and cgroup quota.
int DefaultWorkers();

}  // namespace portolan::server
