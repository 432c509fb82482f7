#include "core/mapping/score.h"

#include <algorithm>
#include <vector>

#include "absl/synchronization/blocking_counter.h"
#include "core/base/status_macros.h"
#include "core/mapping/plan.h"
#include "core/mapping/result.h"
#include "core/surgery/training_session.h"

namespace portolan {
namespace {

constexpr int64_t kBlockRows = 2048;

struct ScoredBlock {
  std::vector<int64_t> rows;
  Embedding embedding;
  std::vector<double> negative_elbo;
};

absl::Status ScoreBlock(const Model& model, const Query& query, const std::vector<int32_t>& codes,
                        uint64_t seed, const CancelToken& cancel, ScoredBlock& block) {
  const TrainingCells cells = CellsOf(query, block.rows, query.batches);
  std::vector<int32_t> block_codes;
  for (const int64_t row : block.rows) block_codes.push_back(codes[row]);
  const CellInputs inputs{cells.counts, block_codes, cells.annotations, cells.proteins};
  PORTOLAN_ASSIGN_OR_RETURN(block.embedding, Encode(model, inputs, cancel));
  CellNoise noise(seed, cells);
  PORTOLAN_ASSIGN_OR_RETURN(block.negative_elbo, NegativeElbo(model, inputs, noise, cancel));
  return absl::OkStatus();
}

// Rows of a block to their places in the query.
void Scatter(const std::vector<float>& from, const std::vector<int64_t>& rows, int64_t width,
             std::vector<float>& to) {
  for (size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(from.begin() + static_cast<int64_t>(i) * width, width,
                to.begin() + rows[i] * width);
  }
}

ScoredQuery Gather(const Query& query, const std::vector<ScoredBlock>& blocks) {
  ScoredQuery out;
  Embedding& all = out.embedding;
  all.cells = query.counts.rows();
  all.n_latent = blocks[0].embedding.n_latent;
  all.n_labels = blocks[0].embedding.n_labels;
  all.mean.resize(all.cells * all.n_latent);
  all.probabilities.resize(all.cells * all.n_labels);
  for (const ScoredBlock& block : blocks) {
    Scatter(block.embedding.mean, block.rows, all.n_latent, all.mean);
    Scatter(block.embedding.probabilities, block.rows, all.n_labels, all.probabilities);
    for (size_t i = 0; i < block.rows.size(); ++i) {
      BatchElbo& elbo = out.elbo[query.batches[query.batch_codes[block.rows[i]]]];
      ++elbo.cells;
      elbo.mean -= block.negative_elbo[i];
    }
  }
  for (auto& [batch, elbo] : out.elbo) elbo.mean /= static_cast<double>(elbo.cells);
  return out;
}

}  // namespace

absl::StatusOr<ScoredQuery> ScoreQuery(const Model& model, const Query& query, uint64_t seed,
                                       const MappingEnvironment& environment) {
  PORTOLAN_ASSIGN_OR_RETURN(const std::vector<int32_t> codes,
                            ModelBatchCodes(model, query.batches, query.batch_codes));
  const std::vector<int64_t> order = CanonicalRows(query);
  std::vector<ScoredBlock> blocks((order.size() + kBlockRows - 1) / kBlockRows);
  std::vector<absl::Status> statuses(blocks.size());
  absl::BlockingCounter done(static_cast<int>(blocks.size()));
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto begin = order.begin() + static_cast<int64_t>(i) * kBlockRows;
    blocks[i].rows.assign(begin, begin + std::min<int64_t>(kBlockRows, order.end() - begin));
    environment.executor->Run([&, i] {
      statuses[i] = ScoreBlock(model, query, codes, seed, environment.cancel, blocks[i]);
      done.DecrementCount();
    });
  }
  done.Wait();
  for (const absl::Status& status : statuses) PORTOLAN_RETURN_IF_ERROR(status);
  return Gather(query, blocks);
}

}  // namespace portolan
