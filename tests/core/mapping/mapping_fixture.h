#pragma once

#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/atlas/atlas.h"
#include "core/io/query_reader.h"
#include "core/mapping/mapping.h"
#include "tests/paths.h"

namespace portolan {

inline std::string SourcePath(const std::string& path) { return SourceDir() + "/" + path; }

/// Every task on a thread of its own: the least order that an executor can have.
class ThreadPerTask : public Executor {
 public:
  ~ThreadPerTask() override {
    for (std::thread& thread : threads_) thread.join();
  }
  void Run(std::function<void()> task) override { threads_.emplace_back(std::move(task)); }

 private:
  std::vector<std::thread> threads_;
};

/// A query file aligned to a model's genes; at most `most_cells` cells, taken in turns so that all
/// batches occur.
inline absl::StatusOr<Query> ReadQuery(const std::string& path, const std::string& batch_key,
                                       const std::vector<std::string>& genes,
                                       int64_t most_cells = 1 << 30) {
  auto reader = OpenQuery(path);
  if (!reader.ok()) return reader.status();
  auto names = (*reader)->GeneNames({});
  if (!names.ok()) return names.status();
  auto alignment = GeneAlignment::Create(genes, *names, (*reader)->cell_names());
  if (!alignment.ok()) return alignment.status();
  Query all;
  all.genes = alignment->report();
  all.counts.cols = alignment->reference_genes();
  const absl::Status read =
      (*reader)->ReadCounts({}, *alignment, 1000, CancelToken(), [&](int64_t, CsrMatrix block) {
        all.counts.Append(block);
        return absl::OkStatus();
      });
  if (!read.ok()) return read;
  auto column = (*reader)->ReadObs(batch_key);
  if (!column.ok()) return column.status();
  const int64_t step = std::max<int64_t>(1, all.counts.rows() / most_cells);
  std::vector<int64_t> rows;
  std::unordered_map<std::string, int32_t> codes;
  Query query;
  query.genes = all.genes;
  for (int64_t row = 0; row < all.counts.rows(); row += step) {
    rows.push_back(row);
    query.cell_names.push_back((*reader)->cell_names()[row]);
    const std::string batch = column->values[row].value_or("");
    const auto [it, added] = codes.emplace(batch, static_cast<int32_t>(query.batches.size()));
    if (added) query.batches.push_back(batch);
    query.batch_codes.push_back(it->second);
  }
  query.counts = all.counts.SelectRows(rows);
  return query;
}

/// The same cells in another order, and the batches listed the other way round.
inline Query Reordered(const Query& query, const std::vector<int64_t>& rows) {
  Query out;
  out.genes = query.genes;
  out.counts = query.counts.SelectRows(rows);
  out.batches.assign(query.batches.rbegin(), query.batches.rend());
  const auto last = static_cast<int32_t>(query.batches.size()) - 1;
  for (const int64_t row : rows) {
    out.cell_names.push_back(query.cell_names[row]);
    out.batch_codes.push_back(last - query.batch_codes[row]);
  }
  return out;
}

/// Only the cells of one batch.
inline Query OneBatch(const Query& query, const std::string& batch) {
  Query out;
  out.genes = query.genes;
  out.batches = {batch};
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < query.counts.rows(); ++row) {
    if (query.batches[query.batch_codes[row]] != batch) continue;
    rows.push_back(row);
    out.cell_names.push_back(query.cell_names[row]);
    out.batch_codes.push_back(0);
  }
  out.counts = query.counts.SelectRows(rows);
  return out;
}

/// Latents by cell name, for comparisons bit by bit.
inline std::unordered_map<std::string, std::vector<float>> LatentOf(const Query& query,
                                                                    const MappingResult& result) {
  std::unordered_map<std::string, std::vector<float>> latents;
  for (int64_t cell = 0; cell < result.cells; ++cell) {
    const float* row = result.latent.data() + cell * result.n_latent;
    latents[query.cell_names[cell]].assign(row, row + result.n_latent);
  }
  return latents;
}

}  // namespace portolan
