#include "client/cpp/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "client/cpp/embed.h"
#include "client/cpp/mapping.h"
#include "client/cpp/upload.h"
#include "core/base/field_error.h"
#include "tests/client/fake_server.h"

namespace portolan::client {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

// Never waits; remembers what it was asked to wait.
struct Waits {
  std::vector<int64_t> millis;

  ClientOptions Options(const FakeServer& server, int attempts = 3) {
    ClientOptions options;
    options.address = server.address();
    options.calls.max_attempts = options.streams.max_attempts = attempts;
    options.calls.sleep = options.streams.sleep = [this](milliseconds delay, const CancelToken&) {
      millis.push_back(delay.count());
    };
    return options;
  }
};

std::unique_ptr<Client> ConnectOrDie(const ClientOptions& options) {
  auto client = Client::Connect(options);
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

// `rows` cells of one count each, in gene row % 4, with value row + 1.
struct ManyCells {
  explicit ManyCells(int rows) {
    counts.cols = 4;
    for (int row = 0; row < rows; ++row) {
      names.push_back(absl::StrCat("cell", row));
      codes.push_back(row % 2);
      counts.columns.push_back(row % 4);
      counts.values.push_back(static_cast<float>(row + 1));
      counts.row_offsets.push_back(row + 1);
    }
    request.set_version("atlases/toy/versions/aaaa1111");
    request.set_cells(rows);
    request.add_batches("a");
    request.add_batches("b");
  }
  CellBlock block() const { return {names, codes, counts}; }

  std::vector<std::string> names;
  std::vector<int32_t> codes;
  CsrMatrix counts;
  v1::CreateUploadRequest request;
};

absl::Status UploadAll(Client& client, const ManyCells& cells, int64_t window = 4) {
  UploadOptions options;
  options.part_bytes = 1;  // a part per cell
  options.window = window;
  auto uploader = Uploader::Start(client, cells.request, options);
  if (!uploader.ok()) return uploader.status();
  const absl::Status added = (*uploader)->Add(cells.block());
  if (!added.ok()) return added;
  return (*uploader)->Complete().status();
}

TEST(ClientTest, NobodyAnswers) {
  ClientOptions options;
  options.address = "127.0.0.1:1";
  options.connect_timeout = milliseconds(20);
  const absl::Status status = Client::Connect(options).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_NE(GetFieldViolation(status)->found.find("127.0.0.1:1"), std::string::npos);
}

TEST(ClientTest, RetriesWhenTheServerSaysSo) {
  const FakeServer server({.unavailable_calls = 2});
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  EXPECT_TRUE(client->GetAtlas("toy").ok());
  EXPECT_THAT(waits.millis, ElementsAre(7, 7));  // RetryInfo's, not the policy's own
}

TEST(ClientTest, RetriesAreBounded) {
  const FakeServer server({.unavailable_calls = 100});
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  EXPECT_TRUE(absl::IsUnavailable(client->GetAtlas("toy").status()));
  EXPECT_EQ(waits.millis.size(), 2u);
}

TEST(ClientTest, AnswersThatStayAreNotRetried) {
  const FakeServer server;
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  EXPECT_TRUE(absl::IsNotFound(client->GetAtlas("nope").status()));
  EXPECT_TRUE(waits.millis.empty());
}

TEST(ClientTest, AnInterruptedClientOnlyCleansUp) {
  const FakeServer server;
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  client->Interrupt();
  EXPECT_TRUE(absl::IsCancelled(client->GetAtlas("toy").status()));
  EXPECT_TRUE(client->DeleteUpload("uploads/u1").ok());
  EXPECT_TRUE(server.record().deleted);
}

TEST(ClientTest, ResourceNames) {
  EXPECT_EQ(VersionName("toy", "latest"), "atlases/toy/versions/latest");
  EXPECT_EQ(VersionName("atlases/toy", "latest"), "atlases/toy/versions/latest");
  EXPECT_EQ(ShortName("atlases/toy"), "toy");
  EXPECT_EQ(ShortName("toy"), "toy");
}

TEST(BackoffTest, DoublesUpToTheLongest) {
  RetryPolicy policy;
  policy.first_delay = milliseconds(100);
  policy.longest_delay = milliseconds(350);
  EXPECT_EQ(BackoffDelay(policy, 2, std::nullopt).count(), 100);
  EXPECT_EQ(BackoffDelay(policy, 3, std::nullopt).count(), 200);
  EXPECT_EQ(BackoffDelay(policy, 4, std::nullopt).count(), 350);
  EXPECT_EQ(BackoffDelay(policy, 1000, std::nullopt).count(), 350);
  EXPECT_EQ(BackoffDelay(policy, 2, milliseconds(9000)).count(), 9000);
}

TEST(UploadTest, ArrivesWhole) {
  const FakeServer server;
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  const ManyCells cells(11);
  ASSERT_TRUE(UploadAll(*client, cells).ok());
  const FakeRecord record = server.record();
  EXPECT_EQ(record.cells.names, cells.names);
  EXPECT_EQ(record.cells.batch_codes, cells.codes);
  EXPECT_EQ(record.cells.counts.values, cells.counts.values);
  EXPECT_EQ(record.parts, 11);
  EXPECT_EQ(record.upload_streams, 3);  // windows of 4, 4 and 3
  EXPECT_TRUE(record.completed);
  EXPECT_FALSE(record.deleted);
}

TEST(UploadTest, ResumesABrokenStreamWithTheMissingPart) {
  for (const int part : {0, 3, 5, 10}) {
    const FakeServer server({.break_upload_before_part = part});
    Waits waits;
    const auto client = ConnectOrDie(waits.Options(server));
    const ManyCells cells(11);
    ASSERT_TRUE(UploadAll(*client, cells).ok()) << part;
    EXPECT_EQ(server.record().cells.names, cells.names) << part;
    EXPECT_EQ(server.record().parts, 11);
    EXPECT_GE(waits.millis.size(), 1u);
  }
}

TEST(UploadTest, ResumesAgainAndAgainButNotForEver) {
  const ManyCells cells(11);
  {
    const FakeServer server({.broken_uploads = 2});
    Waits waits;
    const auto client = ConnectOrDie(waits.Options(server));
    EXPECT_TRUE(UploadAll(*client, cells).ok());
    EXPECT_EQ(server.record().cells.names, cells.names);
  }
  const FakeServer server({.broken_uploads = 1000});
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  EXPECT_TRUE(absl::IsUnavailable(UploadAll(*client, cells)));
  EXPECT_TRUE(server.record().deleted);
}

TEST(UploadTest, ARefusalKeepsItsField) {
  const FakeServer server({.refuse_upload = true});
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  const absl::Status status = UploadAll(*client, ManyCells(1));
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  ASSERT_TRUE(GetFieldViolation(status).has_value());
  EXPECT_EQ(GetFieldViolation(status)->remedy, "Send fewer");
}

TEST(UploadTest, AnUnfinishedUploadIsDeleted) {
  const FakeServer server;
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  const ManyCells cells(3);
  {
    auto uploader = Uploader::Start(*client, cells.request, {});
    ASSERT_TRUE(uploader.ok());
    ASSERT_TRUE((*uploader)->Add(cells.block()).ok());
  }
  EXPECT_TRUE(server.record().deleted);
  EXPECT_FALSE(server.record().completed);
}

TEST(MappingTest, SurvivesBrokenStreams) {
  const FakeServer server({.break_watch = true, .break_read = true});
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  ASSERT_TRUE(UploadAll(*client, ManyCells(5)).ok());
  int changes = 0;
  const auto mapping = RunMapping(*client, {}, [&](const v1::Mapping&) { ++changes; });
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_EQ(mapping->report().version_id(), "bbbb2222");
  EXPECT_EQ(changes, 3);
  EXPECT_EQ(server.record().watches, 2);
  EXPECT_EQ(server.record().mapping.request_id().size(), 32u);
  const auto rows = ReadEmbedding(*client, mapping->name(), 5);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(server.record().reads, 2);
  EXPECT_THAT(rows->latent, ElementsAre(1, 0, 2, 1, 3, 2, 4, 3, 5, 0));
  EXPECT_THAT(rows->label_codes, ElementsAre(1, 0, 1, 0, 1));
}

TEST(MappingTest, AFailedMappingTellsWhy) {
  const FakeServer server({.outcome = v1::Mapping::FAILED});
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  const absl::Status status = RunMapping(*client, {}, {}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(GetFieldViolation(status)->field, "learning_rate");
}

TEST(MappingTest, ARowTooFewOrTooManyIsDataLoss) {
  const FakeServer server;
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  ASSERT_TRUE(UploadAll(*client, ManyCells(5)).ok());
  EXPECT_TRUE(absl::IsDataLoss(ReadEmbedding(*client, "mappings/m1", 6).status()));
  EXPECT_TRUE(absl::IsDataLoss(ReadEmbedding(*client, "mappings/m1", 3).status()));
}

TEST(MappingTest, RequestIdsDiffer) { EXPECT_NE(RandomRequestId(), RandomRequestId()); }

TEST(EmbedStreamTest, AnswersEveryCellInOrder) {
  const FakeServer server;
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  const ManyCells cells(200);
  v1::EmbedRequest::Header header;
  header.add_batches("ref1");
  header.add_batches("ref2");
  EmbedStream stream(*client, header);
  ASSERT_TRUE(stream.Add(cells.block()).ok());
  ASSERT_TRUE(stream.Add(cells.block()).ok());
  const auto result = stream.Finish();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->rows.cells, 400);
  EXPECT_EQ(result->rows.latent[2 * 399], 200);
  EXPECT_EQ(result->header.version_id(), "aaaa1111");
}

TEST(EmbedStreamTest, AnAbandonedStreamEnds) {
  const FakeServer server;
  Waits waits;
  const auto client = ConnectOrDie(waits.Options(server));
  const ManyCells cells(3);
  EmbedStream stream(*client, {});
  EXPECT_TRUE(stream.Add(cells.block()).ok());
}

v1::EmbeddingBlock Block(int64_t first, int64_t cells) {
  v1::EmbeddingBlock block;
  block.set_first_cell(first);
  block.set_cells(cells);
  block.set_n_latent(2);
  block.set_latent(std::string(cells * 8, '\0'));
  block.set_n_labels(3);
  block.set_probabilities(std::string(cells * 12, '\0'));
  block.set_label_codes(std::string(cells * 4, '\0'));
  return block;
}

TEST(AppendBlockTest, RefusesWhatDoesNotFit) {
  const auto refused = [](const std::function<void(v1::EmbeddingBlock&)>& damage) {
    EmbeddingRows rows;
    EXPECT_TRUE(AppendBlock(Block(0, 2), rows).ok());
    v1::EmbeddingBlock block = Block(2, 4);
    damage(block);
    return absl::IsDataLoss(AppendBlock(block, rows));
  };
  EXPECT_FALSE(refused([](v1::EmbeddingBlock&) {}));
  EXPECT_TRUE(refused([](v1::EmbeddingBlock& b) { b.set_first_cell(3); }));
  EXPECT_TRUE(refused([](v1::EmbeddingBlock& b) { b.set_cells(0); }));
  EXPECT_TRUE(refused([](v1::EmbeddingBlock& b) { b.set_cells(int64_t{1} << 62); }));
  EXPECT_TRUE(refused([](v1::EmbeddingBlock& b) { b.set_n_latent(-1); }));
  EXPECT_TRUE(refused([](v1::EmbeddingBlock& b) { b.set_n_labels(0); }));
  EXPECT_TRUE(refused([](v1::EmbeddingBlock& b) { b.mutable_latent()->pop_back(); }));
  EXPECT_TRUE(refused([](v1::EmbeddingBlock& b) { b.clear_label_codes(); }));
  EXPECT_TRUE(refused([](v1::EmbeddingBlock& b) { b.mutable_label_codes()->at(0) = 3; }));
}

}  // namespace
}  // namespace portolan::client
