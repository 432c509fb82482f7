#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"
#include "core/model/model.h"
#include "core/model/networks.h"
#include "core/model/state_dict.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

using testing::HasSubstr;

Embedding EncodeAs(const Model& model, int32_t code) {
  const CellAnnotations annotations = AnnotationsFor(model);
  const std::vector<int32_t> codes(200, code);
  return Encode(model, {Cells().counts, codes, annotations}, CancelToken()).value();
}

// Columns of a weight without those of categories.
int64_t Width(ModelNetworks networks, const std::string& key) {
  for (const TensorRef& ref : Tensors(networks)) {
    if (ref.key == key && ref.role == TensorRole::kWeight) return ref.tensor->size(1);
  }
  return 0;
}

class ExtendVariant : public testing::TestWithParam<std::string> {};

TEST_P(ExtendVariant, TheParentsBatchesKeepTheirLatentsBitForBit) {
  const auto parent = LoadVariant(GetParam());
  const auto& parent_batches = parent->description().batches.categories;
  std::vector<Embedding> before;
  for (size_t code = 0; code < parent_batches.size(); ++code) {
    before.push_back(EncodeAs(*parent, static_cast<int32_t>(code)));
  }
  const auto child = parent->Extend(RandomAdapter(*parent, {"q1", "q2"})).value();
  EXPECT_EQ(child->description().architecture.n_batch,
            static_cast<int64_t>(parent_batches.size()) + 2);
  EXPECT_EQ(child->BatchCode("q2"), static_cast<int32_t>(parent_batches.size()) + 1);
  EXPECT_EQ(parent->BatchCode("q1"), -1);
  for (size_t code = 0; code < parent_batches.size(); ++code) {
    for (const Model* model : {parent.get(), child.get()}) {
      const Embedding after = EncodeAs(*model, static_cast<int32_t>(code));
      EXPECT_EQ(after.mean, before[code].mean);
      EXPECT_EQ(after.variance, before[code].variance);
      EXPECT_EQ(after.probabilities, before[code].probabilities);
    }
  }
}

TEST_P(ExtendVariant, AdaptersComposeInAnyOrderToTheSameLatents) {
  const auto parent = LoadVariant(GetParam());
  const Extension a = RandomAdapter(*parent, {"qa"}, 1);
  const Extension b = RandomAdapter(*parent, {"qb"}, 2);
  const auto chained = parent->Extend(a).value()->Extend(b).value();
  const auto composed = parent->Extend(Compose({a, b})).value();
  const auto reversed = parent->Extend(Compose({b, a})).value();
  EXPECT_EQ(StateDict(*chained).value().size(), StateDict(*composed).value().size());
  EXPECT_EQ(composed->BatchCode("qb"), reversed->BatchCode("qa"));
  for (const char* batch : {"qa", "qb"}) {
    const Embedding z = EncodeAs(*chained, chained->BatchCode(batch));
    for (const auto& other : {composed, reversed}) {
      const Embedding same = EncodeAs(*other, other->BatchCode(batch));
      EXPECT_EQ(z.mean, same.mean) << batch;
      EXPECT_EQ(z.variance, same.variance) << batch;
    }
  }
}

TEST_P(ExtendVariant, AKnownOrRepeatedBatchIsRefused) {
  const auto parent = LoadVariant(GetParam());
  for (const std::vector<std::string>& batches :
       {std::vector<std::string>{"a"}, {"new", "a"}, {"new", "new"}}) {
    const absl::Status status = parent->Extend(RandomAdapter(*parent, batches)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    ASSERT_TRUE(GetFieldViolation(status).has_value());
    EXPECT_EQ(GetFieldViolation(status)->field, "extension");
    EXPECT_THAT(GetFieldViolation(status)->found, HasSubstr(batches.back()));
  }
}

TEST_P(ExtendVariant, ColumnsThatDoNotFitAreNamed) {
  const auto parent = LoadVariant(GetParam());
  const Extension good = RandomAdapter(*parent, {"q1", "q2"});
  ASSERT_FALSE(good.columns.empty());
  for (const auto& [key, tensor] : good.columns) {
    const std::vector<int64_t> shape = tensor.shape();
    std::vector<std::optional<HostTensor>> wrong = {std::nullopt};  // missing
    for (const std::vector<int64_t>& other : {std::vector<int64_t>{1, shape[1]},
                                              {3, shape[1]},
                                              {2, shape[1] + 1},
                                              {2 * shape[1]},
                                              {}}) {
      int64_t elements = 1;
      for (const int64_t extent : other) elements *= extent;
      wrong.push_back(HostTensor::FromFloats(other, std::vector<float>(elements)));
    }
    wrong.push_back(HostTensor::FromInts(shape, std::vector<int64_t>(tensor.elements())));
    for (const auto& replacement : wrong) {
      Extension bad = good;
      if (replacement.has_value()) {
        bad.columns[key] = *replacement;
      } else {
        bad.columns.erase(key);
      }
      const absl::Status status = parent->Extend(bad).status();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      ASSERT_TRUE(GetFieldViolation(status).has_value());
      EXPECT_THAT(GetFieldViolation(status)->found, HasSubstr(key));
    }
  }
}

TEST_P(ExtendVariant, AReplacedTensorChangesTheChildAlone) {
  const std::string key = "z_encoder.encoder.fc_layers.Layer 0.0.bias";
  const auto parent = LoadVariant(GetParam());
  const Embedding before = EncodeAs(*parent, 0);
  Extension delta = RandomAdapter(*parent, {"new"});
  delta.replaced[key] = HostTensor::FromFloats({16}, std::vector<float>(16, 0.5f));
  EXPECT_FALSE(delta.is_adapter());
  const auto child = parent->Extend(delta).value();
  EXPECT_NE(EncodeAs(*child, 0).mean, before.mean);
  EXPECT_EQ(EncodeAs(*parent, 0).mean, before.mean);
  delta.replaced[key] = HostTensor::FromFloats({15}, std::vector<float>(15, 0.5f));
  EXPECT_EQ(parent->Extend(delta).status().code(), absl::StatusCode::kInvalidArgument);
  delta.replaced[key] = HostTensor::FromInts({16}, std::vector<int64_t>(16));
  EXPECT_EQ(parent->Extend(delta).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(ExtendVariant, AReplacedFirstWeightReachesTheSparseProduct) {
  const std::string key = "z_encoder.encoder.fc_layers.Layer 0.0.weight";
  const auto parent = LoadVariant(GetParam());
  Extension delta = RandomAdapter(*parent, {"new"});
  const int64_t width = Width(parent->networks(), key);  // genes, then what else the layer sees
  delta.replaced[key] = HostTensor::FromFloats({16, width}, std::vector<float>(16 * width, 0.0f));
  const auto child = parent->Extend(delta).value();
  if (!child->description().categorical_covariates.empty()) GTEST_SKIP() << "sees covariates";
  const Embedding z = EncodeAs(*child, 0);
  // No gene reaches the encoder any more, so all cells look alike.
  for (int64_t i = 1; i < z.cells; ++i) {
    for (int64_t d = 0; d < z.n_latent; ++d) {
      ASSERT_EQ(z.mean[i * z.n_latent + d], z.mean[d]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, ExtendVariant, testing::ValuesIn(VariantNames()),
                         [](const auto& test) { return TestNameOf(test.param); });

}  // namespace
}  // namespace portolan
