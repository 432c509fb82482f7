// portolan-goldens MODEL_DIR GOLDEN.h5 COUNTS.h5ad: does Portolan get scvi-tools' numbers?

#include <cstdio>
#include <cstdlib>

#include "tools/goldens/replay.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: portolan-goldens MODEL_DIR GOLDEN.h5 COUNTS.h5ad\n");
    return 2;
  }
  const auto report = portolan::ReplayGolden(argv[1], argv[2], argv[3]);
  if (!report.ok()) {
    std::fprintf(stderr, "error: %s\n", std::string(report.status().message()).c_str());
    return 1;
  }
  std::printf("%-64s %12s %10s\n", "item", "error", "tolerance");
  for (const portolan::GoldenItem& item : report->items) {
    std::printf("%-64s %12.3g %10.0e  %s%s\n", item.name.c_str(), item.largest_error,
                item.tolerance, item.ok() ? "ok" : "BEYOND", item.relative ? " (relative)" : "");
  }
  for (const std::string& line : report->skipped) std::printf("skipped %s\n", line.c_str());
  std::printf("%s\n", report->ok() ? "all within tolerance" : "NOT within tolerance");
  return report->ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}
