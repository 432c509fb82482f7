// Models in three files, and where a model may lie.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/archive/model_files.h"
#include "core/archive/saved_model.h"
#include "core/base/field_error.h"
#include "tests/core/archive/model_builder.h"

namespace portolan {
namespace {

namespace p = pickle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kNames[] = "gene0\ngene1\r\ngene2\ngene3\ngene4\n";

/// attr.pkl; `setup` is filled into scvi_setup_dict_.
struct Attributes {
  p::Pairs setup = {
      {p::Str("scvi_version"), p::Str("0.9.1")},
      {p::Str("categorical_mappings"),
       p::Dict({{p::Str("_scvi_batch"), Mapping(p::StrArray({"x", "y"}), "donor")},
                {p::Str("_scvi_labels"), Mapping(p::StrArray({"T", "B", "NK"}), "type")}})},
      {p::Str("data_registry"), p::Dict({{p::Str("X"), Place("layers", "counts")},
                                         {p::Str("protein_expression"), Place("obsm", "adt")}})},
      {p::Str("protein_names"), p::StrArray({"CD3", "CD4"})},
      {p::Str("summary_stats"), p::Dict({{p::Str("n_vars"), p::Int(5)}})}};
  p::Pairs init = {{p::Str("n_latent"), p::Int(3)},
                   {p::Str("use_cuda"), p::Bool(true)},
                   {p::Str("model_kwargs"), p::Dict({})}};

