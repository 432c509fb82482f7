#include "core/kernels/branch_pass.h"

#include <algorithm>

#include "core/kernels/layers.h"

namespace portolan {

BranchPass::BranchPass(const PackedBranch& branch, int64_t latent, int64_t max_rows)
    : branch_(branch),
      latent_(latent),
      max_rows_(max_rows),
      width_(branch.body.layers.back().width),
      body_(branch.body, max_rows),
      joined_(max_rows, width_ + latent),
      joined_gradient_(max_rows * PaddedWidth(width_ + latent)),
      heads_(max_rows * branch.heads.stride()),
      z_product_(max_rows * PaddedWidth(latent)) {}

void BranchPass::Forward(const ActiveRows& z, int64_t rows, const ColumnTables& columns,
                         std::span<const int32_t> codes) {
  Multiply(branch_.body.layers[0].weight, z, rows, body_.first());
  body_.Forward(rows, columns, codes);
  Join(z, rows);
  Multiply(branch_.heads, joined_, rows, heads_.data());
}

void BranchPass::AddHeadColumns(int64_t row, const ColumnTables& columns, int32_t code) {
  for (size_t part = 0; part < columns.size(); ++part) {
    if (columns[part] == nullptr) continue;
    const int64_t width = branch_.parts[part].width;
    AddTo(head(part, row), columns[part] + code * width, width);
  }
}

void BranchPass::Join(const ActiveRows& z, int64_t rows) {
  const auto shift = static_cast<uint32_t>(width_ * kPanel);
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t active = body_.output().count(r);
    const float* values = body_.output().values(r);
    const uint32_t* offsets = body_.output().offsets(r);
    float* own_values = std::copy(values, values + active, joined_.values(r));
    uint32_t* own_offsets = std::copy(offsets, offsets + active, joined_.offsets(r));
    std::copy(z.values(r), z.values(r) + z.count(r), own_values);
    std::transform(z.offsets(r), z.offsets(r) + z.count(r), own_offsets,
                   [shift](uint32_t offset) { return offset + shift; });
    joined_.Close(r, active + z.count(r));
  }
}

void BranchPass::Backward(const ActiveRows& z, int64_t rows, float* scratch, float* z_gradient) {
  const int64_t joined_stride = PaddedWidth(width_ + latent_);
  const int64_t z_stride = PaddedWidth(latent_);
  MultiplyTransposed(branch_.heads, joined_, rows, heads_.data(), joined_gradient_.data(),
                     joined_stride, scratch);
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = joined_gradient_.data() + r * joined_stride;
    float* out = body_.output_gradient() + r * body_.output_stride();
    std::copy(from, from + width_, out);
    std::fill(out + width_, out + body_.output_stride(), 0.0f);
    if (z_gradient != nullptr) AddTo(z_gradient + r * z_stride, from + width_, latent_);
  }
  body_.Backward(rows, scratch);
  if (z_gradient == nullptr) return;
  MultiplyTransposed(branch_.body.layers[0].weight, z, rows, body_.gradient(0), z_product_.data(),
                     z_stride, scratch);
  AddTo(z_gradient, z_product_.data(), rows * z_stride);
}

int64_t BranchPass::ScratchSize() const {
  return std::max({MultiplyTransposedScratch(max_rows_, branch_.heads),
                   MultiplyTransposedScratch(max_rows_, branch_.body.layers[0].weight),
                   body_.ScratchSize()});
}

}  // namespace portolan
