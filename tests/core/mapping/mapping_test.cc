#include "core/mapping/mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/base/field_error.h"
#include "core/mapping/plan.h"
#include "tests/core/mapping/mapping_fixture.h"

namespace portolan {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class MappingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto atlas = Atlas::Open("pbmc_demo", SourcePath("demo/atlases/pbmc_demo"), "");
    ASSERT_TRUE(atlas.ok()) << atlas.status();
    atlas_ = *std::move(atlas);
    auto query =
        ReadQuery(SourcePath("demo/data/query.h5ad"), "batch", atlas_->description().genes, 450);
    ASSERT_TRUE(query.ok()) << query.status();
    query_ = *std::move(query);
    options_.epochs = 3;
    options_.seed = 7;
  }

  absl::StatusOr<MappingResult> Map(const Query& query, const MappingOptions& options,
                                    MappingEnvironment environment = {}) {
    if (environment.executor == nullptr) environment.executor = &inline_;
    return RunMapping(*atlas_, atlas_->reference(), query, options, environment);
  }

  InlineExecutor inline_;
  std::unique_ptr<Atlas> atlas_;
  Query query_;
  MappingOptions options_;
};

TEST_F(MappingTest, GivesTheSameBitsOnAnyExecutorAndInAnyOrderOfCells) {
  for (const Strategy strategy : {Strategy::kIndependent, Strategy::kJoint, Strategy::kChain}) {
    options_.strategy = strategy;
    const auto first = Map(query_, options_);
    ASSERT_TRUE(first.ok()) << first.status();
    std::vector<int64_t> rows(query_.counts.rows());
    std::iota(rows.begin(), rows.end(), 0);
    std::reverse(rows.begin(), rows.end());
    std::rotate(rows.begin(), rows.begin() + 17, rows.end());
    const Query other = Reordered(query_, rows);
    ThreadPerTask threads;
    const auto second = Map(other, options_, {.executor = &threads});
    ASSERT_TRUE(second.ok()) << second.status();
    EXPECT_EQ(LatentOf(query_, *first), LatentOf(other, *second)) << StrategyName(strategy);
    EXPECT_EQ(first->report.version_id, second->report.version_id);
    EXPECT_EQ(first->report.batches[0].train_loss, second->report.batches[0].train_loss);
    EXPECT_EQ(first->report.batches[1].elbo, second->report.batches[1].elbo);
  }
}

TEST_F(MappingTest, AnotherSeedGivesAnotherAdapter) {
  const auto first = Map(query_, options_);
  options_.seed = 8;
  const auto second = Map(query_, options_);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE(first->report.version_id, second->report.version_id);
}

TEST_F(MappingTest, StopsAndResumesWithTheSameBits) {
  options_.epochs = 4;
  const auto whole = Map(query_, options_);
  ASSERT_TRUE(whole.ok()) << whole.status();

  MappingEnvironment stopped;
  std::string checkpoint;
  int epochs_seen = 0;
  stopped.checkpoint_interval = absl::ZeroDuration();
  stopped.on_checkpoint = [&](const std::string& bytes) { checkpoint = bytes; };
  // The first batch is done after four epochs; stop in the middle of the second.
  stopped.on_progress = [&](const MappingProgress&) {
    if (++epochs_seen == 7) stopped.cancel.Cancel();
  };
  const auto cancelled = Map(query_, options_, stopped);
  ASSERT_EQ(cancelled.status().code(), absl::StatusCode::kCancelled) << cancelled.status();
  ASSERT_FALSE(checkpoint.empty());

  MappingEnvironment resumed;
  int epochs_repeated = 0;
  resumed.resume_from = checkpoint;
  resumed.on_progress = [&](const MappingProgress& p) { epochs_repeated += p.stage == "train"; };
  const auto again = Map(query_, options_, resumed);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_LT(epochs_repeated, 4) << "the resumed mapping started over";
  EXPECT_EQ(whole->latent, again->latent);
  EXPECT_EQ(whole->report.version_id, again->report.version_id);
  ASSERT_EQ(whole->report.batches.size(), again->report.batches.size());
  for (size_t i = 0; i < whole->report.batches.size(); ++i) {
    EXPECT_EQ(whole->report.batches[i].train_loss, again->report.batches[i].train_loss);
    EXPECT_EQ(whole->report.batches[i].steps, again->report.batches[i].steps);
  }

  options_.seed = 99;
  const auto other = Map(query_, options_, resumed);
  ASSERT_EQ(other.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetFieldViolation(other.status())->field, "checkpoint");
}