  static std::string Mapping(const std::string& mapping, std::string_view key) {
    return p::Dict({{p::Str("original_key"), p::Str(key)}, {p::Str("mapping"), mapping}});
  }
  static std::string Place(std::string_view name, std::string_view key) {
    return p::Dict({{p::Str("attr_name"), p::Str(name)}, {p::Str("attr_key"), p::Str(key)}});
  }
  std::string Pickle() const {
    return p::Document(p::Dict({{p::Str("scvi_setup_dict_"), p::Dict(setup)},
                                {p::Str("init_params_"), p::Dict(init)},
                                {p::Str("is_trained_"), p::Bool(true)}}),
                       4);
  }
};

absl::StatusOr<SavedModel> Read(const ModelBuilder& builder, const Attributes& attributes,
                                const std::string& names = kNames) {
  return ParseLegacyModel(SharedBytes::CopyOf(builder.Parameters()),
                          SharedBytes::CopyOf(attributes.Pickle()), SharedBytes::CopyOf(names));
}

std::string Error(const absl::StatusOr<SavedModel>& model) {
  if (model.ok()) return "(read)";
  EXPECT_TRUE(GetFieldViolation(model.status()).has_value()) << model.status();
  return std::string(model.status().message());
}

TEST(LegacyModelTest, DescribesScvi) {
  const auto model = Read(ModelBuilder(), Attributes());
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelDescription& d = model->description;
  EXPECT_EQ(d.model_class, ModelClass::kScvi);
  EXPECT_EQ(d.scvi_version, "0.9.1");
  EXPECT_EQ(d.layer, "counts");
  EXPECT_THAT(d.genes, ElementsAre("gene0", "gene1", "gene2", "gene3", "gene4"));
  EXPECT_EQ(d.batches.original_key, "donor");
  EXPECT_THAT(d.batches.categories, ElementsAre("x", "y"));
  EXPECT_THAT(d.labels.categories, ElementsAre("T", "B", "NK"));
  // The data set had proteins, the model did not.
  EXPECT_THAT(d.proteins, IsEmpty());
  EXPECT_EQ(model->tensors.at("px_r").floats()[4], 0.5f);
  EXPECT_EQ(model->digest.size(), 64u);
}

TEST(LegacyModelTest, DescribesTotalvi) {
  Attributes attributes;
  attributes.setup.emplace_back(p::Str("totalvi_batch_mask"),
                                p::Dict({{p::Int(0), p::List({p::Bool(true), p::Bool(false)})}}));
  const auto model = Read(ModelBuilder(ModelBuilder::kTotalvi), attributes);
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelDescription& d = model->description;
  EXPECT_EQ(d.model_class, ModelClass::kTotalvi);
  EXPECT_THAT(d.proteins, ElementsAre("CD3", "CD4"));
  EXPECT_EQ(d.proteins_key, "adt");
  EXPECT_THAT(d.protein_masks, ElementsAre(ElementsAre(true, false), IsEmpty()));
  EXPECT_EQ(d.architecture.n_labels, 1);
  EXPECT_EQ(d.architecture.proteins->variant, TotalviVariant::kExp);
}

TEST(LegacyModelTest, ReadsCovariates) {
  Attributes attributes;
  attributes.setup.emplace_back(
      p::Str("extra_categoricals"),
      p::Dict({{p::Str("keys"), p::StrList({"kit"})},
               {p::Str("mappings"), p::Dict({{p::Str("kit"), p::Int64Array({1, 2, 3})}})},
               {p::Str("n_cats_per_key"), p::List({p::Int(3)})}}));
  const auto model = Read(ModelBuilder(ModelBuilder::kScvi, 2, 2, false, 3), attributes);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(model->description.categorical_covariates, ElementsAre("kit"));
  EXPECT_THAT(model->description.covariate_categories[0], ElementsAre("1", "2", "3"));
  EXPECT_THAT(model->description.covariate_kinds, ElementsAre(CategoryKind::kInteger));
}

TEST(LegacyModelTest, ErrorsNameTheFile) {
  EXPECT_THAT(Error(Read(ModelBuilder(), Attributes(), "gene0\n")),
              HasSubstr("var_names has 1 genes"));
  EXPECT_THAT(Error(Read(ModelBuilder(), Attributes(), "")), HasSubstr("var_names.csv is empty"));
  EXPECT_THAT(Error(Read(ModelBuilder(), Attributes(), "\xff\n")), HasSubstr("var_names.csv"));
  Attributes without;
  without.setup.clear();
  EXPECT_THAT(Error(Read(ModelBuilder(), without)), HasSubstr("attr.pkl: no scvi_setup_dict_"));
  const auto broken =
      ParseLegacyModel(SharedBytes::CopyOf(ModelBuilder().Parameters()),
                       SharedBytes::CopyOf("\x80\x04]"), SharedBytes::CopyOf(kNames));
  EXPECT_THAT(Error(broken), HasSubstr("attr.pkl: "));
  // A model.pt under the other name.
  const auto other =
      ParseLegacyModel(SharedBytes::CopyOf(ModelBuilder().File()),
                       SharedBytes::CopyOf(Attributes().Pickle()), SharedBytes::CopyOf(kNames));
  EXPECT_FALSE(other.ok());
}

void WriteThreeFiles(const TempDirectory& directory, const std::string& prefix) {
  directory.Write(prefix + "model_params.pt", ModelBuilder().Parameters());
  directory.Write(prefix + "attr.pkl", Attributes().Pickle());
  directory.Write(prefix + "var_names.csv", kNames);
}

TEST(ModelFilesTest, ThreeFilesWithOrWithoutPrefix) {
  for (const std::string prefix : {"", "run1_"}) {
    const TempDirectory directory;
    WriteThreeFiles(directory, prefix);
    const auto files = FindModelFiles(directory.path());
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_TRUE(files->three_files());
    EXPECT_EQ(files->attributes, directory.path() + "/" + prefix + "attr.pkl");
    EXPECT_TRUE(ReadSavedModel(directory.path()).ok());
    std::filesystem::remove(files->var_names);
    const auto partial = FindModelFiles(directory.path());
    EXPECT_EQ(partial.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(partial.status().message()), HasSubstr(prefix + "var_names.csv"));
  }
}

TEST(ModelFilesTest, OneFileWithPrefixAndData) {
  const TempDirectory directory;
  directory.Write("run1_model.pt", ModelBuilder().File());
  directory.Write("run1_adata.h5ad", "data");
  directory.Write("other_adata.h5ad", "data");
  const auto files = FindModelFiles(directory.path());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->model, directory.path() + "/run1_model.pt");
  EXPECT_EQ(files->data, directory.path() + "/run1_adata.h5ad");
  EXPECT_FALSE(files->three_files());
  EXPECT_TRUE(ReadSavedModel(directory.path()).ok());
  directory.Write("run2_model.pt", ModelBuilder().File());
  const auto several = FindModelFiles(directory.path());
  EXPECT_EQ(several.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(several.status().message()), HasSubstr("run1_model.pt, run2_model.pt"));
  // One without a prefix is the model.
  directory.Write("model.pt", ModelBuilder().File());
  EXPECT_EQ(FindModelFiles(directory.path())->model, directory.path() + "/model.pt");
  EXPECT_EQ(FindModelFiles(directory.path())->data, "");
}

TEST(ModelFilesTest, AFolderBelow) {
  const TempDirectory directory;
  std::filesystem::create_directory(directory.path() + "/model");
  std::filesystem::create_directory(directory.path() + "/figures");
  directory.Write("model/model.pt", ModelBuilder().File());
  directory.Write("model/adata.h5ad", "data");
  const auto files = FindModelFiles(directory.path());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->model, directory.path() + "/model/model.pt");
  EXPECT_EQ(files->data, directory.path() + "/model/adata.h5ad");
  EXPECT_TRUE(ReadSavedModel(directory.path()).ok());
  directory.Write("figures/model.pt", ModelBuilder().File());
  EXPECT_THAT(std::string(FindModelFiles(directory.path()).status().message()),
              HasSubstr("figures, model"));
}

}  // namespace
}  // namespace portolan
