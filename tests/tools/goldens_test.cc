#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "tests/core/model/model_fixtures.h"
#include "tests/paths.h"
#include "tools/goldens/golden_file.h"
#include "tools/goldens/replay.h"

namespace portolan {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::Contains;
using testing::HasSubstr;

const std::string kRoot = SourceDir();
constexpr char kFirst[] = "fc_layers.Layer 0.0.weight";

/// A golden file and what it belongs to.
struct Golden {
  std::string name;
  std::string model;
  std::string file;
  std::string counts;
  std::vector<std::string> items;  ///< must be in the report, beside those of every golden
};

std::string Column(const std::string& path) { return absl::StrCat("col:", path, ".", kFirst); }

Golden Demo() {
  return {"pbmc_demo",
          kRoot + "/demo/atlases/pbmc_demo",
          kRoot + "/demo/golden/pbmc_demo__query.h5",
          kRoot + "/demo/data/query.h5ad",
          {"probs", "step0_reconstruction_loss", "step0_kl_local", Column("decoder.px_decoder"),
           Column("z_encoder.encoder")}};
}

// What a variant's golden must compare beyond what all of them do.
std::vector<std::string> ItemsOf(const std::string& variant, const std::string& file) {
  std::vector<std::string> items = {"step0_reconstruction_loss"};
  const bool scanvi = absl::StartsWith(variant, "scanvi");
  items.push_back(scanvi ? "step0_kl_local" : "step0_kl_divergence");
  if (scanvi) items.push_back("probs");
  const auto add = [&](const std::string& stack, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
      const std::string kind = absl::StrContains(name, "running") ? "buffer:" : "param:";
      items.push_back(absl::StrCat(kind, stack, ".fc_layers.Layer ", name));
    }
  };
  const std::vector<std::string> norm = {"0.1.weight", "0.1.bias", "0.1.running_mean",
                                         "0.1.running_var"};
  const bool flags = file == "golden_flags.h5";
  if (variant == "scanvi_batchnorm") {
    add("classifier.classifier.0", norm);
    add("decoder_z1_z2.decoder", norm);
  }
  const bool normalised =
      absl::StrContains(variant, "batchnorm") || variant == "scvi_bn_ln_encoded";
  if (file == "golden_compat.h5") {  // columns stand elsewhere: weights are compared whole
    add("decoder.px_decoder", {"0.0.weight"});
    add("z_encoder.encoder", {"0.0.weight"});
  } else if (variant == "scvi_embedding") {
    items.push_back("col:_embeddings_dict.batch.weight");
  } else {
    items.push_back(Column("decoder.px_decoder"));
    if (!normalised) items.push_back(Column("z_encoder.encoder"));
  }
  if (normalised) add(flags ? "z_encoder.encoder" : "decoder.px_decoder", norm);
  if (flags) add("z_encoder.encoder", {"0.0.weight", "0.0.bias"});
  if (absl::StartsWith(variant, "scvi_latent_library")) {
    items.insert(items.end(),
                 {"col:library_log_means", "col:library_log_vars",
                  "param:l_encoder.mean_encoder.weight", "param:l_encoder.var_encoder.weight"});
    add("l_encoder.encoder", {"0.0.weight", "0.0.bias"});
  }
  if (variant == "scvi_nb_genebatch") items.push_back("col:px_r");
  if (absl::EndsWith(variant, "_ln")) items.push_back("latent_representation");
  if (file == "golden_unfrozen.h5" || file == "golden_wd.h5") {
    add("decoder.px_decoder", {"0.0.weight", "0.0.bias"});
    add("z_encoder.encoder", {"0.0.weight", "0.0.bias"});
  }
  if (file == "golden_unfrozen.h5") {
    items.insert(items.end(), {"param:px_r", "param:decoder.px_scale_decoder.0.weight",
                               "param:z_encoder.mean_encoder.weight"});
    if (scanvi) add("encoder_z2_z1.encoder", {"0.0.weight"});
  }
  if (variant == "scanvi_covariates" && file != "golden.h5") {
    items.push_back("param:classifier.classifier.1.weight");
    add("decoder.px_decoder", {"0.0.weight"});
  }
  return items;
}

const std::vector<std::string> kTotalviItems = {"step0_reconst_loss_gene",
                                                "step0_reconst_loss_protein",
                                                "step0_kl_divergence",
                                                "col:background_pro_alpha",
                                                "col:background_pro_log_beta",
                                                Column("decoder.px_decoder"),
                                                Column("decoder.px_scale_decoder"),
                                                Column("decoder.py_back_mean_log_beta"),
                                                Column("decoder.py_background_decoder")};

