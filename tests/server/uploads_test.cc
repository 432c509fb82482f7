#include "server/uploads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "core/base/field_error.h"
#include "tests/core/jobs/fake_clock.h"
#include "tests/server/blocks.h"

namespace portolan::server {
namespace {

constexpr int64_t kGenes = 20;

class UploadStoreTest : public testing::Test {
 protected:
  UploadStoreTest() {
    options_.limits.max_cells = 100;
    options_.limits.max_open = 2;
    options_.limits.idle = absl::Minutes(10);
    options_.now = clock_.Function();
    options_.in_use = [this](const std::string& id) { return in_use_.count(id) > 0; };
  }

  UploadStore& store() {
    if (store_ == nullptr) store_ = std::make_unique<UploadStore>(options_);
    return *store_;
  }

  static UploadSpec Spec(int64_t cells) {
    UploadSpec spec;
    spec.atlas = "pbmc";
    spec.version_id = "abcd";
    spec.bounds.genes = kGenes;
    spec.cells = cells;
    spec.batches = {"b0", "b1"};
    spec.gene_report.reference_genes = kGenes;
    spec.gene_report.matched = 18;
    return spec;
  }

  std::string Create(int64_t cells) {
    const absl::StatusOr<UploadState> state = store().Create(Spec(cells));
    EXPECT_TRUE(state.ok()) << state.status();
    return state.ok() ? state->id : "";
  }

  absl::Status Write(const std::string& id, int64_t part, const std::vector<TestCell>& cells) {
    const auto bounds = store().Expect(id, part);
    if (!bounds.ok()) return bounds.status();
    if (!bounds->has_value()) return absl::OkStatus();
    absl::StatusOr<DecodedBlock> block = DecodeCountBlock(MakeBlock(cells), **bounds, "part");
    if (!block.ok()) return block.status();
    return store().Append(id, part, *std::move(block));
  }

