#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/field_error.h"
#include "core/model/model.h"
#include "core/model/state_dict.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

using testing::HasSubstr;

// A tensor of zeros.
HostTensor Zeros(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t extent : shape) elements *= extent;
  return HostTensor::FromFloats(shape, std::vector<float>(elements));
}

void ExpectNamed(const absl::Status& status, const std::string& key) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << key << ": " << status;
  const auto violation = GetFieldViolation(status);
  ASSERT_TRUE(violation.has_value()) << key;
  EXPECT_EQ(violation->field, "model.pt");
  EXPECT_THAT(violation->found, HasSubstr(key));
  EXPECT_FALSE(violation->remedy.empty());
}

class CreateFromVariant : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    saved_ = ReadVariant(GetParam());
    const auto state = StateDict(*Model::Create(saved_).value()).value();
    for (const auto& [key, tensor] : state) {
      read_keys_.push_back(key);
    }
    ASSERT_GT(read_keys_.size(), 10u);
  }

  SavedModel saved_;
  std::vector<std::string> read_keys_;
};

TEST_P(CreateFromVariant, AMissingTensorIsNamed) {
  for (const std::string& key : read_keys_) {
    SavedModel damaged = saved_;
    ASSERT_EQ(damaged.tensors.erase(key), 1u) << key;
    ExpectNamed(Model::Create(damaged).status(), key);
  }
}

TEST_P(CreateFromVariant, ATensorOfAnotherShapeIsNamed) {
  for (const std::string& key : read_keys_) {
    const std::vector<int64_t> shape = saved_.tensors.at(key).shape();
    std::vector<std::vector<int64_t>> wrong = {{}, {0}};
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      // An embedding of another width is found out at the weights that it meets.
      if (key == "_embeddings_dict.batch.weight" && axis == 1) continue;
      wrong.push_back(shape);
      ++wrong.back()[axis];
      wrong.push_back(shape);
      --wrong.back()[axis];
    }
    wrong.push_back(shape);
    wrong.back().push_back(1);
    for (const auto& other : wrong) {
      SavedModel damaged = saved_;
      damaged.tensors[key] = Zeros(other);
      ExpectNamed(Model::Create(damaged).status(), key);
    }
  }
}

TEST_P(CreateFromVariant, ATensorOfAnotherTypeIsNamed) {
  for (const std::string& key : read_keys_) {
    SavedModel damaged = saved_;
    const HostTensor& tensor = saved_.tensors.at(key);
    damaged.tensors[key] =
        HostTensor::FromInts(tensor.shape(), std::vector<int64_t>(tensor.elements()));
    ExpectNamed(Model::Create(damaged).status(), key);
  }
}

TEST_P(CreateFromVariant, WhatIsNeverReadMayBeMissing) {
  SavedModel cut = saved_;
  std::erase_if(cut.tensors, [&](const auto& entry) {
    return std::find(read_keys_.begin(), read_keys_.end(), entry.first) == read_keys_.end();
  });
  ASSERT_LT(cut.tensors.size(), saved_.tensors.size());
  const auto whole = Model::Create(saved_).value();
  const auto model = Model::Create(cut);
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<int32_t> codes(200, 0);
  const CellAnnotations annotations = AnnotationsFor(*whole);
  const CellInputs cells{Cells().counts, codes, annotations};
  EXPECT_EQ(Encode(**model, cells, CancelToken()).value().mean,
            Encode(*whole, cells, CancelToken()).value().mean);
}

TEST_P(CreateFromVariant, BatchesHaveTheirCodes) {
  const auto model = Model::Create(saved_).value();
  EXPECT_TRUE(model->has_batch_key());
  EXPECT_EQ(model->BatchCode("a"), 0);
  EXPECT_EQ(model->BatchCode("b"), saved_.description.architecture.n_batch == 1 ? -1 : 1);
  EXPECT_EQ(model->BatchCode("unheard of"), -1);
  EXPECT_EQ(model->BatchCode(""), -1);
}

INSTANTIATE_TEST_SUITE_P(Variants, CreateFromVariant, testing::ValuesIn(VariantNames()),
                         [](const auto& test) { return TestNameOf(test.param); });

TEST(CreateTest, WhatIsNotServedIsUnimplementedAndSaysSo) {
  SavedModel saved = ReadVariant("scvi_nb_genebatch");
  saved.description.model_class = ModelClass::kTotalvi;
  saved.description.architecture.proteins = {.n_proteins = 3, .prior_per_panel = true};
  const absl::Status status = Model::Create(saved).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  EXPECT_FALSE(status.message().empty());
}

TEST(CreateTest, AModelWithoutABatchKeyIsServedButNotExtended) {
  SavedModel saved = ReadVariant("scvi_one_batch");
  saved.description.batches.original_key.clear();
  const auto model = Model::Create(saved);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_FALSE((*model)->has_batch_key());
  const auto with_key = LoadVariant("scvi_one_batch");
  const std::vector<int32_t> codes(200, 0);
  EXPECT_EQ(Encode(**model, {Cells().counts, codes}, CancelToken()).value().mean,
            Encode(*with_key, {Cells().counts, codes}, CancelToken()).value().mean);
  Extension extension;
  extension.batches = {"new"};
  EXPECT_EQ((*model)->Extend(extension).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE((*model)->Extend({}).ok());
}

}  // namespace
}  // namespace portolan