// Models of genes and proteins; golden_missing.h5 is of the query without proteins.
void AddProteinModels(std::vector<Golden>& goldens) {
  const std::string folder = kRoot + "/tests/data/proteins";
  std::vector<std::string> items = kTotalviItems;
  items.insert(items.end(), {"expression_genes", "expression_proteins", "expression_foreground"});
  for (const char* name : {"totalvi_latent_library", "totalvi_missing", "totalvi_nb",
                           "totalvi_one_batch", "totalvi_plain", "totalvi_zinb_batchnorm"}) {
    for (const auto& [file, counts] :
         {std::pair{"golden", "counts.h5ad"}, std::pair{"golden_missing", "without.h5ad"}}) {
      const std::string path = absl::StrCat(folder, "/", name, "/", file, ".h5");
      if (!fs::exists(path)) continue;
      goldens.push_back({TestNameOf(absl::StrCat(name, "_", file)), absl::StrCat(folder, "/", name),
                         path, absl::StrCat(folder, "/", counts), items});
    }
  }
}

std::vector<Golden> Committed() {
  std::vector<Golden> goldens = {Demo()};
  AddProteinModels(goldens);
  for (const std::string& variant : VariantNames()) {
    for (const auto& entry : fs::directory_iterator(VariantDirectory(variant))) {
      const fs::path& path = entry.path();
      if (path.extension() != ".h5") continue;
      goldens.push_back({TestNameOf(absl::StrCat(variant, "_", path.stem().string())),
                         VariantDirectory(variant), path.string(), VariantCountsPath(),
                         ItemsOf(variant, path.filename().string())});
    }
  }
  return goldens;
}

// Real models, in the shared test data: paths below its root.
std::vector<Golden> Shared() {
  const auto golden = [](const std::string& model, const std::string& query,
                         const std::string& counts, const std::vector<std::string>& items) {
    return Golden{absl::StrCat(model, "_", query), "models/" + model,
                  absl::StrCat("goldens/", model, "__", query, ".h5"), "counts/" + counts, items};
  };
  const std::string decoder = Column("decoder.px_decoder");
  const std::string encoder = Column("z_encoder.encoder");
  const std::string deep = "col:z_encoder.encoder.fc_layers.Layer 1.0.weight";
  return {golden("kang_scvi", "kang_query", "split_kang_query_4donors.h5ad",
                 {decoder, encoder, deep, "step0_reconstruction_loss", "step0_kl_divergence"}),
          golden("kang_scanvi", "kang_query", "split_kang_query_4donors.h5ad",
                 {decoder, encoder, deep, "step0_reconstruction_loss", "step0_kl_local", "probs"}),
          golden("pancreas_scvi_3batch", "kang_scgen", "kang_scgen_valid_counts_1975.h5ad",
                 {decoder, encoder}),
          golden("pancreas_scanvi_3batch", "kang_scgen", "kang_scgen_valid_counts_1975.h5ad",
                 {decoder, encoder, "probs"}),
          golden("cite_totalvi", "cite_first1024", "pbmc10k_cite_6855.h5ad", kTotalviItems),
          golden("cite_totalvi", "pbmc5k_rna", "pbmc5k_rna_3994.h5ad", kTotalviItems)};
}

void ExpectReplayed(const Golden& golden) {
  const auto report = ReplayGolden(golden.model, golden.file, golden.counts);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->ok());
  std::vector<std::string> names;
  for (const GoldenItem& item : report->items) {
    names.push_back(item.name);
    EXPECT_TRUE(item.ok()) << item.name << ": " << item.largest_error << " beyond "
                           << item.tolerance;
    EXPECT_GT(item.tolerance, 0) << item.name;
    // scvi-tools' own float32 error in the proteins' term is beyond 1e-4.
    const double bound = item.name == "step0_reconst_loss_protein" ? 2e-4
                         : item.name == "latent_representation"    ? 4e-3  // drawn by scvi-tools
                                                                   : 1e-4;
    EXPECT_LE(item.tolerance, bound) << item.name;
  }
  for (const char* name : {"latent_mean", "latent_var", "surgery_losses", "surgery_latent_before",
                           "surgery_latent_after"}) {
    EXPECT_THAT(names, Contains(name));
  }
  for (const std::string& name : golden.items) EXPECT_THAT(names, Contains(name));
  // Nothing but an unused library encoder and, without zinb, TOTALVI's dropout head may be left
  // uncompared.
  for (const std::string& line : report->skipped) {
    EXPECT_THAT(line, AnyOf(HasSubstr("l_encoder"), HasSubstr("l_gene_encoder"),
                            HasSubstr("px_dropout_decoder_gene")));
  }
  // Every tensor of the file is either compared or named as skipped.
  const GoldenFile file = ReadGolden(golden.file).value();
  for (const auto& [name, array] : file.arrays) {
    if (!absl::StartsWith(name, "col:") && !absl::StartsWith(name, "param:") &&
        !absl::StartsWith(name, "buffer:")) {
      continue;
    }
    EXPECT_TRUE(testing::Value(names, Contains(name)) ||
                testing::Value(report->skipped, Contains(HasSubstr(name))))
        << name;
  }
}

