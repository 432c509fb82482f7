#include "core/kernels/packed_matrix.h"

#include <algorithm>

namespace portolan {

PackedMatrix::PackedMatrix(int64_t inputs, std::span<const LinearView> parts)
    : PackedMatrix(inputs, parts, /*aligned=*/false) {}

PackedMatrix PackedMatrix::PanelAligned(int64_t inputs, std::span<const LinearView> parts) {
  return {inputs, parts, /*aligned=*/true};
}

PackedMatrix::PackedMatrix(int64_t inputs, std::span<const LinearView> parts, bool aligned)
    : inputs_(inputs) {
  int64_t outputs = 0;
  std::vector<int64_t> starts;
  for (const LinearView& part : parts) {
    if (aligned) outputs = PaddedWidth(outputs);
    starts.push_back(outputs);
    outputs += static_cast<int64_t>(part.bias.size());
  }
  panels_ = PaddedWidth(outputs) / kPanel;
  weight_ = AlignedBuffer<float>(stride() * inputs);
  bias_ = AlignedBuffer<float>(stride());
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto n = static_cast<int64_t>(parts[i].bias.size());
    for (int64_t o = 0; o < n; ++o) {
      const int64_t at = starts[i] + o;
      bias_[at] = parts[i].bias[o];
      float* out = weight_.data() + at / kPanel * inputs * kPanel + at % kPanel;
      for (int64_t k = 0; k < inputs; ++k) out[k * kPanel] = parts[i].weight[o * inputs + k];
    }
    const int64_t end = i + 1 < parts.size() ? starts[i + 1] : stride();
    std::fill(bias_.data() + starts[i] + n, bias_.data() + end, parts[i].pad_bias);
  }
}

}  // namespace portolan
