#include "core/archive/saved_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/archive/torch_file.h"
#include "core/base/field_error.h"
#include "core/base/sha256.h"
#include "tests/core/archive/model_builder.h"

namespace portolan {
namespace {

namespace p = pickle;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

absl::StatusOr<SavedModel> Read(const std::string& bytes,
                                std::optional<ModelClass> expected = std::nullopt) {
  return ParseSavedModel(SharedBytes::CopyOf(bytes), expected);
}

ModelDescription Describe(const ModelBuilder& builder) {
  const auto model = Read(builder.File());
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? model->description : ModelDescription{};
}

std::string Error(const ModelBuilder& builder,
                  absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  const auto model = Read(builder.File());
  if (model.ok()) return "(read)";
  EXPECT_EQ(model.status().code(), code) << model.status();
  EXPECT_TRUE(GetFieldViolation(model.status()).has_value());
  return std::string(model.status().message());
}

TEST(SavedModelTest, DescribesScvi) {
  const ModelBuilder builder;
  const std::string bytes = builder.File();
  const auto model = Read(bytes);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->digest, Sha256Hex(bytes));
  const ModelDescription& d = model->description;
  EXPECT_EQ(d.model_class, ModelClass::kScvi);
  EXPECT_EQ(d.scvi_version, "1.1.2");
  EXPECT_THAT(d.genes, ElementsAre("gene0", "gene1", "gene2", "gene3", "gene4"));
  EXPECT_EQ(d.batches.original_key, "batch");
  EXPECT_THAT(d.batches.categories, ElementsAre("batch0", "batch1"));
  EXPECT_EQ(d.labels.original_key, "");
  EXPECT_EQ(d.layer, "");
  const Architecture& a = d.architecture;
  EXPECT_EQ(a.n_genes, 5);
  EXPECT_EQ(a.n_batch, 2);
  EXPECT_EQ(a.n_labels, 1);
  EXPECT_EQ(a.n_hidden, 4);
  EXPECT_EQ(a.n_latent, 3);
  EXPECT_EQ(a.n_layers, 2);
  EXPECT_EQ(a.dropout_rate, 0.1);
  EXPECT_EQ(a.gene_likelihood, GeneLikelihood::kZinb);
  EXPECT_EQ(a.dispersion, Dispersion::kGene);
  EXPECT_FALSE(a.encode_covariates);
  EXPECT_TRUE(a.deeply_inject_covariates);
  EXPECT_TRUE(a.use_observed_lib_size);
  EXPECT_TRUE(a.batch_norm.encoder && a.batch_norm.decoder);
  EXPECT_FALSE(a.layer_norm.encoder || a.layer_norm.decoder);
  EXPECT_FALSE(a.has_size_factor);
  EXPECT_EQ(model->tensors.count("pyro_param_store"), 0u);
  EXPECT_EQ(model->tensors.at("px_r").floats()[4], 0.5f);
}

TEST(SavedModelTest, DescribesScanvi) {
  const ModelDescription d = Describe(ModelBuilder(ModelBuilder::kScanvi));
  EXPECT_EQ(d.model_class, ModelClass::kScanvi);
  EXPECT_EQ(d.architecture.n_labels, 2);
  EXPECT_THAT(d.labels.categories, ElementsAre("alpha", "beta"));
  EXPECT_EQ(d.labels.original_key, "cell_type");
  EXPECT_EQ(d.unlabeled_category, "Unknown");
  EXPECT_FALSE(d.architecture.linear_classifier);
  EXPECT_EQ(d.architecture.classifier_layers, 2);
  EXPECT_EQ(d.architecture.classifier_hidden, 4);
  EXPECT_EQ(d.architecture.classifier_dropout, 0.1);
}

TEST(SavedModelTest, DescribesTotalvi) {
  const ModelDescription d = Describe(ModelBuilder(ModelBuilder::kTotalvi, 2));
  EXPECT_EQ(d.model_class, ModelClass::kTotalvi);
  EXPECT_THAT(d.proteins, ElementsAre("CD3", "CD4"));
  // Nothing was recorded, so these are the defaults of the class.
  EXPECT_EQ(d.architecture.gene_likelihood, GeneLikelihood::kNb);
  EXPECT_EQ(d.architecture.dropout_rate, 0.2);
  EXPECT_TRUE(d.architecture.encode_covariates);
  ASSERT_TRUE(d.architecture.proteins.has_value());
  const ProteinArchitecture& a = *d.architecture.proteins;
  EXPECT_EQ(a.n_proteins, 2);
  EXPECT_EQ(a.n_layers_decoder, 1);
  EXPECT_EQ(a.dropout_decoder, 0.2);
  EXPECT_EQ(a.dispersion, ProteinDispersion::kProtein);
  EXPECT_EQ(a.n_priors, 2);
  EXPECT_FALSE(a.prior_per_panel || a.empirical_prior || a.override_missing);
  EXPECT_FALSE(a.adversarial_classifier);
  EXPECT_TRUE(d.protein_masks.empty());
  EXPECT_TRUE(d.panels.categories.empty());
  EXPECT_FALSE(Describe(ModelBuilder()).architecture.proteins.has_value());
}

TEST(SavedModelTest, TheVersionChoosesTotalvisForwardPass) {
  const auto variant = [](const char* version, bool efficiency) {
    ModelBuilder builder(ModelBuilder::kTotalvi, 2);
    builder.registry["scvi_version"] = p::Str(version);
    if (efficiency) builder.tensors["log_per_batch_efficiency"] = {2, 2};
    return Describe(builder).architecture.proteins->variant;
  };
  EXPECT_EQ(variant("0.0.0", false), TotalviVariant::kExp);
  EXPECT_EQ(variant("1.1.6", false), TotalviVariant::kExp);
  EXPECT_EQ(variant("0.14.1", true), TotalviVariant::kExp);
  EXPECT_EQ(variant("1.2.0", false), TotalviVariant::kSoftplus);
  EXPECT_EQ(variant("1.2.1", false), TotalviVariant::kSoftplusFloor);
  EXPECT_EQ(variant("1.3.0", false), TotalviVariant::kSoftplusFloor);
  EXPECT_EQ(variant("1.3.0", true), TotalviVariant::kCellMean);
  EXPECT_EQ(variant("1.3.1", true), TotalviVariant::kCellMean);
  EXPECT_EQ(variant("1.4.2", true), TotalviVariant::kCellMean);
  ModelBuilder lacking(ModelBuilder::kTotalvi, 2);
  lacking.registry["scvi_version"] = p::Str("1.3.1");
  EXPECT_THAT(Error(lacking), HasSubstr("'log_per_batch_efficiency' is missing"));
}

/// The proteins of a registry whose mask is `mask`.
std::string MaskedProteins(const p::Pairs& mask) {
  return ModelBuilder::Field(
      {{p::Str("attr_name"), p::Str("obsm")}, {p::Str("attr_key"), p::Str("adt")}},
      {{p::Str("column_names"), p::StrList({"CD3", "CD4"})},
       {p::Str("protein_batch_mask"), p::Dict(mask)}});
}

TEST(SavedModelTest, MissingProteinsAreKeptByBatch) {
  const auto flags = [](bool first, bool second) {
    const std::string raw = {static_cast<char>(first), static_cast<char>(second)};
    return p::Array({p::Int(2)}, p::DType("b1", "|"), p::Latin1Bytes(raw));
  };
  ModelBuilder builder(ModelBuilder::kTotalvi, 3);
  // Text from 0.18 on, numbers before; batch 1 is not recorded.
  builder.fields["proteins"] =
      MaskedProteins({{p::Str("0"), flags(true, true)}, {p::Int(2), flags(false, true)}});
  const ModelDescription d = Describe(builder);
  EXPECT_EQ(d.proteins_key, "adt");
  EXPECT_THAT(d.protein_masks,
              ElementsAre(ElementsAre(true, true), testing::IsEmpty(), ElementsAre(false, true)));
  EXPECT_TRUE(d.architecture.proteins->adversarial_classifier);
  builder.init["override_missing_proteins"] = p::Bool(true);
  EXPECT_FALSE(Describe(builder).architecture.proteins->adversarial_classifier);

  builder.fields["proteins"] = MaskedProteins({{p::Str("3"), flags(true, true)}});
  EXPECT_THAT(Error(builder), HasSubstr("the key '3', but the codes are 0 to 2"));
  builder.fields["proteins"] = MaskedProteins({{p::Str("-1"), flags(true, true)}});
  EXPECT_THAT(Error(builder), HasSubstr("the key '-1'"));
  builder.fields["proteins"] = MaskedProteins({{p::Str("0"), p::List({p::Bool(true)})}});
  EXPECT_THAT(Error(builder), HasSubstr("1 entries for 2 proteins"));
  builder.fields["proteins"] = MaskedProteins({{p::Str("0"), p::StrList({"yes", "no"})}});
  EXPECT_THAT(Error(builder), HasSubstr("holds 'yes'"));
}

TEST(SavedModelTest, MinifiedDataAreNoticed) {
  ModelBuilder builder;
  EXPECT_FALSE(Describe(builder).minified);
  builder.fields["minify_type"] = ModelBuilder::Field(
      {{p::Str("attr_name"), p::Str("uns")}, {p::Str("attr_key"), p::Str("_scvi_minify")}}, {});
  EXPECT_TRUE(Describe(builder).minified);
}

TEST(SavedModelTest, BrokenNamesAreErrors) {
  ModelBuilder builder;
  builder.fields["batch"] = ModelBuilder::Categories(p::StrArray({"x", "y"}), "do\xffnor");
  EXPECT_THAT(Error(builder), HasSubstr("the broken name"));
  ModelBuilder version;
  version.registry["scvi_version"] = p::Str(std::string(20'000, '1'));
  EXPECT_THAT(Error(version), HasSubstr("the broken name"));
}

TEST(SavedModelTest, APanelHasItsOwnPrior) {
  ModelBuilder builder(ModelBuilder::kTotalvi, 2);
  builder.fields["panel"] = ModelBuilder::Categories(p::StrArray({"A", "B", "C"}), "kit");
  EXPECT_THAT(Error(builder),
              HasSubstr("the registry has 3 panels, but background_pro_alpha has 2 columns"));
  builder.tensors["background_pro_alpha"] = builder.tensors["background_pro_log_beta"] = {2, 3};
  const ModelDescription d = Describe(builder);
  EXPECT_TRUE(d.architecture.proteins->prior_per_panel);
  EXPECT_EQ(d.architecture.proteins->n_priors, 3);
  EXPECT_EQ(d.panels.original_key, "kit");
  EXPECT_THAT(d.panels.categories, ElementsAre("A", "B", "C"));
}

TEST(SavedModelTest, ProteinDispersionHasItsShape) {
  ModelBuilder builder(ModelBuilder::kTotalvi, 2);
  builder.init["protein_dispersion"] = p::Str("protein-batch");
  EXPECT_THAT(Error(builder), HasSubstr("calls for py_r (2, 2), but it has (2)"));
  builder.tensors["py_r"] = {2, 2};
  EXPECT_EQ(Describe(builder).architecture.proteins->dispersion, ProteinDispersion::kProteinBatch);
  builder.init["protein_dispersion"] = p::Str("protein-label");
  EXPECT_THAT(Error(builder), HasSubstr("calls for py_r (2, 1)"));
}

TEST(SavedModelTest, OneBatchHasNoColumns) {
  ModelBuilder builder(ModelBuilder::kScvi, 1);
  EXPECT_EQ(Describe(builder).architecture.n_batch, 1);
  EXPECT_EQ(Describe(builder).batches.original_key, "batch");
  // Set up without a batch column: scvi-tools makes one up.
  builder.fields["batch"] = ModelBuilder::Categories(p::Int64Array({0}), "_scvi_batch");
  EXPECT_EQ(Describe(builder).batches.original_key, "");
  EXPECT_THAT(Describe(builder).batches.categories, ElementsAre("0"));
}

TEST(SavedModelTest, NumericCategoriesAreText) {
  ModelBuilder builder;
  builder.fields["batch"] = ModelBuilder::Categories(p::Int64Array({10, 20}), "lane");
  EXPECT_THAT(Describe(builder).batches.categories, ElementsAre("10", "20"));
}

TEST(SavedModelTest, EncodedCovariates) {
  const ModelBuilder encoded(ModelBuilder::kScvi, 3, 2, /*encode=*/true);
  EXPECT_TRUE(Describe(encoded).architecture.encode_covariates);
  // What was not recorded is seen in the tensors.
  ModelBuilder silent = encoded;
  silent.module_arguments.clear();
  EXPECT_TRUE(Describe(silent).architecture.encode_covariates);
  ModelBuilder contradicting = encoded;
  contradicting.module_arguments["encode_covariates"] = p::Bool(false);
  EXPECT_THAT(Error(contradicting), HasSubstr("encode_covariates = False, but the encoder's first "
                                              "layer has 8 columns for 5 features"));
}

TEST(SavedModelTest, ShallowInjection) {
  ModelBuilder builder;
  builder.AddStack("decoder.px_decoder", 3, 4, 2, 2, /*inject=*/false);
  EXPECT_FALSE(Describe(builder).architecture.deeply_inject_covariates);
  builder.module_arguments["deeply_inject_covariates"] = p::Bool(true);
  EXPECT_THAT(Error(builder), HasSubstr("deeply_inject_covariates = True, but"));
}

TEST(SavedModelTest, NormsComeFromArgumentsAndTensors) {
  ModelBuilder builder;
  builder.module_arguments["use_layer_norm"] = p::Str("encoder");
  EXPECT_TRUE(Describe(builder).architecture.layer_norm.encoder);
  EXPECT_FALSE(Describe(builder).architecture.layer_norm.decoder);
  builder.module_arguments["use_batch_norm"] = p::Str("none");
  EXPECT_THAT(Error(builder), HasSubstr("use_batch_norm = 'none', but the encoder has"));
  builder.module_arguments["use_batch_norm"] = p::Str("sometimes");
  EXPECT_THAT(Error(builder), HasSubstr("use_batch_norm as 'sometimes'"));
}

TEST(SavedModelTest, ChoicesOfTheForwardPass) {
  ModelBuilder builder;
  builder.init["gene_likelihood"] = p::Str("poisson");
  builder.init["latent_distribution"] = p::Str("ln");
  builder.module_arguments["log_variational"] = p::Bool(false);
  const Architecture a = Describe(builder).architecture;
  EXPECT_EQ(a.gene_likelihood, GeneLikelihood::kPoisson);
  EXPECT_EQ(a.latent_distribution, LatentDistribution::kLogisticNormal);
  EXPECT_FALSE(a.log_variational);
  builder.init["gene_likelihood"] = p::Str("gamma");
  EXPECT_THAT(Error(builder), HasSubstr("gene_likelihood as 'gamma'"));
  builder.init["gene_likelihood"] = p::Int(3);
  EXPECT_THAT(Error(builder), HasSubstr("'gene_likelihood' as an int, not a str"));
}

TEST(SavedModelTest, FlatArgumentsOfOldVersions) {
  ModelBuilder builder;
  builder.flat_init = true;
  builder.module_arguments["use_layer_norm"] = p::Str("both");
  builder.init["dropout_rate"] = p::Float(0.25);
  EXPECT_TRUE(Describe(builder).architecture.layer_norm.decoder);
  EXPECT_EQ(Describe(builder).architecture.dropout_rate, 0.25);
}

TEST(SavedModelTest, Dispersions) {
  ModelBuilder builder;
  builder.init["dispersion"] = p::Str("gene-batch");
  EXPECT_THAT(Error(builder), HasSubstr("calls for px_r (5, 2), but it has (5)"));
  builder.tensors["px_r"] = {5, 2};
  EXPECT_EQ(Describe(builder).architecture.dispersion, Dispersion::kGeneBatch);
  builder.init["dispersion"] = p::Str("gene-cell");
  EXPECT_THAT(Error(builder), HasSubstr("'gene-cell'"));
  builder.tensors.erase("px_r");
  EXPECT_EQ(Describe(builder).architecture.dispersion, Dispersion::kGeneCell);
}

TEST(SavedModelTest, LatentLibrary) {
  ModelBuilder builder;
  builder.tensors["library_log_means"] = builder.tensors["library_log_vars"] = {1, 2};
  EXPECT_FALSE(Describe(builder).architecture.use_observed_lib_size);
  builder.init["use_observed_lib_size"] = p::Bool(true);
  EXPECT_THAT(Error(builder), HasSubstr("use_observed_lib_size = True, but"));
  builder.init["use_observed_lib_size"] = p::Bool(false);
  builder.tensors["library_log_vars"] = {1, 3};
  EXPECT_THAT(Error(builder), HasSubstr("'library_log_vars' has shape (1, 3)"));
}

TEST(SavedModelTest, CovariatesAndSizeFactor) {
  ModelBuilder builder(ModelBuilder::kScvi, 2, 1, /*encode=*/false, /*more_columns=*/3);
  const std::string mappings = p::Dict({{p::Str("sex"), p::StrArray({"f", "m"})}});
  builder.fields["extra_categorical_covs"] = ModelBuilder::Field(
      {}, {{p::Str("mappings"), mappings}, {p::Str("field_keys"), p::StrList({"sex"})}});
  builder.fields["extra_continuous_covs"] =
      ModelBuilder::Field({}, {{p::Str("columns"), p::StrArray({"age"})}});
  builder.fields["size_factor"] = ModelBuilder::Field(
      {{p::Str("attr_name"), p::Str("obs")}, {p::Str("attr_key"), p::Str("sf")}}, {});
  builder.fields["X"] = ModelBuilder::Field(
      {{p::Str("attr_name"), p::Str("layers")}, {p::Str("attr_key"), p::Str("counts")}}, {});
  const ModelDescription d = Describe(builder);
  EXPECT_THAT(d.categorical_covariates, ElementsAre("sex"));
  EXPECT_THAT(d.covariate_categories, ElementsAre(ElementsAre("f", "m")));
  EXPECT_THAT(d.architecture.n_cats_per_cov, ElementsAre(2));
  EXPECT_THAT(d.continuous_covariates, ElementsAre("age"));
  EXPECT_EQ(d.architecture.n_continuous_covs, 1);
  EXPECT_TRUE(d.architecture.has_size_factor);
  EXPECT_EQ(d.size_factor_key, "sf");
  EXPECT_EQ(d.layer, "counts");
}

TEST(SavedModelTest, TooManyCovariatesAreRefused) {
  ModelBuilder builder;
  builder.fields["extra_categorical_covs"] = ModelBuilder::Field(
      {}, {{p::Str("mappings"), p::Dict({})},
           {p::Str("field_keys"), p::StrList(std::vector<std::string>(1001, "sex"))}});
  EXPECT_THAT(Error(builder), HasSubstr("1001 categorical covariates"));
}

TEST(SavedModelTest, BatchEmbedding) {
  ModelBuilder builder(ModelBuilder::kScvi, 1, 1, false, /*more_columns=*/5);
  builder.fields["batch"] = ModelBuilder::Categories(p::StrArray({"a", "b", "c"}), "batch");
  builder.tensors["_embeddings_dict.batch.weight"] = {3, 5};
  EXPECT_THAT(Error(builder), HasSubstr("'one-hot', but the tensors hold a batch embedding"));
  builder.module_arguments["batch_representation"] = p::Str("embedding");
  EXPECT_TRUE(Describe(builder).architecture.batch_embedding);
  builder.tensors["_embeddings_dict.batch.weight"] = {4, 5};
  EXPECT_THAT(Error(builder), HasSubstr("3 batches, but the batch embedding has 4 rows"));
}

TEST(SavedModelTest, LinearClassifier) {
  ModelBuilder builder(ModelBuilder::kScanvi);
  std::erase_if(builder.tensors, [](const auto& t) { return t.first.starts_with("classifier."); });
  builder.AddLinear("classifier.classifier.0", 2, 3);
  builder.init["linear_classifier"] = p::Bool(true);
  EXPECT_TRUE(Describe(builder).architecture.linear_classifier);
  EXPECT_EQ(Describe(builder).architecture.classifier_layers, 0);
}

TEST(SavedModelTest, ClassifierParameters) {
  ModelBuilder builder(ModelBuilder::kScanvi);
  builder.module_arguments["classifier_parameters"] =
      p::Dict({{p::Str("dropout_rate"), p::Float(0.5)}, {p::Str("logits"), p::Bool(true)}});
  EXPECT_EQ(Describe(builder).architecture.classifier_dropout, 0.5);
  EXPECT_EQ(Describe(builder).architecture.dropout_rate, 0.1);
  builder.module_arguments["classifier_parameters"] =
      p::Dict({{p::Str("activation_fn"), p::Global("torch.nn", "ELU")}});
  EXPECT_THAT(Error(builder, absl::StatusCode::kUnimplemented),
              HasSubstr("classifier_parameters 'activation_fn'"));
}

TEST(SavedModelTest, UnknownArgumentsAreRefusedUnlessIdle) {
  ModelBuilder builder;
  builder.module_arguments["extra_encoder_kwargs"] = p::Dict({});
  EXPECT_EQ(Error(builder), "(read)");
  builder.module_arguments["extra_encoder_kwargs"] =
      p::Dict({{p::Str("activation_fn"), p::Global("torch.nn", "ELU")}});
  EXPECT_THAT(Error(builder, absl::StatusCode::kUnimplemented),
              HasSubstr("'extra_encoder_kwargs'"));
}

TEST(SavedModelTest, DisagreementsNameBothSides) {
  ModelBuilder batches;
  batches.fields["batch"] = ModelBuilder::Categories(p::StrArray({"a", "b", "c"}), "batch");
  EXPECT_THAT(Error(batches), HasSubstr("the registry has 3 batches, 0 categorical and 0 continuous"
                                        " covariates: 3 columns beside the latent ones, but the "
                                        "decoder's first layer has 2"));
  ModelBuilder genes;
  genes.var_names = p::StrArray({"a", "b"});
  EXPECT_THAT(Error(genes), HasSubstr("var_names has 2 genes, but the decoder's tensors have 5"));
  ModelBuilder latent;
  latent.init["n_latent"] = p::Int(10);
  EXPECT_THAT(Error(latent), HasSubstr("n_latent = 10, but the tensors have 3"));
  ModelBuilder labels(ModelBuilder::kScanvi);
  labels.fields["labels"] =
      ModelBuilder::Field({}, {{p::Str("categorical_mapping"), p::StrArray({"a", "Unknown"})},
                               {p::Str("unlabeled_category"), p::Str("Unknown")}});
  EXPECT_THAT(Error(labels),
              HasSubstr("1 labels beside the unlabelled category, but the classifier has 2"));
  ModelBuilder last(ModelBuilder::kScanvi);
  last.fields["labels"] =
      ModelBuilder::Field({}, {{p::Str("categorical_mapping"), p::StrArray({"?", "a", "b"})},
                               {p::Str("unlabeled_category"), p::Str("?")}});
  EXPECT_THAT(Error(last), HasSubstr("is '?', but the last of the 3 labels is 'b'"));
  ModelBuilder proteins(ModelBuilder::kTotalvi);
  proteins.fields["proteins"] =
      ModelBuilder::Field({}, {{p::Str("column_names"), p::StrList({"CD3"})}});
  EXPECT_THAT(Error(proteins), HasSubstr("the registry has 1 proteins, but the tensors have 2"));
}

TEST(SavedModelTest, TensorsOfOtherShapesAreErrors) {
  const ModelBuilder whole(ModelBuilder::kScanvi, 2, 2, /*encode=*/true);
  ASSERT_EQ(Error(whole), "(read)");
  for (const auto& [key, shape] : whole.tensors) {
    ModelBuilder missing = whole;
    missing.tensors.erase(key);
    EXPECT_NE(Error(missing), "(read)") << key;
    ModelBuilder larger = whole;
    larger.tensors[key][0] += 1;
    EXPECT_NE(Error(larger), "(read)") << key;
    ModelBuilder flat = whole;
    flat.tensors[key] = {};
    EXPECT_NE(Error(flat), "(read)") << key;
    ModelBuilder empty = whole;
    empty.tensors[key][0] = 0;
    EXPECT_NE(Error(empty), "(read)") << key;
  }
}

TEST(SavedModelTest, ClassesThatAreNotServedAreNamed) {
  for (const char* name : {"PEAKVI", "MULTIVI", "LinearSCVI", "SCVIx"}) {
    ModelBuilder builder;
    builder.registry["model_name"] = p::Str(name);
    EXPECT_THAT(Error(builder, absl::StatusCode::kUnimplemented), HasSubstr(name));
  }
}

TEST(SavedModelTest, AClassThatIsNotRecordedIsSeenInTheTensors) {
  for (const auto model_class :
       {ModelBuilder::kScvi, ModelBuilder::kScanvi, ModelBuilder::kTotalvi}) {
    ModelBuilder builder(model_class);
    builder.registry.erase("model_name");
    EXPECT_EQ(ModelClassName(Describe(builder).model_class), ModelBuilder::Name(model_class));
  }
  ModelBuilder builder;
  builder.registry.erase("model_name");
  builder.tensors.erase("l_encoder.mean_encoder.bias");
  EXPECT_THAT(Error(builder, absl::StatusCode::kUnimplemented), HasSubstr("known class"));
}

TEST(SavedModelTest, AnotherClassThanExpected) {
  const auto model = Read(ModelBuilder(ModelBuilder::kScanvi).File(), ModelClass::kScvi);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(GetFieldViolation(model.status())->field, "model");
  EXPECT_THAT(model.status().message(), HasSubstr("class SCANVI where SCVI is expected"));
  EXPECT_TRUE(Read(ModelBuilder().File(), ModelClass::kScvi).ok());
}

TEST(SavedModelTest, MuDataGenes) {
  ModelBuilder builder;
  const std::string genes = builder.var_names;
  builder.fields["X"] =
      ModelBuilder::Field({{p::Str("mod_key"), p::Str("rna")}},
                          {{p::Str("column_names"), genes}, {p::Str("n_vars"), p::Int(5)}});
  builder.var_names =
      p::Dict({{p::Str("rna"), genes}, {p::Str("protein"), p::StrArray({"CD3", "CD4"})}});
  EXPECT_EQ(Describe(builder).genes[4], "gene4");
  // Before 1.2: the names of all modalities in one array.
  builder.var_names = p::StrArray({"CD3", "gene0", "gene1", "gene2", "gene3", "gene4"});
  EXPECT_EQ(Describe(builder).genes[0], "gene0");
}

TEST(SavedModelTest, FilesWithoutTheirParts) {
  for (const char* key : {"model_state_dict", "attr_dict", "var_names"}) {
    ModelBuilder builder;
    builder.root[key] = p::None();
    const auto model = Read(builder.File());
    EXPECT_FALSE(model.ok()) << key;
  }
}

TEST(SavedModelTest, OtherClassesInThePickleDoNoHarm) {
  ModelBuilder builder;
  builder.root["history_"] = p::Build(
      p::Global("pandas.core.frame", "DataFrame") + ")\x81",
      p::Dict({{p::Str("_mgr"), p::Call(p::Global("pandas.core.indexes.numeric", "Int64Index"),
                                        {p::Int64Array({1, 2})})}}));
  EXPECT_EQ(Error(builder), "(read)");
}

TEST(SavedModelTest, ReadsFromADirectory) {
  const TempDirectory directory;
  const std::string bytes = ModelBuilder().File();
  directory.Write("model.pt", bytes);
  const auto model = ReadSavedModel(directory.path(), ModelClass::kScvi);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->digest, Sha256Hex(bytes));
}

TEST(SavedModelTest, TensorsThatNothingReadsAreRefused) {
  ModelBuilder builder;
  builder.tensors["z_encoder.encoder.fc_layers.Layer 0.1.num_batches_tracked"] = {};
  EXPECT_EQ(Error(builder), "(read)");
  builder.tensors["adversary.weight"] = {2, 2};
  EXPECT_THAT(Error(builder), HasSubstr("'adversary.weight' belongs to no network of a SCVI"));
}

TEST(SavedModelTest, DirectoriesWithoutAModel) {
  const TempDirectory directory;
  EXPECT_EQ(ReadSavedModel(directory.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadSavedModel(directory.path() + "/none").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(SavedModelTest, LimitsAreKept) {
  const TempDirectory directory;
  directory.Write("model.pt", ModelBuilder().File());
  ArchiveLimits limits;
  limits.max_file_bytes = 100;
  EXPECT_THAT(ReadSavedModel(directory.path(), std::nullopt, limits).status().message(),
              HasSubstr("more than the limit of 100"));
  limits = {};
  limits.max_objects = 100;
  EXPECT_THAT(ReadSavedModel(directory.path(), std::nullopt, limits).status().message(),
              HasSubstr("more than the limit of 100 objects"));
}

TEST(SavedModelTest, DeflatedFilesRead) {
  ModelBuilder builder;
  builder.deflate = true;
  EXPECT_EQ(Error(builder), "(read)");
}

TEST(SavedModelTest, EveryTruncationIsAnError) {
  const std::string bytes = ModelBuilder(ModelBuilder::kScvi, 2, 1).File();
  ASSERT_TRUE(Read(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(Read(bytes.substr(0, size)).ok()) << size;
  }
}

TEST(SavedModelTest, ChangedBytesOfThePickleNeverHarm) {
  // Without checksums, so that the changes reach the readers behind them.
  const ModelBuilder builder(ModelBuilder::kScanvi, 2, 1);
  const std::string pickle = builder.Pickle();
  const std::string whole = builder.File();
  const size_t start = whole.find(pickle);
  ASSERT_NE(start, std::string::npos);
  const auto file = SharedBytes::CopyOf(whole);
  const auto zip = ZipReader::Open(file);
  ASSERT_TRUE(zip.ok());
  const uint32_t crc = zip->FindSuffix("/data.pkl")->crc32;
  std::string unchecked = whole;
  for (size_t at = 0; (at = unchecked.find(p::Little(crc, 4), at)) != std::string::npos;) {
    unchecked.replace(at, 4, std::string(4, '\0'));
  }
  size_t read = 0;
  for (size_t at = start; at < start + pickle.size(); at += 3) {
    std::string changed = unchecked;
    changed[at] = static_cast<char>(changed[at] ^ (1 << (at % 8)));
    if (Read(changed).ok()) ++read;
  }
  EXPECT_LT(read, pickle.size() / 3);  // some changes are of text that nobody checks
}

TEST(ModelDescriptionTest, Versions) {
  EXPECT_EQ(ParseScviVersion("1.4.2"), (ScviVersion{1, 4, 2}));
  EXPECT_EQ(ParseScviVersion("0.15"), (ScviVersion{0, 15, 0}));
  EXPECT_EQ(ParseScviVersion("1.5.0.post1"), (ScviVersion{1, 5, 0}));
  EXPECT_EQ(ParseScviVersion("1.2.0rc1"), (ScviVersion{1, 2, 0}));
  EXPECT_EQ(ParseScviVersion(""), ScviVersion{});
  EXPECT_EQ(ParseScviVersion("latest"), ScviVersion{});
  EXPECT_EQ(ParseScviVersion("99999999999.1"), ScviVersion{});
  EXPECT_LT(ParseScviVersion("1.3.0"), ParseScviVersion("1.3.1"));
  EXPECT_LT(ParseScviVersion("0.20.3"), ParseScviVersion("1.0.0"));
}

}  // namespace
}  // namespace portolan
