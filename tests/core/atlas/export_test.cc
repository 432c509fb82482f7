#include "core/atlas/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "core/model/state_dict.h"
#include "core/model/whole_state.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ExportOfVariant : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Atlas> atlas_ = Atlas::Open("tiny", VariantDirectory(GetParam()), "").value();
};

/// Latents of the variants' cells, all as `batch`.
std::vector<float> Latents(const Model& model, const std::string& batch) {
  const VariantCells& cells = Cells();
  const std::vector<int32_t> codes(cells.names.size(), model.BatchCode(batch));
  const CellAnnotations annotations = AnnotationsFor(model);
  const CellInputs inputs{.counts = cells.counts, .batch_codes = codes, .annotations = annotations};
  return Encode(model, inputs, CancelToken()).value().mean;
}

TEST_P(ExportOfVariant, TheReferenceComesBack) {
  const auto exported = ExportVersion(*atlas_, *atlas_->reference());
  ASSERT_TRUE(exported.ok()) << exported.status();
  EXPECT_EQ(exported->scvi_version, "1.4.2");
  EXPECT_THAT(exported->notes, IsEmpty());
  const auto read = ParseSavedModel(SharedBytes::CopyOf(exported->file));
  ASSERT_TRUE(read.ok()) << read.status();
  const SavedModel saved = ReadVariant(GetParam());
  ASSERT_EQ(read->tensors.size(), saved.tensors.size());
  for (const auto& [key, tensor] : saved.tensors) {
    const HostTensor& other = read->tensors.at(key);
    ASSERT_EQ(other.shape(), tensor.shape()) << key;
    EXPECT_EQ(std::memcmp(other.data(), tensor.data(), tensor.size_bytes()), 0) << key;
  }
}

TEST_P(ExportOfVariant, AVersionOpensWithTheSameLatents) {
  const auto reference = atlas_->reference();
  const auto first = atlas_->Add(reference, RandomAdapter(*reference->model, {"q1", "q2"})).value();
  const auto version = atlas_->Add(first, RandomAdapter(*first->model, {"q3"}, 2)).value();
  const auto exported = ExportVersion(*atlas_, *version);
  ASSERT_TRUE(exported.ok()) << exported.status();
  const auto read = ParseSavedModel(SharedBytes::CopyOf(exported->file));
  ASSERT_TRUE(read.ok()) << read.status();
  const auto opened = Model::Create(*read);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->description().batches.categories,
            version->model->description().batches.categories);
  EXPECT_EQ(read->description.labels.categories, reference->model->description().labels.categories);
  for (const char* batch : {"a", "q1", "q3"}) {
    EXPECT_EQ(Latents(**opened, batch), Latents(*version->model, batch)) << batch;
  }
  // The same content, the same bytes.
  EXPECT_EQ(ExportVersion(*atlas_, *version)->file, exported->file);
}

INSTANTIATE_TEST_SUITE_P(Variants, ExportOfVariant, testing::ValuesIn(VariantNames()),
                         [](const auto& test) { return TestNameOf(test.param); });

TEST(ExportTest, AReplacedReferenceIsRefused) {
  namespace fs = std::filesystem;
  const std::string directory = TempPath("replaced");
  fs::create_directory(directory);
  const auto put = [&](const char* variant) {
    fs::copy_file(VariantDirectory(variant) + "/model.pt", directory + "/model.pt",
                  fs::copy_options::overwrite_existing);
  };
  put("scvi_poisson");
  const auto atlas = Atlas::Open("tiny", directory, "").value();
  EXPECT_TRUE(ExportVersion(*atlas, *atlas->reference()).ok());
  put("scvi_nolog");
  const absl::Status status = ExportVersion(*atlas, *atlas->reference()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("has been replaced"));
  fs::remove_all(directory);
}

TEST(WholeStateTest, UnreadTensorsGrowInFrontOfTheCovariates) {
  // Encoded batches, and an l_encoder that nothing reads. The description is told of a covariate,
  // whose columns then are the last of those that the tensor has.
  SavedModel saved = ReadVariant("scvi_bn_ln_encoded");
  const auto parent = Model::Create(saved).value();
  const auto child = parent->Extend(RandomAdapter(*parent, {"q"})).value();
  const std::string key = "l_encoder.encoder.fc_layers.Layer 0.0.weight";
  const HostTensor before = saved.tensors.at(key);
  const int64_t rows = before.shape()[0], columns = before.shape()[1];
  saved.description.architecture.n_cats_per_cov = {1};
  const auto one = WholeStateDict(*child, saved).value().at(key);
  ASSERT_THAT(one.shape(), ElementsAre(rows, columns + 1));
  for (int64_t row = 0; row < rows; ++row) {
    const auto old_row = before.floats().subspan(row * columns, columns);
    const auto new_row = one.floats().subspan(row * (columns + 1), columns + 1);
    // A covariate of one category has no column, so the new one is last.
    EXPECT_EQ(new_row.back(), 0);
    EXPECT_TRUE(std::equal(old_row.begin(), old_row.end(), new_row.begin()));
  }
  saved.description.architecture.n_cats_per_cov = {2};
  const auto two = WholeStateDict(*child, saved).value().at(key);
  for (int64_t row = 0; row < rows; ++row) {
    EXPECT_EQ(two.floats()[row * (columns + 1) + columns - 2], 0);
    EXPECT_EQ(two.floats()[row * (columns + 1) + columns],
              before.floats()[row * columns + columns - 1]);
  }
}

}  // namespace
}  // namespace portolan