TEST_F(MappingTest, BatchesComposeInAnyOrder) {
  const std::string d = query_.batches[0];
  const std::string e = query_.batches[1];
  const MappingEnvironment environment{.executor = &inline_};
  const Query query_d = OneBatch(query_, d);
  const Query query_e = OneBatch(query_, e);
  const auto root = atlas_->reference();
  const auto v_d = RunMapping(*atlas_, root, query_d, options_, environment);
  ASSERT_TRUE(v_d.ok()) << v_d.status();
  const auto v_de = RunMapping(*atlas_, v_d->version, query_e, options_, environment);
  ASSERT_TRUE(v_de.ok()) << v_de.status();
  const auto v_e = RunMapping(*atlas_, root, query_e, options_, environment);
  ASSERT_TRUE(v_e.ok()) << v_e.status();
  EXPECT_EQ(v_de->latent, v_e->latent);
  EXPECT_EQ(v_de->report.max_abs_probe_shift, 0.0);
  EXPECT_THAT(v_de->version->lineage, ElementsAre(root->id, v_d->version->id, v_de->version->id));

  // d's cells under the younger version are where they were.
  const auto under_de = EmbedCells(*v_de->version, query_d, {});
  ASSERT_TRUE(under_de.ok()) << under_de.status();
  EXPECT_EQ(under_de->latent, v_d->latent);

  const auto both = Map(query_, options_);
  ASSERT_TRUE(both.ok()) << both.status();
  const auto together = LatentOf(query_, *both);
  const auto alone = LatentOf(query_e, *v_e);
  for (const auto& [cell, latent] : alone) EXPECT_EQ(latent, together.at(cell));
}

TEST_F(MappingTest, MappingAgainOntoItsOwnVersionTrainsNothing) {
  const MappingEnvironment environment{.executor = &inline_};
  const auto first = Map(query_, options_);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = RunMapping(*atlas_, first->version, query_, options_, environment);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->latent, first->latent);
  EXPECT_EQ(again->report.extension_kind, "none");
  EXPECT_EQ(again->report.batches[0].stop_reason, "known batch");
  EXPECT_FALSE(again->report.batches[0].trained);
  EXPECT_THAT(again->report.notes, Contains(HasSubstr("already knows")));
}

TEST_F(MappingTest, EmbedsACellAloneAsAmongOthers) {
  const auto mapped = Map(query_, options_);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  for (const int64_t size : {int64_t{1}, int64_t{7}, int64_t{130}}) {
    std::vector<float> latent;
    for (int64_t begin = 0; begin < query_.counts.rows(); begin += size) {
      std::vector<int64_t> rows;
      std::vector<int32_t> codes;
      for (int64_t row = begin; row < std::min(begin + size, query_.counts.rows()); ++row) {
        rows.push_back(row);
        codes.push_back(query_.batch_codes[row]);
      }
      Query block;
      block.counts = query_.counts.SelectRows(rows);
      block.batches = query_.batches;
      block.batch_codes = codes;
      const auto part = EmbedCells(*mapped->version, block, CancelToken());
      ASSERT_TRUE(part.ok()) << part.status();
      latent.insert(latent.end(), part->latent.begin(), part->latent.end());
    }
    EXPECT_EQ(latent, mapped->latent) << "blocks of " << size;
  }
}

TEST_F(MappingTest, EmbeddingAnUnknownBatchNamesTheKnownOnes) {
  const auto result = EmbedCells(*atlas_->reference(), query_, CancelToken());
  ASSERT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  const auto violation = GetFieldViolation(result.status());
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->field, "batch");
  EXPECT_THAT(violation->remedy, HasSubstr("lab_a"));
}

