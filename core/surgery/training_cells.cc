#include "core/surgery/training_cells.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace portolan {
namespace {

std::vector<uint64_t> BatchKeys(const TrainingCells& cells, uint64_t seed) {
  std::vector<uint64_t> keys;
  for (const std::string& batch : cells.batches) keys.push_back(RandomKey(seed, batch));
  return keys;
}

// Rows by a random number of their cells; equal numbers keep the canonical order.
std::vector<int64_t> SortByDraw(const TrainingCells& cells, std::span<const int64_t> rows,
                                uint64_t seed, RandomUse use, uint32_t epoch) {
  const std::vector<uint64_t> keys = BatchKeys(cells, seed);
  std::vector<std::pair<uint64_t, int64_t>> draws;
  draws.reserve(rows.size());
  for (const int64_t row : rows) {
    draws.emplace_back(RandomBits(keys[cells.batch_codes[row]], use, epoch, cells.cell_ids[row]),
                       row);
  }
  std::sort(draws.begin(), draws.end());
  std::vector<int64_t> order;
  order.reserve(rows.size());
  for (const auto& draw : draws) order.push_back(draw.second);
  return order;
}

}  // namespace

CellNoise::CellNoise(uint64_t seed, const TrainingCells& cells)
    : cells_(cells), batch_keys_(BatchKeys(cells, seed)) {}

void CellNoise::Normal(RandomUse use, std::span<const int64_t> rows, int64_t width, float* out) {
  for (const int64_t row : rows) {
    FillNormal(batch_keys_[cells_.batch_codes[row]], use, epoch_, cells_.cell_ids[row],
               {out, static_cast<size_t>(width)});
    out += width;
  }
}

void CellNoise::Uniform(const std::string& stream, std::span<const int64_t> rows, int64_t width,
                        float* out) {
  const uint64_t stream_id = StableHash64(stream);
  for (const int64_t row : rows) {
    FillUniform(batch_keys_[cells_.batch_codes[row]], RandomUse::kDropout, epoch_,
                cells_.cell_ids[row] ^ stream_id, {out, static_cast<size_t>(width)});
    out += width;
  }
}

Split SplitCells(const TrainingCells& cells, uint64_t seed, double train_share, int minibatch) {
  std::vector<int64_t> rows(cells.cells());
  for (int64_t i = 0; i < cells.cells(); ++i) rows[i] = i;
  rows = SortByDraw(cells, rows, seed, RandomUse::kSplit, 0);
  const auto n = static_cast<int64_t>(rows.size());
  auto n_train = static_cast<int64_t>(std::ceil(train_share * static_cast<double>(n)));
  n_train = std::clamp<int64_t>(n_train, std::min<int64_t>(n, 1), n);
  const int64_t rest = n_train % minibatch;
  if (n_train > minibatch && (rest == 1 || rest == 2)) n_train -= rest;
  Split split;
  // Without a validation share the one or two cells are left out: too few to watch a run by.
  if (train_share < 1) split.validation.assign(rows.begin(), rows.end() - n_train);
  split.train.assign(rows.end() - n_train, rows.end());
  std::sort(split.validation.begin(), split.validation.end());
  std::sort(split.train.begin(), split.train.end());
  return split;
}

std::vector<int64_t> ShuffleRows(const TrainingCells& cells, const std::vector<int64_t>& rows,
                                 uint64_t seed, int epoch) {
  return SortByDraw(cells, rows, seed, RandomUse::kShuffle, static_cast<uint32_t>(epoch));
}

std::vector<int64_t> ShuffleLabelled(const TrainingCells& cells, const std::vector<int64_t>& rows,
                                     uint64_t seed, int epoch) {
  return SortByDraw(cells, rows, seed, RandomUse::kLabelledShuffle, static_cast<uint32_t>(epoch));
}

}  // namespace portolan
