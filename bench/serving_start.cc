#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/serving.h"

namespace portolan::bench {

void MeasureStart(const Setting& setting) {
  constexpr int kRepeats = 5;
  const std::string none = setting.folder / "no_atlases";
  std::filesystem::create_directory(none);
  std::vector<double> with;
  std::vector<double> without;
  const auto start = [&](const std::string& atlases) {
    std::unique_ptr<RunningServer> server;
    return 1e3 * Seconds([&] {
             server = std::make_unique<RunningServer>(setting, atlases, std::vector<std::string>());
           });
  };
  for (int i = 0; i < kRepeats; ++i) {
    without.push_back(start(none));
    with.push_back(start(setting.atlases));
  }
  setting.report.Add({"start/server", 1, Median(without), "ms"});
  setting.report.Add({"start/server_with_hlca", 1, Median(with), "ms"});
}

}  // namespace portolan::bench
