#include "core/model/state_dict.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

std::vector<float> Values(const HostTensor& tensor) {
  return {tensor.floats().begin(), tensor.floats().end()};
}

bool IsRead(const std::string& key, const Architecture& a) {
  if (absl::EndsWith(key, "num_batches_tracked")) return false;
  if (absl::StartsWith(key, "l_encoder.")) return !a.use_observed_lib_size;
  if (absl::StartsWith(key, "decoder.px_r_decoder.")) return a.dispersion == Dispersion::kGeneCell;
  if (absl::StartsWith(key, "decoder.px_dropout_decoder.")) {
    return a.gene_likelihood == GeneLikelihood::kZinb;
  }
  return true;
}

std::vector<float> Joined(std::vector<float> a, const std::vector<float>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

int64_t CovariateColumns(const Model& model) {
  int64_t columns = 0;
  for (const int64_t n : model.description().architecture.n_cats_per_cov) {
    if (n > 1) columns += n;
  }
  return columns;
}

class StateDictOfVariant : public testing::TestWithParam<std::string> {};

TEST_P(StateDictOfVariant, IsWhatWasSaved) {
  const SavedModel saved = ReadVariant(GetParam());
  const auto got = StateDict(*Model::Create(saved).value()).value();
  for (const auto& [key, tensor] : saved.tensors) {
    ASSERT_EQ(got.contains(key), IsRead(key, saved.description.architecture)) << key;
    if (!got.contains(key)) continue;
    EXPECT_EQ(got.at(key).shape(), tensor.shape()) << key;
    if (key == "y_prior") {  // sums to one
      for (const float p : got.at(key).floats()) EXPECT_NEAR(p, 1.0 / 3, 1e-7);
      continue;
    }
    EXPECT_EQ(Values(got.at(key)), Values(tensor)) << key;
  }
  for (const auto& [key, tensor] : got) EXPECT_TRUE(saved.tensors.contains(key)) << key;
}

TEST_P(StateDictOfVariant, ExtensionsStandBehindTheOtherColumns) {
  const auto parent = LoadVariant(GetParam());
  const Extension adapter = RandomAdapter(*parent, {"q1", "q2"});
  const auto before = StateDict(*parent).value();
  const auto after = StateDict(*parent->Extend(adapter).value()).value();
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [key, tensor] : after) {
    const HostTensor& old = before.at(key);
    const auto column = adapter.columns.find(key);
    if (column == adapter.columns.end()) {
      EXPECT_EQ(Values(tensor), Values(old)) << key;
      continue;
    }
    if (tensor.shape()[1] == old.shape()[1]) {  // one row per batch
      EXPECT_EQ(Values(tensor), Joined(Values(old), Values(column->second))) << key;
      continue;
    }
    const int64_t rows = tensor.shape()[0];
    const int64_t width = tensor.shape()[1];
    const int64_t old_width = old.shape()[1];
    ASSERT_EQ(rows, old.shape()[0]) << key;
    // One batch of a reference has no column in scvi-tools; two have two, the first one zero here.
    const bool first_columns = parent->description().architecture.n_batch == 1;
    ASSERT_EQ(width, old_width + (first_columns ? 3 : 2)) << key;
    const int64_t behind = CovariateColumns(*parent);  // stay where they are: at the far right
    for (int64_t row = 0; row < rows; ++row) {
      const auto* const was = old.floats().data() + row * old_width;
      const auto* const is = tensor.floats().data() + row * width;
      for (int64_t j = 0; j < old_width - behind; ++j) ASSERT_EQ(is[j], was[j]) << key;
      if (first_columns) {
        ASSERT_EQ(is[old_width - behind], 0) << key;
      }
      for (int64_t b = 0; b < 2; ++b) {
        ASSERT_EQ(is[width - behind - 2 + b], column->second.floats()[b * rows + row]) << key;
      }
      for (int64_t j = 1; j <= behind; ++j) ASSERT_EQ(is[width - j], was[old_width - j]) << key;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, StateDictOfVariant, testing::ValuesIn(VariantNames()),
                         [](const auto& test) { return TestNameOf(test.param); });

}  // namespace
}  // namespace portolan
