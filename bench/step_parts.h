#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/training.h"
#include "core/kernels/label_pass.h"
#include "core/kernels/network_pass.h"
#include "core/model/model.h"

namespace portolan::bench {

/// A part of a training step, on a block of cells.
struct StepPart {
  std::string name;
  std::function<void()> prepare;  ///< not timed; may be empty
  std::function<void()> work;
  double flops = 0;  ///< of float32 products, per cell; 0: none to speak of
};

/// The parts of a step of a model that core/kernels know, in the order in which NetworkPass does
/// them and on buffers like its own. Each can be run again and again. One thread.
class StepParts {
 public:
  /// Cells of a block.
  static constexpr int64_t kRows = NetworkPass::kRows;

  StepParts(const Model& model, const TrainingCells& cells);
  StepParts(const StepParts&) = delete;
  StepParts& operator=(const StepParts&) = delete;

  std::vector<StepPart> Parts();

 private:
  void LookUp();
  void Noise();
  void Encode();
  void DecodeBody();
  void DecodeHeads();
  void Likelihood();
  void DecodeHeadsBackward();
  void DecodeBodyBackward();
  void EncodeBackward();
  void LabelSums();

  const PackedNetworks& networks_;
  const TrainingCells& cells_;
  CellNoise source_;
  std::vector<int64_t> rows_;
  std::vector<int32_t> codes_;
  StackPass encoder_;
  StackPass decoder_;
  std::optional<LabelPass> labels_;
  std::vector<float> columns_;  // one row, long enough for every layer
  ColumnTables encoder_columns_;
  ColumnTables decoder_columns_;
  GeneDispersion dispersion_;
  std::vector<float> noise_;
  std::vector<float> label_noise_;
  AlignedBuffer<float> first_;  // the layer that a session computes once and keeps
  AlignedBuffer<float> heads_;
  AlignedBuffer<float> heads_gradient_;
  AlignedBuffer<float> var_;
  AlignedBuffer<float> z_;
  ActiveRows z_rows_;
  AlignedBuffer<float> z_gradient_;
  AlignedBuffer<float> logits_;
  AlignedBuffer<float> genes_;
  AlignedBuffer<float> gene_scratch_;
  AlignedBuffer<float> scratch_;
};

}  // namespace portolan::bench
