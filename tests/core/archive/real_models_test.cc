// Models as scvi-tools 0.15 to 1.4 saved them. The expected values were read with Python.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "core/archive/saved_model.h"
#include "tests/paths.h"

namespace portolan {
namespace {

using testing::HasSubstr;

std::string DataDirectory() {
  const char* named = std::getenv("PORTOLAN_TEST_DATA");
  return named != nullptr ? named : SourceDir() + "/../shared/data";
}

struct Expected {
  std::string name;
  std::string digest;  // its start
  ModelClass model_class;
  std::string version;
  int64_t genes, batches, labels, hidden, latent, layers;
  std::string batch_key, labels_key, layer, first_gene, last_gene;
  bool encode, deep, batch_norm, layer_norm;
  double dropout;
  GeneLikelihood likelihood;
  int64_t proteins;
  size_t tensors;
  // One tensor: first, middle and last value and the sum of all.
  std::string key;
  std::vector<int64_t> shape;
  std::array<float, 3> values;
  double sum;
};

std::ostream& operator<<(std::ostream& out, const Expected& expected) {
  return out << expected.name;
}

using enum ModelClass;
using enum GeneLikelihood;

const std::vector<Expected>& Models() {
  static const auto& models = *new std::vector<Expected>{
      {"cite_totalvi",
       "764780406e34efc8",
       kTotalvi,
       "1.4.2",
       4000,
       1,
       1,
       256,
       20,
       2,
       "batch",
       "",
       "",
       "AL645608.8",
       "AC240274.1",
       true,
       true,
       false,
       true,
       0.2,
       kNb,
       14,
       39,
       "encoder.encoder.fc_layers.Layer 0.0.weight",
       {256, 4014},
       {-0.010355737991631031f, 0.006666769739240408f, 0.04646539315581322f},
       579.5991446112932},
      {"heart_scvi_nocov",
       "e9d7f825f83057c3",
       kScvi,
       "0.16.2",
       1200,
       1,
       1,
       128,
       10,
       1,
       "",
       "",
       "counts",
       "ISG15",
       "MT-ND4",
       false,
       true,
       true,
       false,
       0.1,
       kZinb,
       0,
       36,
       "px_r",
       {1200},
       {0.17473667860031128f, -0.6575926542282104f, 0.9766528010368347f},
       444.59690666384995},
      {"kang_scanvi",
       "b71338a638139b53",
       kScanvi,
       "1.4.2",
       1287,
       4,
       8,
       128,
       20,
       2,
       "batch",
       "cell_type",
       "",
       "ENSG00000187608",
       "ENSG00000160310",
       true,
       true,
       false,
       true,
       0.2,
       kZinb,
       0,
       48,
       "classifier.classifier.1.weight",
       {8, 128},
       {-0.0847952589392662f, -0.0789497047662735f, -0.14483073353767395f},
       -33.34075587330153},
      {"kang_scvi",
       "0567ae27e5ff688c",
       kScvi,
       "1.4.2",
       1287,
       4,
       8,
       128,
       20,
       2,
       "batch",
       "cell_type",
       "",
       "ENSG00000187608",
       "ENSG00000160310",
       true,
       true,
       false,
       true,
       0.2,
       kZinb,
       0,
       25,
       "decoder.px_scale_decoder.0.weight",
       {1287, 128},
       {-0.03567075729370117f, -0.06253102421760559f, 0.003519064048305154f},
       -2586.8671092226746},
      {"kang_scgen_control_scvi",
       "32a9a55b8b1c201f",
       kScvi,
       "1.4.2",
       2000,
       1,
       1,
       128,
       20,
       2,
       "batch",
       "",
       "",
       "NOC2L",
       "ITGB2",
       true,
       true,
       false,
       true,
       0.2,
       kZinb,
       0,
       25,
       "px_r",
       {2000},
       {-0.5398324728012085f, 0.5866374373435974f, -0.40695294737815857f},
       494.866819435847},
      {"pancreas_scanvi_3batch",
       "df644cd9f0ef0c18",
       kScanvi,
       "0.16.1",
       1000,
       3,
       8,
       128,
       10,
       2,
       "study",
       "cell_type",
       "",
       "COL3A1",
       "IL10",
       true,
       false,
       false,
       true,
       0.1,
       kZinb,
       0,
       48,
       "encoder_z2_z1.mean_encoder.bias",
       {10},
       {-0.05910657346248627f, -0.032900307327508926f, 0.06883624941110611f},
       0.16198803298175335},
      {"pancreas_scvi_3batch",
       "ad9dca977ba8b16c",
       kScvi,
       "0.16.1",
       1000,
       3,
       8,
       128,
       10,
       2,
       "study",
       "cell_type",
       "",
       "COL3A1",
       "IL10",
       true,
       false,
       false,
       true,
       0.1,
       kZinb,
       0,
       25,
       "z_encoder.encoder.fc_layers.Layer 0.0.weight",
       {128, 1003},
       {-0.00046708915033377707f, -0.15450096130371094f, 0.10779936611652374f},
       188.99610671250593},
      {"pbmc68k_scvi_v133",
       "5383d532186a1775",
       kScvi,
       "1.3.3",
       309,
       3,
       1,
       128,
       10,
       1,
       "batch",
       "",
       "",
       "HES4",
       "S100B",
       false,
       true,
       true,
       false,
       0.1,
       kZinb,
       0,
       36,
       "decoder.px_r_decoder.weight",
       {309, 128},
       {-0.03251482918858528f, -0.048802729696035385f, -0.005419568158686161f},
       9.619906487845185},
      {"scanvi_v103",
       "3f8b8221ceaa530e",
       kScanvi,
       "1.0.3",
       100,
       1,
       2,
       128,
       10,
       1,
       "",
       "labels",
       "",
       "0",
       "99",
       false,
       true,
       true,
       false,
       0.1,
       kZinb,
       0,
       68,
       "decoder_z1_z2.var_decoder.bias",
       {10},
       {0.07177915424108505f, -0.049356576055288315f, -0.042749885469675064f},
       0.1327761597931385},
      {"scvi_v0150",
       "f122a9609aff94dd",
       kScvi,
       "0.15.5",
       100,
       2,
       3,
       128,
       10,
       1,
       "batch",
       "labels",
       "",
       "0",
       "99",
       false,
       true,
       true,
       false,
       0.1,
       kZinb,
       0,
       36,
       "px_r",
       {100},
       {-1.1229466199874878f, 1.056849479675293f, 0.23569656908512115f},
       3.8352721938863397},
      {"scvi_v080_legacy",
       "fb7223f2280b4ac2",
       kScvi,
       "0.0.0",
       100,
       2,
       3,
       128,
       10,
       1,
       "batch",
       "labels",
       "",
       "0",
       "99",
       false,
       true,
       true,
       false,
       0.1,
       kZinb,
       0,
       36,
       "z_encoder.mean_encoder.weight",
       {10, 128},
       {-0.019586049020290375f, -0.03506708890199661f, -0.04997013881802559f},
       1.8663729137915652},
      {"totalvi_v080_legacy",
       "e3c2ff97be9cdf63",
       kTotalvi,
       "0.0.0",
       100,
       2,
       1,
       256,
       20,
       2,
       "batch",
       "",
       "",
       "0",
       "99",
       true,
       true,
       true,
       false,
       0.2,
       kNb,
       100,
       73,
       "background_pro_alpha",
       {100, 2},
       {1.931928277015686f, 1.931938886642456f, 1.9838411808013916f},
       391.5776435136795},
      {"totalvi_v115",
       "dbcf99750342f961",
       kTotalvi,
       "1.1.5",
       100,
       2,
       1,
       256,
       20,
       2,
       "batch",
       "",
       "",
       "gene_0",
       "gene_99",
       true,
       true,
       true,
       false,
       0.2,
       kNb,
       100,
       73,
       "py_r",
       {100},
       {0.7471259236335754f, 0.5417357087135315f, 1.123605728149414f},
       92.71644380688667},
      {"totalvi_v132",
       "fe927619099a2e58",
       kTotalvi,
       "1.3.2",
       100,
       2,
       1,
       256,
       10,
       2,
       "batch",
       "",
       "",
       "gene_0",
       "gene_99",
       true,
       true,
       true,
       false,
       0.2,
       kNb,
       100,
       74,
       "log_per_batch_efficiency",
       {100, 2},
       {0, 0, 0},
       0},
  };
  return models;
}

class RealModelTest : public testing::TestWithParam<Expected> {
 protected:
  void SetUp() override {
    directory_ = DataDirectory() + "/models/" + GetParam().name;
    if (!std::filesystem::exists(directory_)) {
      GTEST_SKIP() << "no test data: models/" << GetParam().name
                   << " (set PORTOLAN_TEST_DATA to the folder that holds models/)";
    }
  }
  std::string directory_;
};

TEST_P(RealModelTest, IsDescribed) {
  const Expected& e = GetParam();
  const auto model = ReadSavedModel(directory_);
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelDescription& d = model->description;
  const Architecture& a = d.architecture;
  EXPECT_EQ(model->digest.substr(0, e.digest.size()), e.digest);
  EXPECT_EQ(d.model_class, e.model_class);
  EXPECT_EQ(d.scvi_version, e.version);
  ASSERT_EQ(d.genes.size(), static_cast<size_t>(e.genes));
  EXPECT_EQ(d.genes.front(), e.first_gene);
  EXPECT_EQ(d.genes.back(), e.last_gene);
  EXPECT_EQ(d.batches.original_key, e.batch_key);
  EXPECT_EQ(d.batches.categories.size(), static_cast<size_t>(e.batches));
  EXPECT_EQ(d.labels.original_key, e.labels_key);
  EXPECT_EQ(d.labels.categories.size(), static_cast<size_t>(e.labels));
  EXPECT_EQ(d.layer, e.layer);
  EXPECT_EQ(d.proteins.size(), static_cast<size_t>(e.proteins));
  EXPECT_EQ(a.n_genes, e.genes);
  EXPECT_EQ(a.n_batch, e.batches);
  EXPECT_EQ(a.n_labels, e.labels);
  EXPECT_EQ(a.n_hidden, e.hidden);
  EXPECT_EQ(a.n_latent, e.latent);
  EXPECT_EQ(a.n_layers, e.layers);
  EXPECT_EQ(a.encode_covariates, e.encode);
  EXPECT_EQ(a.deeply_inject_covariates, e.deep);
  EXPECT_EQ(a.batch_norm.encoder, e.batch_norm);
  EXPECT_EQ(a.batch_norm.decoder, e.batch_norm);
  EXPECT_EQ(a.layer_norm.encoder, e.layer_norm);
  EXPECT_EQ(a.layer_norm.decoder, e.layer_norm);
  EXPECT_EQ(a.dropout_rate, e.dropout);
  EXPECT_EQ(a.gene_likelihood, e.likelihood);
  EXPECT_EQ(a.dispersion, Dispersion::kGene);
  EXPECT_TRUE(a.use_observed_lib_size);
  EXPECT_FALSE(a.has_size_factor || a.batch_embedding || a.linear_classifier);
}

TEST_P(RealModelTest, HasItsTensors) {
  const Expected& e = GetParam();
  const auto model = ReadSavedModel(directory_, e.model_class);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->tensors.size(), e.tensors);
  const auto found = model->tensors.find(e.key);
  ASSERT_NE(found, model->tensors.end()) << e.key;
  EXPECT_EQ(found->second.shape(), e.shape);
  const auto values = found->second.floats();
  EXPECT_EQ(values.front(), e.values[0]);
  EXPECT_EQ(values[values.size() / 2], e.values[1]);
  EXPECT_EQ(values.back(), e.values[2]);
  double sum = 0;
  for (const float value : values) sum += value;
  EXPECT_NEAR(sum, e.sum, 1e-9 * std::max(1.0, std::abs(e.sum)));
}

INSTANTIATE_TEST_SUITE_P(All, RealModelTest, testing::ValuesIn(Models()),
                         [](const auto& model) { return model.param.name; });

absl::StatusOr<SavedModel> Model(const std::string& name) {
  return ReadSavedModel(DataDirectory() + "/models/" + name);
}

class RealModelsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(DataDirectory() + "/models")) {
      GTEST_SKIP() << "no test data: models/ (set PORTOLAN_TEST_DATA to the folder that holds it)";
    }
  }
};

