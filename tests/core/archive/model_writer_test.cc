#include "core/archive/model_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "core/archive/pickle_writer.h"
#include "core/archive/py_text.h"
#include "core/archive/saved_model.h"
#include "core/archive/torch_file.h"
#include "core/archive/unpickler.h"
#include "core/archive/zip_reader.h"
#include "core/archive/zip_writer.h"
#include "core/base/field_error.h"
#include "tests/core/archive/model_builder.h"
#include "tests/paths.h"

namespace portolan {
namespace {

namespace p = pickle;
using testing::ElementsAre;
using testing::HasSubstr;

SavedModel Parse(const std::string& file) {
  auto model = ParseSavedModel(SharedBytes::CopyOf(file));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : SavedModel{};
}

void ExpectSameCategories(const CategoryRegistry& a, const CategoryRegistry& b) {
  EXPECT_EQ(a.original_key, b.original_key);
  EXPECT_EQ(a.categories, b.categories);
  EXPECT_EQ(a.kind, b.kind);
}

/// All that a description says but the version, which is that of the writer.
void ExpectSame(const ModelDescription& a, const ModelDescription& b) {
  EXPECT_EQ(a.model_class, b.model_class);
  EXPECT_EQ(a.genes, b.genes);
  ExpectSameCategories(a.batches, b.batches);
  ExpectSameCategories(a.labels, b.labels);
  ExpectSameCategories(a.panels, b.panels);
  EXPECT_EQ(a.unlabeled_category, b.unlabeled_category);
  EXPECT_EQ(a.layer, b.layer);
  EXPECT_EQ(a.categorical_covariates, b.categorical_covariates);
  EXPECT_EQ(a.covariate_categories, b.covariate_categories);
  EXPECT_EQ(a.covariate_kinds, b.covariate_kinds);
  EXPECT_EQ(a.continuous_covariates, b.continuous_covariates);
  EXPECT_EQ(a.size_factor_key, b.size_factor_key);
  EXPECT_EQ(a.proteins, b.proteins);
  EXPECT_EQ(a.proteins_key, b.proteins_key);
  EXPECT_EQ(a.protein_names_key, b.protein_names_key);
  EXPECT_EQ(a.proteins_from_frame, b.proteins_from_frame);
  EXPECT_EQ(a.protein_masks, b.protein_masks);
  EXPECT_EQ(std::max<int64_t>(a.training_cells, 0), b.training_cells);
  const Architecture &x = a.architecture, &y = b.architecture;
  EXPECT_EQ(x.n_batch, y.n_batch);
  EXPECT_EQ(x.n_labels, y.n_labels);
  EXPECT_EQ(x.n_layers, y.n_layers);
  EXPECT_EQ(x.dropout_rate, y.dropout_rate);
  EXPECT_EQ(x.dispersion, y.dispersion);
  EXPECT_EQ(x.gene_likelihood, y.gene_likelihood);
  EXPECT_EQ(x.latent_distribution, y.latent_distribution);
  EXPECT_EQ(x.log_variational, y.log_variational);
  EXPECT_EQ(x.encode_covariates, y.encode_covariates);
  EXPECT_EQ(x.deeply_inject_covariates, y.deeply_inject_covariates);
  EXPECT_EQ(x.use_observed_lib_size, y.use_observed_lib_size);
  EXPECT_EQ(x.batch_norm.encoder, y.batch_norm.encoder);
  EXPECT_EQ(x.batch_norm.decoder, y.batch_norm.decoder);
  EXPECT_EQ(x.layer_norm.encoder, y.layer_norm.encoder);
  EXPECT_EQ(x.layer_norm.decoder, y.layer_norm.decoder);
  EXPECT_EQ(x.classifier_layers, y.classifier_layers);
  EXPECT_EQ(x.classifier_hidden, y.classifier_hidden);
  EXPECT_EQ(x.classifier_dropout, y.classifier_dropout);
  EXPECT_EQ(x.linear_classifier, y.linear_classifier);
  EXPECT_EQ(x.batch_embedding, y.batch_embedding);
  EXPECT_EQ(x.has_size_factor, y.has_size_factor);
  ASSERT_EQ(x.proteins.has_value(), y.proteins.has_value());
  if (!x.proteins.has_value()) return;
  EXPECT_EQ(x.proteins->variant, y.proteins->variant);
  EXPECT_EQ(x.proteins->dispersion, y.proteins->dispersion);
  EXPECT_EQ(x.proteins->dropout_decoder, y.proteins->dropout_decoder);
  EXPECT_EQ(x.proteins->n_layers_decoder, y.proteins->n_layers_decoder);
  EXPECT_EQ(x.proteins->empirical_prior, y.proteins->empirical_prior);
  EXPECT_EQ(x.proteins->override_missing, y.proteins->override_missing);
  EXPECT_EQ(x.proteins->prior_per_panel, y.proteins->prior_per_panel);
  EXPECT_EQ(x.proteins->adversarial_classifier, y.proteins->adversarial_classifier);
}

void ExpectSame(const StateDict& a, const StateDict& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [key, tensor] : a) {
    ASSERT_EQ(b.count(key), 1u) << key;
    const HostTensor& other = b.at(key);
    ASSERT_EQ(tensor.shape(), other.shape()) << key;
    ASSERT_EQ(tensor.dtype(), other.dtype()) << key;
    EXPECT_EQ(std::memcmp(tensor.data(), other.data(), tensor.size_bytes()), 0) << key;
  }
}

void ExpectRoundTrip(const SavedModel& saved) {
  const auto file = WriteModel(saved.description, saved.tensors);
  ASSERT_TRUE(file.ok()) << file.status();
  const SavedModel read = Parse(*file);
  ExpectSame(saved.description, read.description);
  ExpectSame(saved.tensors, read.tensors);
  EXPECT_EQ(read.description.scvi_version, WrittenVersion(saved.description));
  EXPECT_EQ(*WriteModel(read.description, read.tensors), *file);
}

TEST(ModelWriterTest, WhatWasReadIsWritten) {
  for (const auto model_class :
       {ModelBuilder::kScvi, ModelBuilder::kScanvi, ModelBuilder::kTotalvi}) {
    SCOPED_TRACE(ModelBuilder::Name(model_class));
    ExpectRoundTrip(Parse(ModelBuilder(model_class).File()));
    ExpectRoundTrip(Parse(ModelBuilder(model_class, 1).File()));
  }
  ExpectRoundTrip(Parse(ModelBuilder(ModelBuilder::kScvi, 3, 2, /*encode=*/true).File()));
}

TEST(ModelWriterTest, EveryArgumentIsWritten) {
  ModelBuilder builder(ModelBuilder::kScvi, 2, 1, false, 3 + 1);
  builder.fields["X"] = ModelBuilder::Field(
      {{p::Str("attr_name"), p::Str("layers")}, {p::Str("attr_key"), p::Str("counts")}},
      {{p::Str("n_vars"), p::Int(ModelBuilder::kGenes)}});
  builder.fields["extra_categorical_covs"] = ModelBuilder::Field(
      {}, {{p::Str("mappings"), p::Dict({{p::Str("kit"), p::Int64Array({1, 2, 3})}})},
           {p::Str("field_keys"), p::StrList({"kit"})}});
  builder.fields["extra_continuous_covs"] =
      ModelBuilder::Field({}, {{p::Str("columns"), p::StrArray({"age"})}});
  builder.fields["size_factor"] = ModelBuilder::Field(
      {{p::Str("attr_name"), p::Str("obs")}, {p::Str("attr_key"), p::Str("depth")}}, {});
  builder.init["dropout_rate"] = p::Float(0.25);
  builder.init["gene_likelihood"] = p::Str("nb");
  builder.init["latent_distribution"] = p::Str("ln");
  builder.module_arguments["log_variational"] = p::Bool(false);
  builder.module_arguments["use_layer_norm"] = p::Str("decoder");
  ExpectRoundTrip(Parse(builder.File()));

  ModelBuilder proteins(ModelBuilder::kTotalvi, 2);
  proteins.registry["scvi_version"] = p::Str("1.3.2");
  proteins.tensors["log_per_batch_efficiency"] = {2, 2};
  proteins.fields["panel"] = ModelBuilder::Categories(p::StrArray({"A", "B", "C"}), "kit");
  proteins.tensors["background_pro_alpha"] = proteins.tensors["background_pro_log_beta"] = {2, 3};
  proteins.init["empirical_protein_background_prior"] = p::Bool(true);
  proteins.fields["proteins"] = ModelBuilder::Field(
      {{p::Str("attr_name"), p::Str("obsm")}, {p::Str("attr_key"), p::Str("adt")}},
      {{p::Str("column_names"), p::StrList({"CD3", "CD4"})},
       {p::Str("protein_batch_mask"),
        p::Dict({{p::Str("1"), p::List({p::Bool(true), p::Bool(false)})}})}});
  ExpectRoundTrip(Parse(proteins.File()));
}

TEST(ModelWriterTest, NumbersStayNumbers) {
  ModelBuilder builder;
  builder.fields["batch"] = ModelBuilder::Categories(p::Int64Array({3, 10}), "donor");
  SavedModel saved = Parse(builder.File());
  EXPECT_EQ(saved.description.batches.kind, CategoryKind::kInteger);
  ExpectRoundTrip(saved);
  // Batches of a query that are no numbers make a column of objects.
  saved.description.batches.categories = {"3", "new"};
  const auto file = WriteModel(saved.description, saved.tensors);
  ASSERT_TRUE(file.ok());
  const auto read = Parse(*file);
  EXPECT_THAT(read.description.batches.categories, ElementsAre("3", "new"));
  EXPECT_EQ(read.description.batches.kind, CategoryKind::kText);
  auto torch = TorchFile::Parse(SharedBytes::CopyOf(*file), {});
  ASSERT_TRUE(torch.ok());
  const PyValue mapping = torch->root()
                              .Get("attr_dict")
                              .Get("registry_")
                              .Get("field_registries")
                              .Get("batch")
                              .Get("state_registry")
                              .Get("categorical_mapping");
  // numpy array: dtype, shape, payload.
  EXPECT_EQ(mapping.at(2).at(0).Int(), 3);
  EXPECT_EQ(mapping.at(2).at(1).Str(), "new");
}

TEST(ModelWriterTest, TheVersionKeepsTheForwardPass) {
  SavedModel saved = Parse(ModelBuilder(ModelBuilder::kTotalvi, 2).File());
  const auto version = [&](TotalviVariant variant) {
    saved.description.architecture.proteins->variant = variant;
    return WrittenVersion(saved.description);
  };
  EXPECT_EQ(version(TotalviVariant::kExp), "1.1.6");
  EXPECT_EQ(version(TotalviVariant::kSoftplus), "1.2.0");
  EXPECT_EQ(version(TotalviVariant::kSoftplusFloor), "1.3.0");
  EXPECT_EQ(version(TotalviVariant::kCellMean), "1.4.2");
}

TEST(ModelWriterTest, AStrayEfficiencyIsLeftOut) {
  ModelBuilder builder(ModelBuilder::kTotalvi, 2);
  builder.tensors["log_per_batch_efficiency"] = {2, 2};
  const SavedModel saved = Parse(builder.File());
  EXPECT_TRUE(saved.description.architecture.proteins->has_efficiency);
  const auto file = WriteModel(saved.description, saved.tensors);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Parse(*file).tensors.count("log_per_batch_efficiency"), 0u);
}

