#include "core/kernels/encoder.h"

#include <algorithm>
#include <optional>

#include "core/base/status_macros.h"
#include "core/kernels/first_layer_row.h"
#include "core/kernels/gaussian.h"
#include "core/kernels/layers.h"
#include "core/kernels/stack_pass.h"

namespace portolan {
namespace {

constexpr int64_t kRows = 64;

class Encoder {
 public:
  Encoder(const PackedNetworks& networks, const ColumnTables& columns, const CellInputs& cells)
      : networks_(networks),
        columns_(columns),
        codes_(cells.batch_codes),
        first_(networks, cells),
        stack_(networks.encoder.stack, kRows),
        heads_(kRows * networks.encoder.heads.stride()) {
    if (!networks.labels.has_value()) return;
    const PackedLabels& labels = *networks.labels;
    mean_rows_ = ActiveRows(kRows, networks.latent);
    classes_ = AlignedBuffer<float>(kRows * labels.classes.stride());
    no_columns_.resize(labels.classifier.layers.size());
    if (!labels.classifier.layers.empty()) classifier_.emplace(labels.classifier, kRows);
  }

  void Run(int64_t begin, int64_t rows, const EncodedCells& out) {
    for (int64_t r = 0; r < rows; ++r) {
      first_.Run(begin + r, stack_.first() + r * stack_.stride(0));
    }
    stack_.Forward(rows, columns_, codes_.subspan(begin, rows));
    Multiply(networks_.encoder.heads, stack_.output(), rows, heads_.data());
    const int64_t latent = networks_.latent;
    const std::vector<float> no_noise(latent);
    std::vector<float> sample(latent);
    for (int64_t r = 0; r < rows; ++r) {
      const float* heads = heads_.data() + r * networks_.encoder.heads.stride();
      std::copy(heads, heads + latent, out.mean.data() + (begin + r) * latent);
      SampleGaussian(latent, heads, networks_.encoder.var_epsilon, no_noise.data(),
                     out.variance.data() + (begin + r) * latent, sample.data());
    }
    if (networks_.labels.has_value()) Classify(begin, rows, out);
  }

 private:
  void Classify(int64_t begin, int64_t rows, const EncodedCells& out) {
    const PackedLabels& labels = *networks_.labels;
    const int64_t latent = networks_.latent;
    for (int64_t r = 0; r < rows; ++r) {
      mean_rows_.SetDense(r, out.mean.subspan((begin + r) * latent, latent));
    }
    const ActiveRows* input = &mean_rows_;
    if (classifier_.has_value()) {
      Multiply(labels.classifier.layers[0].weight, mean_rows_, rows, classifier_->first());
      classifier_->Forward(rows, no_columns_, {});
      input = &classifier_->output();
    }
    Multiply(labels.classes, *input, rows, classes_.data());
    for (int64_t r = 0; r < rows; ++r) {
      const float* logits = classes_.data() + r * labels.classes.stride();
      float* probabilities = out.probabilities.data() + (begin + r) * labels.labels;
      std::copy(logits, logits + labels.labels, probabilities);
      Softmax(labels.labels, probabilities);
    }
  }

  const PackedNetworks& networks_;
  const ColumnTables& columns_;
  std::span<const int32_t> codes_;
  FirstLayerRow first_;
  StackPass stack_;
  std::optional<StackPass> classifier_;
  ColumnTables no_columns_;
  ActiveRows mean_rows_;
  AlignedBuffer<float> heads_;
  AlignedBuffer<float> classes_;
};

}  // namespace

absl::Status EncodeCells(const PackedNetworks& networks, const ColumnTables& columns,
                         const CellInputs& cells, const CancelToken& cancel,
                         const EncodedCells& out) {
  Encoder encoder(networks, columns, cells);
  const int64_t rows = cells.counts.rows();
  for (int64_t begin = 0; begin < rows; begin += kRows) {
    PORTOLAN_RETURN_IF_ERROR(cancel.Check());
    encoder.Run(begin, std::min(kRows, rows - begin), out);
  }
  return absl::OkStatus();
}

}  // namespace portolan