TEST_F(RealModelsTest, CategoriesKeepTheirOrder) {
  const auto pancreas = Model("pancreas_scanvi_3batch");
  ASSERT_TRUE(pancreas.ok());
  EXPECT_THAT(pancreas->description.batches.categories,
              testing::ElementsAre("Pancreas CelSeq", "Pancreas Fluidigm C1", "Pancreas inDrop"));
  EXPECT_EQ(pancreas->description.labels.categories.back(), "Pancreas Stellate");
  EXPECT_EQ(pancreas->description.unlabeled_category, "Unknown");
  const auto synthetic = Model("scanvi_v103");
  ASSERT_TRUE(synthetic.ok());
  EXPECT_THAT(synthetic->description.labels.categories, testing::ElementsAre("label_2", "label_1"));
  EXPECT_EQ(synthetic->description.unlabeled_category, "label_0");
  const auto pbmc = Model("pbmc68k_scvi_v133");
  ASSERT_TRUE(pbmc.ok());
  EXPECT_THAT(pbmc->description.batches.categories, testing::ElementsAre("0", "1", "2"));
}

TEST_F(RealModelsTest, ProteinsAreDescribed) {
  struct Case {
    const char* name;
    TotalviVariant variant;
    int64_t proteins, batches;
    const char *first, *last;
  };
  for (const Case& c :
       {Case{"cite_totalvi", TotalviVariant::kCellMean, 14, 1, "CD127_TotalSeqB",
             "TIGIT_TotalSeqB"},
        Case{"totalvi_v132", TotalviVariant::kCellMean, 100, 2, "protein_0", "protein_99"},
        Case{"totalvi_v115", TotalviVariant::kExp, 100, 2, "protein_0", "protein_99"},
        Case{"totalvi_v080_legacy", TotalviVariant::kExp, 100, 2, "0", "99"}}) {
    const auto model = Model(c.name);
    ASSERT_TRUE(model.ok()) << model.status();
    const ModelDescription& d = model->description;
    ASSERT_TRUE(d.architecture.proteins.has_value());
    const ProteinArchitecture& a = *d.architecture.proteins;
    EXPECT_EQ(a.variant, c.variant) << c.name;
    EXPECT_EQ(a.n_proteins, c.proteins);
    EXPECT_EQ(a.n_priors, c.batches);
    EXPECT_EQ(a.n_layers_decoder, 1);
    EXPECT_EQ(a.dropout_decoder, 0.2);
    EXPECT_EQ(a.dispersion, ProteinDispersion::kProtein);
    EXPECT_EQ(a.has_efficiency, c.variant == TotalviVariant::kCellMean);
    EXPECT_TRUE(a.empirical_prior);
    EXPECT_FALSE(a.prior_per_panel || a.override_missing || a.adversarial_classifier);
    EXPECT_EQ(d.proteins.front(), c.first);
    EXPECT_EQ(d.proteins.back(), c.last);
    EXPECT_EQ(d.proteins_key, "protein_expression");
    EXPECT_TRUE(d.protein_masks.empty());
  }
}

TEST_F(RealModelsTest, CountersAreIntegers) {
  const auto heart = Model("heart_scvi_nocov");
  ASSERT_TRUE(heart.ok());
  const HostTensor& counter =
      heart->tensors.at("z_encoder.encoder.fc_layers.Layer 0.1.num_batches_tracked");
  ASSERT_EQ(counter.dtype(), DType::kInt64);
  EXPECT_EQ(counter.ints()[0], 52800);
}

}  // namespace
}  // namespace portolan