class CommittedGolden : public testing::TestWithParam<Golden> {};

TEST_P(CommittedGolden, IsReplayed) { ExpectReplayed(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Goldens, CommittedGolden, testing::ValuesIn(Committed()),
                         [](const auto& test) { return test.param.name; });

class SharedGolden : public testing::TestWithParam<Golden> {};

TEST_P(SharedGolden, IsReplayed) {
  Golden golden = GetParam();
  for (std::string* path : {&golden.model, &golden.file, &golden.counts}) {
    const std::string found = SharedDataPath(*path);
    if (found.empty()) GTEST_SKIP() << "no shared test data: " << *path;
    *path = found;
  }
  ExpectReplayed(golden);
}

INSTANTIATE_TEST_SUITE_P(Goldens, SharedGolden, testing::ValuesIn(Shared()),
                         [](const auto& test) { return test.param.name; });

/// A copy of the demo's golden file that may be spoiled.
class TamperedGolden : public testing::Test {
 protected:
  TamperedGolden() {
    fs::copy_file(golden_.file, path_, fs::copy_options::overwrite_existing);
    golden_.file = path_;
  }
  ~TamperedGolden() override { fs::remove(path_); }

  // Adds to the first value of a dataset.
  void Spoil(const char* dataset, double by) {
    const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t data = H5Dopen2(file, dataset, H5P_DEFAULT);
    const hid_t space = H5Dget_space(data);
    std::vector<double> values(static_cast<size_t>(H5Sget_simple_extent_npoints(space)));
    ASSERT_GE(H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    values[0] += by;
    ASSERT_GE(H5Dwrite(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
    H5Sclose(space);
    H5Dclose(data);
    ASSERT_GE(H5Fclose(file), 0);
  }

  void Remove(const char* dataset) {
    const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(H5Ldelete(file, dataset, H5P_DEFAULT), 0);
    ASSERT_GE(H5Fclose(file), 0);
  }

  absl::StatusOr<GoldenReport> Replay() const {
    return ReplayGolden(golden_.model, golden_.file, golden_.counts);
  }

  std::string path_ = TempPath("golden.h5");
  Golden golden_ = Demo();
};

TEST_F(TamperedGolden, AnUntouchedCopyIsReplayed) { ExpectReplayed(golden_); }

TEST_F(TamperedGolden, AnyChangedNumberIsBeyondItsTolerance) {
  struct Change {
    const char* dataset;
    double by;
  };
  const Change changes[] = {{"latent_mean", 1e-3},
                            {"latent_var", -1e-3},
                            {"probs", 1e-3},
                            {"surgery_latent_before", 1e-3},
                            {"surgery_latent_after", 1e-3},
                            {"surgery_losses", 0.1},
                            {"step0_kl_local", 0.1},
                            {"latent_mean", std::nan("")},
                            {"col:decoder.px_decoder.fc_layers.Layer 0.0.weight", 1e-3}};
  for (const Change& change : changes) {
    fs::copy_file(Demo().file, path_, fs::copy_options::overwrite_existing);
    Spoil(change.dataset, change.by);
    const auto report = Replay();
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_FALSE(report->ok()) << change.dataset;
    for (const GoldenItem& item : report->items) {
      EXPECT_EQ(item.ok(), item.name != change.dataset) << item.name;
    }
  }
}

TEST_F(TamperedGolden, AFileThatComparesNothingIsNotOk) {
  GoldenReport report;
  EXPECT_FALSE(report.ok());
  report.items.push_back({"latent_mean", 0, 1e-5, false});
  EXPECT_TRUE(report.ok());
  report.items.push_back({"latent_var", 1, 1e-5, false});
  EXPECT_FALSE(report.ok());
}

TEST_F(TamperedGolden, AShorterLatentIsBeyondItsTolerance) {
  Remove("latent_mean");
  const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  const hsize_t extent = 3;
  const hid_t space = H5Screate_simple(1, &extent, nullptr);
  const hid_t data =
      H5Dcreate2(file, "latent_mean", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dclose(data);
  H5Sclose(space);
  H5Fclose(file);
  const auto report = Replay();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(report->ok());
}

TEST_F(TamperedGolden, ImpossibleNumbersOfCellsAreRefused) {
  for (const double by : {1e6, -1e6}) {
    fs::copy_file(Demo().file, path_, fs::copy_options::overwrite_existing);
    Spoil("surgery_cells", by);
    EXPECT_EQ(Replay().status().code(), absl::StatusCode::kInvalidArgument) << by;
  }
  fs::copy_file(Demo().file, path_, fs::copy_options::overwrite_existing);
  Spoil("surgery_minibatch", -128);
  EXPECT_EQ(Replay().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(TamperedGolden, AFileWithoutGenesIsRefused) {
  Remove("genes");
  EXPECT_FALSE(Replay().ok());
}

TEST(ReplayGoldenTest, AGoldenOfAnotherModelIsRefused) {
  Golden golden = Demo();
  golden.model = VariantDirectory("scvi_poisson");
  const absl::Status status = ReplayGolden(golden.model, golden.file, golden.counts).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(GetFieldViolation(status).has_value());
  EXPECT_EQ(GetFieldViolation(status)->field, "golden");
}

TEST(ReplayGoldenTest, OtherCountsAreRefused) {
  const Golden golden = Demo();
  const absl::Status status = ReplayGolden(golden.model, golden.file, VariantCountsPath()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
}

TEST(ReplayGoldenTest, AnotherModelOfTheSameGenesIsNotOk) {
  const auto report =
      ReplayGolden(VariantDirectory("scvi_poisson"), VariantDirectory("scvi_nolog") + "/golden.h5",
                   VariantCountsPath());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(report->ok());
}

TEST(ReplayGoldenTest, MissingFilesAreNotFound) {
  const Golden golden = Demo();
  EXPECT_FALSE(ReplayGolden(TempPath("none"), golden.file, golden.counts).ok());
  EXPECT_FALSE(ReplayGolden(golden.model, TempPath("none"), golden.counts).ok());
  EXPECT_FALSE(ReplayGolden(golden.model, golden.file, TempPath("none")).ok());
}

/// The program itself.
class GoldensProgram : public TamperedGolden {
 protected:
  ~GoldensProgram() override { fs::remove(output_); }

  int Run(const std::vector<std::string>& arguments) {
    std::string command = BinaryDir() + "/bin/portolan-goldens";
    for (const std::string& argument : arguments) absl::StrAppend(&command, " '", argument, "'");
    const int status = std::system(absl::StrCat(command, " > '", output_, "' 2>&1").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string Output() const {
    std::ifstream in(output_);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::string output_ = TempPath("output");
};

TEST_F(GoldensProgram, ExitsWithZeroWithinTolerance) {
  EXPECT_EQ(Run({golden_.model, golden_.file, golden_.counts}), 0) << Output();
  EXPECT_THAT(Output(), HasSubstr("all within tolerance"));
  EXPECT_THAT(Output(), HasSubstr("surgery_losses"));
}

TEST_F(GoldensProgram, ExitsWithOneBeyondIt) {
  Spoil("latent_mean", 0.5);
  EXPECT_EQ(Run({golden_.model, golden_.file, golden_.counts}), 1);
  EXPECT_THAT(Output(), HasSubstr("BEYOND"));
  EXPECT_THAT(Output(), HasSubstr("NOT within tolerance"));
}

TEST_F(GoldensProgram, ExitsWithOneWhenItCannotCompare) {
  EXPECT_EQ(Run({TempPath("none"), golden_.file, golden_.counts}), 1);
  EXPECT_THAT(Output(), HasSubstr("error:"));
}

TEST_F(GoldensProgram, ExitsWithTwoWhenCalledWrongly) {
  EXPECT_EQ(Run({}), 2);
  EXPECT_EQ(Run({golden_.model, golden_.file}), 2);
  EXPECT_THAT(Output(), HasSubstr("usage:"));
}

}  // namespace
}  // namespace portolan
