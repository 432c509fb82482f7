#!/bin/sh
# jobs.sh: how many compilers may run at once: one a core, and 2 GB of memory for each, which is
# what a source with LibTorch's headers takes.
set -eu

cores=$(nproc)
memory_kb=$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)
# A container's own limit, where it has one ("max" otherwise).
if limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null) && [ "$limit" != max ]; then
  limit_kb=$((limit / 1024))
  [ "$limit_kb" -ge "$memory_kb" ] || memory_kb=$limit_kb
fi

jobs=$((memory_kb / 2000000))
[ "$jobs" -le "$cores" ] || jobs=$cores
[ "$jobs" -ge 1 ] || jobs=1
echo "$jobs"
