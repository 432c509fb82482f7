#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace portolan::end_to_end {

/// A two-dimensional array of obsm. Empty if there is none.
struct Embedding {
  int64_t cells = 0;
  int64_t width = 0;
  std::vector<float> values;  ///< by rows

  std::span<const float> row(int64_t cell) const {
    return std::span(values).subspan(cell * width, width);
  }
};

/// obsm[name] of an h5ad file.
Embedding ReadObsm(const std::string& path, const std::string& name);

std::vector<std::string> ReadCellNames(const std::string& path);

/// obs[name]; missing values are empty.
std::vector<std::optional<std::string>> ReadObs(const std::string& path, const std::string& name);

/// What an element of uns["portolan"] holds ("genes/matched"); fails the test where it is absent.
double ReadNumber(const std::string& path, const std::string& key);
std::string ReadText(const std::string& path, const std::string& key);
std::vector<double> ReadNumbers(const std::string& path, const std::string& key);
std::vector<std::string> ReadTexts(const std::string& path, const std::string& key);

/// The bytes of each cell's row of obsm["X_portolan"], by cell name: equal for files with the same
/// cells in another order.
std::map<std::string, std::string> LatentByCell(const std::string& path);

/// Share of the cells whose obs[label] is their obs["cell_type"].
double LabelAccuracy(const std::string& path, const std::string& label = "portolan_label");

}  // namespace portolan::end_to_end
