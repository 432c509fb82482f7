#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace portolan::client {

/// A small query in memory.
struct Fixture {
  using Dense = std::vector<std::vector<float>>;

  std::vector<std::string> genes;
  std::vector<std::string> cells;
  std::vector<std::optional<std::string>> batches;  ///< obs["donor"], categorical
  Dense x;                                          ///< cells x genes
  std::map<std::string, Dense> layers;
};

/// Five cells of the donors "a/b" (3) and "c" (2). Its genes are g3, g1, other, g0: the fake
/// server's g0..g3 without g2, in another order, and one more.
Fixture SmallQuery();

/// Writes it as anndata does, under a unique name in the tests' folder. Returns the path.
std::string WriteH5ad(const Fixture& fixture);

/// A path in the tests' folder that nothing else uses.
std::string UniquePath(const std::string& suffix);

/// Values of a numeric dataset as doubles; empty if there is none.
std::vector<double> ReadNumbers(const std::string& file, const std::string& path);

/// Strings of a dataset (scalar or one-dimensional); empty if there is none.
std::vector<std::string> ReadStrings(const std::string& file, const std::string& path);

}  // namespace portolan::client
