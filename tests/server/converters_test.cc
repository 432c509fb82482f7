#include "server/converters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "core/base/field_error.h"
#include "tests/server/blocks.h"

namespace portolan::server {
namespace {

TEST(OptionsFromProtoTest, AbsentMeansThePresets) {
  const absl::StatusOr<MappingOptions> options = FromProto(v1::MappingOptions());
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->strategy, Strategy::kIndependent);
  EXPECT_EQ(options->preset, Preset::kScvi);
  EXPECT_EQ(options->seed, 0u);
  EXPECT_FALSE(options->epochs.has_value());
  EXPECT_FALSE(options->learning_rate.has_value());
  EXPECT_FALSE(options->freeze_dropout.has_value());
  EXPECT_FALSE(options->unfrozen.has_value());
}

TEST(OptionsFromProtoTest, EveryFieldArrivesInItsPlace) {
  v1::MappingOptions wire;
  wire.set_strategy(v1::MappingOptions::CHAIN);
  wire.set_preset(v1::MappingOptions::HLCA);
  wire.set_precision(v1::MappingOptions::BF16);
  wire.set_epochs(7);
  wire.set_seed(std::numeric_limits<uint64_t>::max());
  wire.set_learning_rate(0.25);
  wire.set_weight_decay(0);
  wire.set_minibatch(64);
  const absl::StatusOr<MappingOptions> options = FromProto(wire);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->strategy, Strategy::kChain);
  EXPECT_EQ(options->preset, Preset::kHlca);
  EXPECT_EQ(options->precision, Precision::kBf16);
  EXPECT_EQ(options->epochs, 7);
  EXPECT_EQ(options->seed, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(options->learning_rate, 0.25);
  EXPECT_EQ(options->weight_decay, 0.0);
  EXPECT_EQ(options->minibatch, 64);
}

TEST(OptionsFromProtoTest, EachFlagArrivesAlone) {
  struct Flag {
    std::function<void(v1::MappingOptions&)> set;
    std::optional<bool> MappingOptions::*member;
  };
  const Flag flags[] = {
      {[](auto& wire) { wire.set_unfrozen(false); }, &MappingOptions::unfrozen},
      {[](auto& wire) { wire.set_freeze_dropout(false); }, &MappingOptions::freeze_dropout},
      {[](auto& wire) { wire.set_freeze_expression(false); }, &MappingOptions::freeze_expression},
      {[](auto& wire) { wire.set_freeze_decoder_first_layer(false); },
       &MappingOptions::freeze_decoder_first_layer},
      {[](auto& wire) { wire.set_freeze_batchnorm_encoder(false); },
       &MappingOptions::freeze_batchnorm_encoder},
      {[](auto& wire) { wire.set_freeze_batchnorm_decoder(false); },
       &MappingOptions::freeze_batchnorm_decoder},
      {[](auto& wire) { wire.set_freeze_classifier(false); }, &MappingOptions::freeze_classifier},
  };
  for (const Flag& flag : flags) {
    v1::MappingOptions wire;
    flag.set(wire);
    const absl::StatusOr<MappingOptions> options = FromProto(wire);
    ASSERT_TRUE(options.ok());
    int set = 0;
    for (const Flag& other : flags) set += ((*options).*other.member).has_value() ? 1 : 0;
    EXPECT_EQ(set, 1);
    EXPECT_EQ((*options).*flag.member, false);
  }
}

TEST(OptionsFromProtoTest, UselessValuesAreRefusedByName) {
  const auto refused = [](const std::string& field,
                          const std::function<void(v1::MappingOptions&)>& spoil) {
    v1::MappingOptions wire;
    spoil(wire);
    const absl::Status status = FromProto(wire).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << field << ": " << status;
    const auto violation = GetFieldViolation(status);
    EXPECT_EQ(violation.has_value() ? violation->field : "", "options." + field);
  };
  refused("strategy",
          [](auto& wire) { wire.set_strategy(static_cast<v1::MappingOptions::Strategy>(9)); });
  refused("preset",
          [](auto& wire) { wire.set_preset(static_cast<v1::MappingOptions::Preset>(-1)); });
  refused("precision",
          [](auto& wire) { wire.set_precision(static_cast<v1::MappingOptions::Precision>(-1)); });
  for (const int epochs : {0, -1, std::numeric_limits<int>::max()}) {
    refused("epochs", [&](auto& wire) { wire.set_epochs(epochs); });
  }
  for (const int minibatch : {0, -128, std::numeric_limits<int>::max()}) {
    refused("minibatch", [&](auto& wire) { wire.set_minibatch(minibatch); });
  }
  for (const double rate : {0.0, -1e-3, std::nan(""), HUGE_VAL}) {
    refused("learning_rate", [&](auto& wire) { wire.set_learning_rate(rate); });
  }
  for (const double decay : {-1e-6, std::nan(""), HUGE_VAL}) {
    refused("weight_decay", [&](auto& wire) { wire.set_weight_decay(decay); });
  }
}

TEST(GeneReportTest, SurvivesTheRoundTrip) {
  GeneReport report;
  report.reference_genes = 10;
  report.matched = 8;
  report.missing = {"A", "B"};
  report.extra = 5;
  report.duplicated = {"C"};
  report.reordered = true;
  const GeneReport back = FromProto(ToProto(report));
  EXPECT_EQ(back.reference_genes, 10);
  EXPECT_EQ(back.matched, 8);
  EXPECT_EQ(back.missing, report.missing);
  EXPECT_EQ(back.extra, 5);
  EXPECT_EQ(back.duplicated, report.duplicated);
  EXPECT_TRUE(back.reordered);
}

TEST(ErrorToProtoTest, KeepsCodeAndViolation) {
  const v1::Error error = ToProto(InvalidField("batch_key", "\"donor\"", "Use \"batch\"."));
  EXPECT_EQ(error.code(), 3);
  EXPECT_EQ(error.message(), "batch_key: \"donor\". Use \"batch\".");
  EXPECT_EQ(error.field(), "batch_key");
  EXPECT_EQ(error.found(), "\"donor\"");
  EXPECT_EQ(error.remedy(), "Use \"batch\".");
}

JobRecord SomeJob() {
  v1::CreateMappingRequest request;
  request.set_version("atlases/a/versions/abcd");
  request.set_upload("uploads/u");
  request.mutable_options()->set_epochs(3);
  JobRecord job;
  job.id = "m";
  job.spec = request.SerializeAsString();
  job.create_time = absl::FromUnixMillis(1'700'000'000'250);
  return job;
}

TEST(MappingFromJobTest, AQueuedJob) {
  const absl::StatusOr<v1::Mapping> mapping = MappingFromJob(SomeJob(), true);
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(mapping->name(), "mappings/m");
  EXPECT_EQ(mapping->version(), "atlases/a/versions/abcd");
  EXPECT_EQ(mapping->upload(), "uploads/u");
  EXPECT_EQ(mapping->options().epochs(), 3);
  EXPECT_EQ(mapping->state(), v1::Mapping::QUEUED);
  EXPECT_EQ(mapping->progress().stage(), "queued");
  EXPECT_LT(mapping->progress().eta_seconds(), 0);
  EXPECT_EQ(mapping->create_time().seconds(), 1'700'000'000);
  EXPECT_EQ(mapping->create_time().nanos(), 250'000'000);
  EXPECT_FALSE(mapping->has_end_time());
  EXPECT_FALSE(mapping->has_error());
  EXPECT_FALSE(mapping->has_report());
}

TEST(MappingFromJobTest, ARunningJobTellsItsProgress) {
  MappingProgress progress;
  progress.stage = "train";
  progress.batches = {{"b", 4, 10, 512.5, true}};
  progress.eta_seconds = 7;
  JobRecord job = SomeJob();
  job.state = JobState::kRunning;
  job.progress = ToProto(progress).SerializeAsString();
  const absl::StatusOr<v1::Mapping> mapping = MappingFromJob(job, true);
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(mapping->state(), v1::Mapping::RUNNING);
  EXPECT_EQ(mapping->progress().stage(), "train");
  EXPECT_EQ(mapping->progress().eta_seconds(), 7);
  ASSERT_EQ(mapping->progress().batches_size(), 1);
  EXPECT_EQ(mapping->progress().batches(0).batch(), "b");
  EXPECT_EQ(mapping->progress().batches(0).epoch(), 4);
  EXPECT_EQ(mapping->progress().batches(0).max_epochs(), 10);
  EXPECT_EQ(mapping->progress().batches(0).loss(), 512.5);
  EXPECT_TRUE(mapping->progress().batches(0).done());
}

TEST(MappingFromJobTest, EndsHaveTimesErrorsAndReports) {
  MappingResult result;
  result.cells = 12;
  result.n_latent = 5;
  result.report.version_id = "ef01";
  result.report.seconds = {{"train", 1.5}};
  BatchReport batch;
  batch.batch = "b";
  batch.train_loss = {3, 2, 1};
  result.report.batches = {batch};
  JobRecord job = SomeJob();
  job.end_time = absl::FromUnixSeconds(1'700'000'100);
  job.state = JobState::kSucceeded;
  job.result = ToProto("a", result).SerializeAsString();
  const absl::StatusOr<v1::Mapping> succeeded = MappingFromJob(job, true);
  ASSERT_TRUE(succeeded.ok());
  EXPECT_EQ(succeeded->end_time().seconds(), 1'700'000'100);
  EXPECT_EQ(succeeded->report().version(), "atlases/a/versions/ef01");
  EXPECT_EQ(succeeded->report().cells(), 12);
  EXPECT_EQ(succeeded->report().seconds().at("train"), 1.5);
  EXPECT_EQ(succeeded->report().batches(0).train_loss_size(), 3);
  EXPECT_FALSE(MappingFromJob(job, false)->has_report());

  job.state = JobState::kFailed;
  job.error = absl::InternalError("no");
  EXPECT_EQ(MappingFromJob(job, true)->error().code(), 13);
  job.state = JobState::kCancelled;
  EXPECT_EQ(MappingFromJob(job, true)->state(), v1::Mapping::CANCELLED);
}

TEST(MappingFromJobTest, ADamagedRecordIsAnError) {
  JobRecord job = SomeJob();
  job.spec = "\xff\xff";
  EXPECT_TRUE(absl::IsInternal(MappingFromJob(job, true).status()));
}

TEST(RowsToProtoTest, CutsRows) {
  MappingResult result;
  result.cells = 3;
  result.n_latent = 2;
  result.latent = {0, 1, 2, 3, 4, 5};
  const v1::EmbeddingBlock plain = RowsToProto(result, 1, 2);
  EXPECT_EQ(plain.first_cell(), 1);
  EXPECT_EQ(plain.cells(), 2);
  EXPECT_EQ(plain.latent(), RawBytes<float>({2, 3, 4, 5}));
  EXPECT_EQ(plain.n_labels(), 0);
  EXPECT_EQ(plain.probabilities(), "");
  EXPECT_EQ(plain.label_codes(), "");

  result.labels = {"T", "B"};
  result.probabilities = {.5f, .5f, .25f, .75f, 1, 0};
  result.label_codes = {0, 1, 0};
  const v1::EmbeddingBlock labelled = RowsToProto(result, 2, 1);
  EXPECT_EQ(labelled.latent(), RawBytes<float>({4, 5}));
  EXPECT_EQ(labelled.n_labels(), 2);
  EXPECT_EQ(labelled.probabilities(), RawBytes<float>({1, 0}));
  EXPECT_EQ(labelled.label_codes(), RawBytes<int32_t>({0}));
  EXPECT_EQ(RowBytes(2, 2),
            static_cast<int64_t>(labelled.latent().size() + labelled.probabilities().size() +
                                 labelled.label_codes().size()));
}

}  // namespace
}  // namespace portolan::server