  FakeClock clock_;
  std::set<std::string> in_use_;
  UploadStore::Options options_;
  std::unique_ptr<UploadStore> store_;
};

TEST_F(UploadStoreTest, AssemblesPartsIntoAQuery) {
  const std::string id = Create(5);
  const std::vector<TestCell> cells = SomeCells(0, 5, kGenes, 2);
  ASSERT_TRUE(Write(id, 0, {cells.begin(), cells.begin() + 2}).ok());
  ASSERT_TRUE(Write(id, 1, {cells.begin() + 2, cells.end()}).ok());
  EXPECT_EQ(store().Get(id)->cells_received, 5);
  EXPECT_EQ(store().Get(id)->next_part, 2);
  EXPECT_TRUE(absl::IsFailedPrecondition(store().Find(id).status()));
  ASSERT_TRUE(store().Complete(id)->complete);
  EXPECT_TRUE(store().Complete(id).ok()) << "completing twice is no error";

  const auto uploaded = store().Find(id);
  ASSERT_TRUE(uploaded.ok());
  const Query& query = (*uploaded)->query;
  EXPECT_EQ((*uploaded)->atlas, "pbmc");
  EXPECT_EQ(query.counts.rows(), 5);
  EXPECT_EQ(query.counts.cols, kGenes);
  EXPECT_THAT(query.batches, testing::ElementsAre("b0", "b1"));
  EXPECT_THAT(query.batch_codes, testing::ElementsAre(0, 1, 0, 1, 0));
  EXPECT_EQ(query.genes.matched, 18);
  for (int64_t row = 0; row < 5; ++row) {
    EXPECT_EQ(query.cell_names[row], cells[row].name);
    const auto columns = query.counts.row_columns(row);
    const auto values = query.counts.row_values(row);
    ASSERT_EQ(columns.size(), cells[row].counts.size());
    for (size_t i = 0; i < columns.size(); ++i) {
      EXPECT_EQ(columns[i], cells[row].counts[i].first);
      EXPECT_EQ(values[i], cells[row].counts[i].second);
    }
  }
}

TEST_F(UploadStoreTest, APartThatIsThereIsSkippedAndOneTooEarlyRefused) {
  const std::string id = Create(4);
  ASSERT_TRUE(Write(id, 0, SomeCells(0, 2, kGenes)).ok());
  EXPECT_TRUE(Write(id, 0, SomeCells(0, 2, kGenes)).ok());
  EXPECT_EQ(store().Get(id)->cells_received, 2);
  const absl::Status early = Write(id, 2, SomeCells(2, 2, kGenes));
  EXPECT_TRUE(absl::IsFailedPrecondition(early)) << early;
  EXPECT_EQ(GetFieldViolation(early)->field, "part");
  EXPECT_TRUE(absl::IsInvalidArgument(Write(id, -1, SomeCells(2, 2, kGenes))));
  EXPECT_TRUE(Write(id, 1, SomeCells(2, 2, kGenes)).ok());
}

TEST_F(UploadStoreTest, MoreCellsThanAnnouncedAreRefused) {
  const std::string id = Create(3);
  EXPECT_TRUE(absl::IsResourceExhausted(Write(id, 0, SomeCells(0, 4, kGenes))));
  ASSERT_TRUE(Write(id, 0, SomeCells(0, 3, kGenes)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Write(id, 1, SomeCells(3, 1, kGenes))));
}

TEST_F(UploadStoreTest, AnUnfinishedUploadIsNotCompleted) {
  const std::string id = Create(3);
  ASSERT_TRUE(Write(id, 0, SomeCells(0, 2, kGenes)).ok());
  const absl::Status status = store().Complete(id).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(GetFieldViolation(status)->field, "cells");
}

TEST_F(UploadStoreTest, DuplicateCellNamesAreRefusedAcrossParts) {
  const std::string id = Create(4);
  ASSERT_TRUE(Write(id, 0, SomeCells(0, 3, kGenes)).ok());
  ASSERT_TRUE(Write(id, 1, SomeCells(1, 1, kGenes)).ok());
  const absl::Status status = store().Complete(id).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(GetFieldViolation(status)->field, "obs_names");
  EXPECT_EQ(GetFieldViolation(status)->found, "\"cell 1\" names cells 1 and 3");
}

TEST_F(UploadStoreTest, BadAnnouncementsAreRefused) {
  const auto refused = [&](const std::string& field,
                           const std::function<void(UploadSpec&)>& spoil) {
    UploadSpec spec = Spec(3);
    spoil(spec);
    const absl::Status status = store().Create(spec).status();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(GetFieldViolation(status)->field, field);
    return status.code();
  };
  EXPECT_EQ(refused("cells", [](UploadSpec& spec) { spec.cells = 0; }),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused("cells", [](UploadSpec& spec) { spec.cells = -5; }),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused("cells", [](UploadSpec& spec) { spec.cells = 101; }),
            absl::StatusCode::kResourceExhausted);
  refused("batches", [](UploadSpec& spec) { spec.batches.clear(); });
  refused("batches", [](UploadSpec& spec) { spec.batches = {"a", "a"}; });
  refused("batches", [](UploadSpec& spec) { spec.batches = {""}; });
  refused("genes.reference_genes", [](UploadSpec& spec) { spec.gene_report.reference_genes = 19; });
}

TEST_F(UploadStoreTest, OpenUploadsAreLimitedAndExpireWhenIdle) {
  const std::string first = Create(3);
  clock_.Advance(absl::Minutes(6));
  const std::string second = Create(3);
  EXPECT_TRUE(absl::IsResourceExhausted(store().Create(Spec(3)).status()));
  clock_.Advance(absl::Minutes(5));
  EXPECT_TRUE(absl::IsNotFound(store().Get(first).status()));
  EXPECT_TRUE(store().Get(second).ok());
  const std::string third = Create(3);
  clock_.Advance(absl::Minutes(9));
  EXPECT_TRUE(store().Get(third).ok());
  clock_.Advance(absl::Minutes(9));
  EXPECT_TRUE(store().Get(third).ok()) << "a use starts the time anew";
}

TEST_F(UploadStoreTest, AnUploadInUseStays) {
  const std::string id = Create(1);
  ASSERT_TRUE(Write(id, 0, SomeCells(0, 1, kGenes)).ok());
  ASSERT_TRUE(store().Complete(id).ok());
  in_use_.insert(id);
  clock_.Advance(absl::Hours(5));
  EXPECT_TRUE(store().Find(id).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(store().Delete(id)));
  in_use_.clear();
  EXPECT_TRUE(store().Delete(id).ok());
  EXPECT_TRUE(absl::IsNotFound(store().Find(id).status()));
  EXPECT_TRUE(absl::IsNotFound(store().Delete(id)));
}

TEST_F(UploadStoreTest, BytesAreLimitedPerUploadAndTogetherAndGivenBack) {
  options_.limits.max_bytes = 2000;
  options_.limits.max_all_bytes = 2500;
  const std::string first = Create(100);
  absl::Status status;
  int64_t part = 0;
  while (status.ok() && part < 100) {
    status = Write(first, part, SomeCells(part, 1, kGenes));
    ++part;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(GetFieldViolation(status)->field, "upload");
  const std::string second = Create(100);
  status = absl::OkStatus();
  for (part = 0; status.ok() && part < 100; ++part) {
    status = Write(second, part, SomeCells(part, 1, kGenes));
  }
  EXPECT_EQ(GetFieldViolation(status)->field, "uploads") << status;
  ASSERT_TRUE(store().Delete(first).ok());
  EXPECT_TRUE(Write(second, part - 1, SomeCells(part - 1, 1, kGenes)).ok());
}

}  // namespace
}  // namespace portolan::server