TEST_F(MappingTest, ReportsProgressForEveryBatch) {
  std::vector<MappingProgress> seen;
  MappingEnvironment environment;
  environment.on_progress = [&](const MappingProgress& p) { seen.push_back(p); };
  const auto result = Map(query_, options_, environment);
  ASSERT_TRUE(result.ok()) << result.status();
  const MappingProgress& last_training = *std::find_if(
      seen.rbegin(), seen.rend(), [](const MappingProgress& p) { return p.stage == "train"; });
  ASSERT_EQ(last_training.batches.size(), 2u);
  for (const BatchProgress& batch : last_training.batches) {
    EXPECT_EQ(batch.epoch, 3);
    EXPECT_TRUE(batch.done);
    EXPECT_GT(batch.loss, 0);
  }
  EXPECT_GE(seen[0].eta_seconds, 0);
  EXPECT_EQ(seen.back().stage, "embed");
}

TEST_F(MappingTest, LabelsAreTheMostProbableOnes) {
  const auto result = Map(query_, options_);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->labels, atlas_->description().labels.categories);
  const auto width = static_cast<int64_t>(result->labels.size());
  for (int64_t cell = 0; cell < result->cells; ++cell) {
    const float* row = result->probabilities.data() + cell * width;
    float sum = 0;
    for (int64_t label = 0; label < width; ++label) {
      EXPECT_LE(row[label], row[result->label_codes[cell]]);
      sum += row[label];
    }
    EXPECT_NEAR(sum, 1.0f, 1e-5f);
  }
}

TEST_F(MappingTest, PresetHlcaStopsEarly) {
  options_.preset = Preset::kHlca;
  options_.epochs = 60;
  // A learning rate at which nothing moves: the ELBO is flat but for noise.
  options_.learning_rate = 1e-9;
  const Query one = OneBatch(query_, query_.batches[0]);
  const auto result = Map(one, options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->report.batches[0].stop_reason, "early stopping");
  EXPECT_LT(result->report.batches[0].epochs, 60);
}

TEST_F(MappingTest, TrainingRaisesTheElbo) {
  const auto before = Map(query_, options_);
  options_.epochs = 40;
  const auto after = Map(query_, options_);
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_GT(after->report.elbo, before->report.elbo);
  for (const BatchReport& batch : after->report.batches) {
    EXPECT_EQ(batch.epochs, 40);
    EXPECT_EQ(batch.train_loss.size(), 40u);
    EXPECT_EQ(batch.steps % 40, 0);
  }
}

// A variant's model with the shared counts as a query of two made-up batches.
class VariantMappingTest : public ::testing::TestWithParam<std::string> {};

