#include "bench/report.h"

#include <cstdio>
#include <fstream>
#include <utility>

namespace portolan::bench {
namespace {

bool IsRate(const std::string& unit) { return unit.ends_with("/s"); }

nlohmann::json ReadJson(const std::string& path, nlohmann::json otherwise) {
  if (path.empty()) return otherwise;
  std::ifstream in(path);
  nlohmann::json json = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  return json.type() == otherwise.type() ? json : otherwise;
}

}  // namespace

Report::Report(std::string out, const std::string& peer)
    : out_(std::move(out)),
      peer_(ReadJson(peer, nlohmann::json::object())),
      items_(ReadJson(out_, nlohmann::json::array())) {}

void Report::Add(const Row& row) {
  nlohmann::json item = {{"name", row.name}, {"workers", row.workers},   {"value", row.value},
                         {"unit", row.unit}, {"peer", nullptr},          {"ratio_to_peer", nullptr},
                         {"floor", nullptr}, {"ratio_to_floor", nullptr}};
  std::printf("%-34s %2d %14.*f %-14s", row.name.c_str(), row.workers, row.value < 1000 ? 2 : 0,
              row.value, row.unit.c_str());
  const std::string& peer_name = row.peer.empty() ? row.name : row.peer;
  if (peer_.contains(peer_name)) {
    const double peer = peer_[peer_name];
    const double ratio = IsRate(row.unit) ? row.value / peer : peer / row.value;
    item["peer"] = peer;
    item["ratio_to_peer"] = ratio;
    std::printf(" %6.1fx the peer", ratio);
  }
  if (row.floor > 0) {
    const double ratio = IsRate(row.unit) ? row.floor / row.value : row.value / row.floor;
    item["floor"] = row.floor;
    item["ratio_to_floor"] = ratio;
    std::printf("  %5.2f of the floor's time", ratio);
  }
  std::printf("\n");
  std::fflush(stdout);
  Put(std::move(item));
}

void Report::Put(nlohmann::json item) {
  bool replaced = false;
  for (nlohmann::json& other : items_) {
    if (other["name"] != item["name"] || other["workers"] != item["workers"]) continue;
    other = item;
    replaced = true;
  }
  if (!replaced) items_.push_back(std::move(item));
  if (!out_.empty()) std::ofstream(out_) << items_.dump(1) << "\n";
}

}  // namespace portolan::bench
