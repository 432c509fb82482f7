#include "bench/training.h"

#include <optional>
#include <vector>

#include "bench/measure.h"
#include "core/surgery/column_init.h"

namespace portolan::bench {
namespace {

double TotalviFlopsPerCell(const Architecture& a) {
  const auto h = static_cast<double>(a.n_hidden);
  const auto d = static_cast<double>(a.n_latent);
  const auto encoder = static_cast<double>(a.n_layers - 1);
  const auto decoder = static_cast<double>(a.proteins->n_layers_decoder - 1);
  const double genes =
      (a.gene_likelihood == GeneLikelihood::kZinb ? 2 : 1) * static_cast<double>(a.n_genes);
  const double outputs = genes + 4 * static_cast<double>(a.proteins->n_proteins);
  return 4 * ((h + d) * outputs + 4 * (d * h + decoder * h * h) + encoder * h * h + 2 * d * h);
}

}  // namespace

Training::Training(const Model& model, const TrainingCells& cells, Precision precision)
    : cells_(cells),
      noise_(0, cells),
      session_(Must(TrainingSession::Create(model, cells, InitialColumns(model, cells, 0),
                                            {.freeze_dropout = true}, {}, noise_, std::nullopt,
                                            precision))) {}

void Training::Steps(int steps) {
  std::vector<int64_t> rows(kMinibatch);
  for (int step = 0; step < steps; ++step) {
    for (int64_t& row : rows) {
      row = next_;
      next_ = (next_ + 1) % cells_.cells();
    }
    Must(session_->Step(rows, 0.1, 1e-3));
  }
}

double FlopsPerCell(const Model& model) {
  const Architecture& a = model.description().architecture;
  if (model.description().model_class == ModelClass::kTotalvi) return TotalviFlopsPerCell(a);
  const auto h = static_cast<double>(a.n_hidden);
  const auto d = static_cast<double>(a.n_latent);
  const auto deeper = static_cast<double>(a.n_layers - 1);
  const double heads =
      (a.gene_likelihood == GeneLikelihood::kZinb ? 2 : 1) * h * static_cast<double>(a.n_genes);
  double products = heads + 2 * deeper * h * h + d * h + 2 * d * h;
  if (model.description().model_class == ModelClass::kScanvi) {
    const auto labels = static_cast<double>(a.n_labels);
    products += deeper * h * h + d * h + labels * h;  // classifier
    products += labels * (2 * deeper * h * h + d * h + 4 * d * h) + d * h;
  }
  return 4 * products;
}

}  // namespace portolan::bench