TEST_P(VariantMappingTest, MapsTwoBatches) {
  auto atlas = Atlas::Open("variant", SourcePath("tests/data/variants/" + GetParam()), "");
  ASSERT_TRUE(atlas.ok()) << atlas.status();
  auto reader = OpenQuery(SourcePath("tests/data/variants/counts.h5ad"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  auto query = ReadQuery(SourcePath("tests/data/variants/counts.h5ad"),
                         (*reader)->ObsColumnNames()[0], (*atlas)->description().genes);
  ASSERT_TRUE(query.ok()) << query.status();
  query->batches = {"new one", "new two"};
  for (size_t i = 0; i < query->batch_codes.size(); ++i) query->batch_codes[i] = i % 2;
  InlineExecutor executor;
  MappingOptions options;
  options.epochs = 2;
  const auto result =
      RunMapping(**atlas, (*atlas)->reference(), *query, options, {.executor = &executor});
  ASSERT_TRUE(result.ok()) << result.status();
  const bool batch_norm = (*atlas)->description().architecture.batch_norm.decoder;
  const bool latent_library = !(*atlas)->description().architecture.use_observed_lib_size;
  if (batch_norm || latent_library) {
    EXPECT_EQ(result->report.strategy, "chain");
    EXPECT_EQ(result->report.extension_kind, "full delta");
    EXPECT_THAT(result->report.notes, Contains(HasSubstr("full delta")));
    EXPECT_EQ(result->version->lineage.size(), 3u);
  } else {
    EXPECT_EQ(result->report.strategy, "independent");
    EXPECT_EQ(result->report.extension_kind, "adapter");
    EXPECT_EQ(result->report.max_abs_probe_shift, 0.0);
    EXPECT_EQ(result->version->lineage.size(), 2u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, VariantMappingTest,
                         ::testing::Values("scvi_nb_genebatch", "scvi_poisson",
                                           "scvi_zinb_batchnorm", "scvi_bn_ln_encoded",
                                           "scvi_latent_library", "scvi_shallow_inject",
                                           "scvi_one_batch", "scanvi_batchnorm",
                                           "scanvi_linear_classifier", "scanvi_ln_encoder_only",
                                           "scvi_nolog"),
                         [](const auto& param) { return param.param; });

struct BadQuery {
  std::string name;
  std::function<void(Query&)> spoil;
  std::string field;
};

class BadQueryTest : public MappingTest, public ::testing::WithParamInterface<BadQuery> {};

TEST_P(BadQueryTest, IsRefusedWithTheFieldNamed) {
  GetParam().spoil(query_);
  const auto result = Map(query_, options_);
  ASSERT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument) << result.status();
  const auto violation = GetFieldViolation(result.status());
  ASSERT_TRUE(violation.has_value()) << result.status();
  EXPECT_EQ(violation->field, GetParam().field);
  EXPECT_FALSE(violation->found.empty());
  EXPECT_FALSE(violation->remedy.empty());
}

INSTANTIATE_TEST_SUITE_P(
    All, BadQueryTest,
    ::testing::Values(
        BadQuery{"NoCells",
                 [](Query& q) {
                   q.counts = q.counts.SelectRows({});
                   q.cell_names.clear();
                   q.batch_codes.clear();
                 },
                 "X"},
        BadQuery{"OtherGenes", [](Query& q) { q.counts.cols += 1; }, "X"},
        BadQuery{"Fraction", [](Query& q) { q.counts.values[5] = 1.5f; }, "X"},
        BadQuery{"Negative", [](Query& q) { q.counts.values[5] = -1; }, "X"},
        BadQuery{"NotANumber", [](Query& q) { q.counts.values[5] = NAN; }, "X"},
        BadQuery{"GeneOutOfRange", [](Query& q) { q.counts.columns[0] = -1; }, "X"},
        BadQuery{"DuplicateCells", [](Query& q) { q.cell_names[1] = q.cell_names[0]; },
                 "obs_names"},
        BadQuery{"CodeOutOfRange", [](Query& q) { q.batch_codes[3] = 9; }, "batch_key"},
        BadQuery{"EmptyBatchName", [](Query& q) { q.batches[0] = ""; }, "batch_key"},
        BadQuery{"OneCell",
                 [](Query& q) {
                   q.batches.push_back("lonely");
                   q.batch_codes[0] = 2;
                 },
                 "batch_key"},
        BadQuery{"FewerNamesThanRows", [](Query& q) { q.cell_names.pop_back(); }, "obs"}),
    [](const auto& param) { return param.param.name; });

TEST(CellsOfTest, ARunHasTheProteinMasksOfItsOwnBatches) {
  Query query;
  query.counts.cols = 1;
  query.counts.row_offsets = {0, 0, 0};
  query.cell_names = {"x", "y"};
  query.batches = {"a", "b"};
  query.batch_codes = {0, 1};
  query.proteins = {2, {5, 0, 0, 7}, {1, 0, 0, 1}};
  EXPECT_THAT(CellsOf(query, {1}, {"b"}).proteins.measured, ElementsAre(0, 1));
  EXPECT_THAT(CellsOf(query, {0, 1}, {"b", "a"}).proteins.measured, ElementsAre(0, 1, 1, 0));
}

}  // namespace
}  // namespace portolan
