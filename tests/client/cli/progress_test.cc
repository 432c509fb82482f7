#include "client/cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "absl/strings/str_cat.h"

namespace portolan::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

void Set(v1::Progress& progress, int i, const std::string& name, int epoch, int max, bool done) {
  while (progress.batches_size() <= i) progress.add_batches();
  v1::BatchProgress* batch = progress.mutable_batches(i);
  batch->set_batch(name);
  batch->set_epoch(epoch);
  batch->set_max_epochs(max);
  batch->set_loss(231.44);
  batch->set_done(done);
}

v1::Progress Training() {
  v1::Progress progress;
  progress.set_stage("train");
  progress.set_eta_seconds(-1);
  return progress;
}

TEST(DurationTextTest, Spelling) {
  EXPECT_EQ(DurationText(-1), "");
  EXPECT_EQ(DurationText(0), "0 s");
  EXPECT_EQ(DurationText(59.4), "59 s");
  EXPECT_EQ(DurationText(200), "3:20");
  EXPECT_EQ(DurationText(3909), "1:05:09");
  EXPECT_EQ(DurationText(1e300), "");
}

TEST(PlainProgressTest, OneLineAtTheStartEachTenthAndTheEnd) {
  PlainProgress plain;
  v1::Progress progress = Training();
  Set(progress, 0, "d1", 0, 100, false);
  EXPECT_THAT(plain.NewLines(progress), ElementsAre("stage: train"));
  int lines = 0;
  for (int epoch = 1; epoch <= 100; ++epoch) {
    Set(progress, 0, "d1", epoch, 100, epoch == 100);
    lines += static_cast<int>(plain.NewLines(progress).size());
  }
  Set(progress, 1, "d2", 2, 2, false);
  EXPECT_THAT(plain.NewLines(progress), IsEmpty());  // its line comes with "done"
  EXPECT_EQ(lines, 11);                              // start, 10 %, ..., 90 %, done
  EXPECT_THAT(plain.NewLines(progress), IsEmpty());
}

TEST(PlainProgressTest, BatchesAreFollowedApart) {
  PlainProgress plain;
  v1::Progress progress = Training();
  Set(progress, 0, "d1", 1, 100, false);
  plain.NewLines(progress);
  Set(progress, 1, "d2", 1, 100, false);
  EXPECT_THAT(plain.NewLines(progress), ElementsAre("d2  epoch 1/100  loss 231.4"));
  Set(progress, 0, "d1", 7, 100, true);  // stopped early
  EXPECT_THAT(plain.NewLines(progress), ElementsAre("d1  epoch 7/100  loss 231.4  done"));
  progress.set_stage("embed");
  EXPECT_THAT(plain.NewLines(progress), ElementsAre("stage: embed"));
}

TEST(PlainProgressTest, WhatASlowWatcherMissedIsToldBeforeTheNextStage) {
  PlainProgress plain;
  v1::Progress progress = Training();
  Set(progress, 0, "d1", 60, 100, false);
  plain.NewLines(progress);
  Set(progress, 0, "d1", 100, 100, true);
  progress.set_stage("embed");
  EXPECT_THAT(plain.NewLines(progress),
              ElementsAre("d1  epoch 100/100  loss 231.4  done", "stage: embed"));
}

TEST(ScreenLinesTest, HeadlineAndAlignedBatches) {
  v1::Progress progress = Training();
  progress.set_eta_seconds(75);
  Set(progress, 0, "d1", 3, 50, false);
  Set(progress, 1, "donor2", 0, 50, false);
  EXPECT_THAT(ScreenLines(progress, 5),
              ElementsAre("stage: train  ETA 1:15", "  d1      epoch 3/50  loss 231.4",
                          "  donor2  epoch 0/50"));
}

TEST(ScreenLinesTest, ManyBatchesShowThoseInTraining) {
  v1::Progress progress = Training();
  for (int i = 0; i < 30; ++i) Set(progress, i, absl::StrCat("d", i), 0, 50, i < 10);
  Set(progress, 29, "d29", 5, 50, false);
  const auto lines = ScreenLines(progress, 3);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_THAT(lines[1], HasSubstr("d29"));
  EXPECT_EQ(lines[4], "  and 27 more; 10 of 30 batches done");
}

TEST(ScreenLinesTest, HostileNamesAreCutAndCleaned) {
  v1::Progress progress = Training();
  Set(progress, 0, "\x1b[2J" + std::string(500, 'x'), 1, 2, false);
  const std::string line = ScreenLines(progress, 3)[1];
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_LT(line.size(), 80u);
}

TEST(ProgressPrinterTest, APipeGetsNoControlSequences) {
  std::ostringstream err;
  ProgressPrinter printer(err, ProgressStyle::kLines);
  for (int cells = 1; cells <= 1000; ++cells) printer.Cells("uploaded", cells, 1000);
  v1::Mapping mapping;
  *mapping.mutable_progress() = Training();
  printer.Mapping(mapping);
  EXPECT_EQ(err.str().find('\x1b'), std::string::npos);
  EXPECT_THAT(err.str(), HasSubstr("uploaded 1000 of 1000 cells\nstage: train\n"));
  const std::string text = err.str();
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 12);
}

TEST(ProgressPrinterTest, ATerminalIsRedrawnInPlace) {
  std::ostringstream err;
  ProgressPrinter printer(err, ProgressStyle::kScreen);
  v1::Mapping mapping;
  *mapping.mutable_progress() = Training();
  Set(*mapping.mutable_progress(), 0, "d1", 1, 2, false);
  printer.Mapping(mapping);
  EXPECT_EQ(err.str().find("\x1b[2A"), std::string::npos);
  printer.Mapping(mapping);
  EXPECT_THAT(err.str(), HasSubstr("\x1b[2A"));  // two lines were drawn before
}

}  // namespace
}  // namespace portolan::client