TEST(ModelWriterTest, RefusesWhatDoesNotFit) {
  SavedModel saved = Parse(ModelBuilder().File());
  StateDict lacking = saved.tensors;
  lacking.erase("px_r");
  EXPECT_EQ(WriteModel(saved.description, lacking).status().code(),
            absl::StatusCode::kInvalidArgument);
  saved.description.architecture.n_batch = 3;
  EXPECT_FALSE(WriteModel(saved.description, saved.tensors).ok());
  saved = Parse(ModelBuilder().File());
  saved.description.gene_modality = "rna";
  EXPECT_EQ(WriteModel(saved.description, saved.tensors).status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(ModelWriterTest, RealModelsAreWritten) {
  const char* named = std::getenv("PORTOLAN_TEST_DATA");
  const std::filesystem::path models =
      std::filesystem::path(named != nullptr ? named : SourceDir() + "/../shared/data") / "models";
  if (!std::filesystem::exists(models)) {
    GTEST_SKIP() << "no test data: models/ (set PORTOLAN_TEST_DATA to the folder that holds it)";
  }
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(models)) {
    SCOPED_TRACE(entry.path().string());
    const auto saved = ReadSavedModel(entry.path());
    ASSERT_TRUE(saved.ok()) << saved.status();
    ExpectRoundTrip(*saved);
    ++seen;
  }
  EXPECT_GT(seen, 0);
}

TEST(PickleWriterTest, ValuesComeBack) {
  namespace w = pickled;
  const std::vector<int64_t> numbers = {
      0, -1, 255, 65536, 2147483647, 2147483648, std::numeric_limits<int64_t>::min()};
  w::Items items;
  for (const int64_t number : numbers) items.push_back(w::Int(number));
  const std::string pickle =
      w::Document(w::Dict({{w::Text("none"), w::None()},
                           {w::Text("flags"), w::Tuple({w::Bool(true), w::Bool(false)})},
                           {w::Text("numbers"), w::List(items)},
                           {w::Text("real"), w::Float(-0.1)},
                           {w::Text("text"), w::Text("Köln \u2603")},
                           {w::Text("empty"), w::OrderedDict({})},
                           {w::Text("ints"), w::IntArray({-5, 300})},
                           {w::Text("reals"), w::FloatArray({0.5, 1e300})},
                           {w::Text("bools"), w::BoolArray({true, false, true})},
                           {w::Text("objects"), w::ObjectArray(w::Items(2500, w::Text("x")))}}));
  const auto document = Unpickle(SharedBytes::CopyOf(pickle), 0, {});
  ASSERT_TRUE(document.ok()) << document.status();
  const PyValue root = document->root;
  EXPECT_TRUE(root.Has("none") && root.Get("none").is_none());
  EXPECT_EQ(root.Get("flags").at(0).Bool(), true);
  for (size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_EQ(root.Get("numbers").at(i).Int(), numbers[i]);
  }
  EXPECT_EQ(root.Get("real").Number(), -0.1);
  EXPECT_EQ(root.Get("text").Str(), "Köln \u2603");
  EXPECT_TRUE(root.Get("empty").is(PyKind::kDict));
  TextBudget budget{1 << 20};
  EXPECT_THAT(*TextList(root.Get("ints"), "", budget), ElementsAre("-5", "300"));
  EXPECT_THAT(*TextList(root.Get("reals"), "", budget), ElementsAre("0.5", "1e+300"));
  EXPECT_THAT(*TextList(root.Get("bools"), "", budget), ElementsAre("True", "False", "True"));
  EXPECT_EQ(TextList(root.Get("objects"), "", budget)->size(), 2500u);
  EXPECT_EQ(CategoryKindOf(root.Get("ints")), CategoryKind::kInteger);
  EXPECT_EQ(CategoryKindOf(root.Get("numbers")), CategoryKind::kInteger);
  EXPECT_EQ(CategoryKindOf(root.Get("flags")), CategoryKind::kBool);
  EXPECT_EQ(CategoryKindOf(root.Get("objects")), CategoryKind::kText);
}

TEST(ZipWriterTest, ContentsAreAligned) {
  const std::string long_text(1000, 'x');
  const auto bytes = WriteZip({{"a/data.pkl", "hello"}, {"a/data/0", long_text}, {"a/e", ""}});
  ASSERT_TRUE(bytes.ok());
  const auto zip = ZipReader::Open(SharedBytes::CopyOf(*bytes));
  ASSERT_TRUE(zip.ok()) << zip.status();
  ASSERT_EQ(zip->entries().size(), 3u);
  for (const ZipEntry& entry : zip->entries()) {
    EXPECT_EQ(entry.data % 64, 0u) << entry.name;
    EXPECT_FALSE(entry.deflated);
  }
  EXPECT_EQ(zip->Read(*zip->Find("a/data/0"), 2000)->text(), long_text);
  EXPECT_FALSE(WriteZip({{std::string(70'000, 'n'), ""}}).ok());
}

}  // namespace
}  // namespace portolan
