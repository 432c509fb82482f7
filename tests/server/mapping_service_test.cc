#include "server/mapping_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "absl/synchronization/notification.h"
#include "tests/server/running_server.h"

namespace portolan::server {
namespace {

class MappingServiceTest : public RunningServer {
 protected:
  static v1::CreateMappingRequest Request(const std::string& upload, int epochs) {
    v1::CreateMappingRequest request;
    request.set_version("atlases/pbmc_demo/versions/latest");
    request.set_upload(upload);
    request.mutable_options()->set_epochs(epochs);
    request.mutable_options()->set_seed(5);
    return request;
  }

  grpc::Status Create(const v1::CreateMappingRequest& request, v1::Mapping* mapping) {
    grpc::ClientContext context;
    return mappings_->CreateMapping(&context, request, mapping);
  }

  std::string NewMapping(const v1::CreateMappingRequest& request) {
    v1::Mapping mapping;
    const grpc::Status status = Create(request, &mapping);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return mapping.name();
  }

  grpc::Status Get(const std::string& name, v1::Mapping* mapping) {
    grpc::ClientContext context;
    v1::GetMappingRequest request;
    request.set_name(name);
    return mappings_->GetMapping(&context, request, mapping);
  }

  grpc::Status Cancel(const std::string& name) {
    grpc::ClientContext context;
    v1::CancelMappingRequest request;
    request.set_name(name);
    v1::Mapping mapping;
    return mappings_->CancelMapping(&context, request, &mapping);
  }

  /// Every state that a watcher sees; `until` may end the watch early.
  std::vector<v1::Mapping> Watch(
      const std::string& name, grpc::Status* status = nullptr,
      const std::function<bool(const v1::Mapping&)>& until = [](const auto&) { return false; }) {
    grpc::ClientContext context;
    v1::GetMappingRequest request;
    request.set_name(name);
    const auto stream = mappings_->WatchMapping(&context, request);
    std::vector<v1::Mapping> seen;
    v1::Mapping mapping;
    while (stream->Read(&mapping)) {
      seen.push_back(mapping);
      if (until(mapping)) context.TryCancel();
    }
    const grpc::Status end = stream->Finish();
    if (status != nullptr) *status = end;
    return seen;
  }

  v1::Mapping AwaitEnd(const std::string& name) {
    const std::vector<v1::Mapping> seen = Watch(name);
    return seen.empty() ? v1::Mapping() : seen.back();
  }

  /// The rows of all blocks together.
  grpc::Status Read(const std::string& name, v1::EmbeddingBlock* rows) {
    grpc::ClientContext context;
    v1::ReadEmbeddingRequest request;
    request.set_name(name);
    const auto stream = mappings_->ReadEmbedding(&context, request);
    v1::EmbeddingBlock block;
    rows->Clear();
    while (stream->Read(&block)) {
      EXPECT_EQ(block.first_cell(), rows->cells());
      rows->set_cells(rows->cells() + block.cells());
      rows->set_n_latent(block.n_latent());
      rows->set_n_labels(block.n_labels());
      rows->mutable_latent()->append(block.latent());
      rows->mutable_probabilities()->append(block.probabilities());
      rows->mutable_label_codes()->append(block.label_codes());
    }
    return stream->Finish();
  }
};

TEST_F(MappingServiceTest, MapsAQueryFromUploadToRows) {
  constexpr int64_t kCells = 60;
  const std::string upload = CompleteQuery(kCells);
  const std::string name = NewMapping(Request(upload, 3));
  EXPECT_THAT(name, testing::StartsWith("mappings/"));
  const v1::Mapping mapping = AwaitEnd(name);
  ASSERT_EQ(mapping.state(), v1::Mapping::SUCCEEDED) << mapping.error().message();
  const v1::MappingReport& report = mapping.report();
  EXPECT_EQ(report.cells(), kCells);
  EXPECT_EQ(report.n_latent(), 15);
  EXPECT_EQ(report.labels_size(), 8);
  EXPECT_EQ(report.batches_size(), 2);
  for (const v1::BatchReport& batch : report.batches()) EXPECT_EQ(batch.epochs(), 3);
  EXPECT_EQ(report.extension_kind(), "adapter");
  EXPECT_EQ(report.max_abs_probe_shift(), 0);
  EXPECT_EQ(report.seed(), 5u);
  EXPECT_EQ(report.genes().matched(), kGenes);
  EXPECT_TRUE(mapping.has_end_time());

  v1::EmbeddingBlock rows;
  ASSERT_TRUE(Read(name, &rows).ok());
  EXPECT_EQ(rows.cells(), kCells);
  EXPECT_EQ(rows.n_latent(), 15);
  EXPECT_EQ(rows.n_labels(), 8);
  EXPECT_EQ(rows.latent().size(), kCells * 15 * sizeof(float));
  EXPECT_EQ(rows.probabilities().size(), kCells * 8 * sizeof(float));
  EXPECT_EQ(rows.label_codes().size(), kCells * sizeof(int32_t));

  // The new version is there, knows the new batches, and is the latest.
  grpc::ClientContext context;
  v1::GetVersionRequest request;
  request.set_name("atlases/pbmc_demo/versions/latest");
  v1::Version version;
  ASSERT_TRUE(atlases_->GetVersion(&context, request, &version).ok());
  EXPECT_EQ(version.name(), report.version());
  EXPECT_THAT(version.new_batches(), testing::ElementsAre("lab_x", "lab_y"));
  EXPECT_EQ(version.lineage_size(), 2);

  // The same query and seed onto the same parent again give the same version and the same rows.
  v1::CreateMappingRequest again = Request(upload, 3);
  again.set_version(kReference);
  const std::string second = NewMapping(again);
  EXPECT_NE(second, name);
  EXPECT_EQ(AwaitEnd(second).report().version_id(), report.version_id());
  v1::EmbeddingBlock same;
  ASSERT_TRUE(Read(second, &same).ok());
  EXPECT_EQ(same.SerializeAsString(), rows.SerializeAsString());
}

TEST_F(MappingServiceTest, AWatchShowsStatesInOrderAndEndsWithTheFinalOne) {
  const std::string name = NewMapping(Request(CompleteQuery(40), 30));
  grpc::Status status;
  const std::vector<v1::Mapping> seen = Watch(name, &status);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_FALSE(seen.empty());
  const std::map<int, int> order = {
      {v1::Mapping::QUEUED, 0}, {v1::Mapping::RUNNING, 1}, {v1::Mapping::SUCCEEDED, 2}};
  int last_state = 0;
  std::map<std::string, int> last_epoch;
  for (const v1::Mapping& mapping : seen) {
    EXPECT_EQ(mapping.name(), name);
    ASSERT_TRUE(order.count(mapping.state())) << mapping.state();
    EXPECT_GE(order.at(mapping.state()), last_state);
    last_state = order.at(mapping.state());
    for (const v1::BatchProgress& batch : mapping.progress().batches()) {
      EXPECT_GE(batch.epoch(), last_epoch[batch.batch()]);
      EXPECT_LE(batch.epoch(), batch.max_epochs());
      last_epoch[batch.batch()] = batch.epoch();
    }
  }
  EXPECT_EQ(seen.back().state(), v1::Mapping::SUCCEEDED);
  for (size_t i = 0; i + 1 < seen.size(); ++i) EXPECT_NE(seen[i].state(), seen.back().state());

  // A watch of a finished mapping shows it once and ends.
  const std::vector<v1::Mapping> late = Watch(name, &status);
  EXPECT_TRUE(status.ok());
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late[0].state(), v1::Mapping::SUCCEEDED);
}

TEST_F(MappingServiceTest, ACancelEndsARunningMapping) {
  // Far more epochs than the test would wait for.
  const std::string name = NewMapping(Request(CompleteQuery(200), 100000));
  grpc::Status status;
  Watch(name, &status, [](const v1::Mapping& mapping) {
    for (const v1::BatchProgress& batch : mapping.progress().batches()) {
      if (batch.epoch() > 0) return true;
    }
    return false;
  });
  EXPECT_EQ(status.error_code(), grpc::CANCELLED) << "of the watch, not of the mapping";
  ASSERT_TRUE(Cancel(name).ok());
  EXPECT_EQ(AwaitEnd(name).state(), v1::Mapping::CANCELLED);
  ExpectFieldError(Cancel(name), grpc::FAILED_PRECONDITION, "state");
  v1::EmbeddingBlock rows;
  ExpectFieldError(Read(name, &rows), grpc::FAILED_PRECONDITION, "name");
}

TEST_F(MappingServiceTest, CreateIsIdempotentByRequestId) {
  const std::string upload = CompleteQuery(20);
  v1::CreateMappingRequest request = Request(upload, 1);
  request.set_request_id("once");
  const std::string name = NewMapping(request);
  EXPECT_EQ(NewMapping(request), name);
  // By now "latest" is another version, and the upload has gone.
  ASSERT_EQ(AwaitEnd(name).state(), v1::Mapping::SUCCEEDED);
  ASSERT_TRUE(DeleteUpload(upload).ok());
  EXPECT_EQ(NewMapping(request), name);

  request.mutable_options()->set_seed(6);
  v1::Mapping mapping;
  ExpectFieldError(Create(request, &mapping), grpc::ALREADY_EXISTS, "request_id");

  grpc::ClientContext context;
  v1::ListMappingsResponse list;
  ASSERT_TRUE(mappings_->ListMappings(&context, {}, &list).ok());
  ASSERT_EQ(list.mappings_size(), 1);
  EXPECT_EQ(list.mappings(0).name(), name);
  EXPECT_FALSE(list.mappings(0).has_report());
}

TEST_F(MappingServiceTest, AnUploadInUseCannotBeDeleted) {
  const std::string upload = CompleteQuery(200);
  const std::string name = NewMapping(Request(upload, 100000));
  ExpectFieldError(DeleteUpload(upload), grpc::FAILED_PRECONDITION, "name");
  ASSERT_TRUE(Cancel(name).ok());
  AwaitEnd(name);
  EXPECT_TRUE(DeleteUpload(upload).ok());
}

TEST_F(MappingServiceTest, BadRequestsNameTheField) {
  const std::string upload = CompleteQuery(20);
  v1::Mapping mapping;
  v1::CreateMappingRequest request = Request(upload, 0);
  ExpectFieldError(Create(request, &mapping), grpc::INVALID_ARGUMENT, "options.epochs");
  request = Request("uploads/none", 1);
  ExpectFieldError(Create(request, &mapping), grpc::NOT_FOUND, "upload");
  request = Request(NewUpload(5), 1);
  ExpectFieldError(Create(request, &mapping), grpc::FAILED_PRECONDITION, "upload");
  request = Request(upload, 1);
  request.set_version("atlases/other/versions/latest");
  ExpectFieldError(Create(request, &mapping), grpc::NOT_FOUND, "version");
  ExpectFieldError(Get("mappings/none", &mapping), grpc::NOT_FOUND, "name");
  ExpectFieldError(Cancel("mappings/none"), grpc::NOT_FOUND, "name");
  v1::EmbeddingBlock rows;
  ExpectFieldError(Read("mappings/none", &rows), grpc::NOT_FOUND, "name");
  grpc::Status status;
  EXPECT_TRUE(Watch("mappings/none", &status).empty());
  ExpectFieldError(status, grpc::NOT_FOUND, "name");
}

TEST_F(MappingServiceTest, ManyWatchersSeeTheEnd) {
  const std::string name = NewMapping(Request(CompleteQuery(40), 20));
  std::vector<std::thread> watchers;
  std::atomic<int> succeeded = 0;
  for (int i = 0; i < 16; ++i) {
    watchers.emplace_back([&] { succeeded += AwaitEnd(name).state() == v1::Mapping::SUCCEEDED; });
  }
  for (std::thread& watcher : watchers) watcher.join();
  EXPECT_EQ(succeeded, 16);
}

class FewResultsTest : public MappingServiceTest {
 protected:
  FewResultsTest() { options_.results.max_results = 1; }
};

TEST_F(FewResultsTest, OldRowsExpireAndTheReportStays) {
  const std::string upload = CompleteQuery(20);
  const std::string first = NewMapping(Request(upload, 1));
  AwaitEnd(first);
  AwaitEnd(NewMapping(Request(upload, 1)));
  v1::EmbeddingBlock rows;
  const grpc::Status status = Read(first, &rows);
  ExpectFieldError(status, grpc::NOT_FOUND, "name");
  EXPECT_THAT(status.error_message(), testing::HasSubstr("expired"));
  v1::Mapping mapping;
  ASSERT_TRUE(Get(first, &mapping).ok());
  EXPECT_EQ(mapping.report().cells(), 20);
}

class ShortQueueTest : public MappingServiceTest {
 protected:
  ShortQueueTest() {
    options_.max_queued_mappings = 1;
    options_.concurrent_mappings = 1;
  }
};

TEST_F(ShortQueueTest, AFullQueueIsResourceExhausted) {
  const std::string upload = CompleteQuery(200);
  const std::string running = NewMapping(Request(upload, 100000));
  Watch(running, nullptr,
        [](const v1::Mapping& mapping) { return mapping.state() == v1::Mapping::RUNNING; });
  const std::string queued = NewMapping(Request(upload, 1));
  v1::Mapping mapping;
  const grpc::Status full = Create(Request(upload, 1), &mapping);
  ExpectFieldError(full, grpc::RESOURCE_EXHAUSTED, "queue");
  EXPECT_TRUE(Decode(full).retry.has_value());
  ASSERT_TRUE(Cancel(queued).ok());
  EXPECT_EQ(AwaitEnd(queued).state(), v1::Mapping::CANCELLED);
  EXPECT_TRUE(Cancel(running).ok());
}

TEST_F(MappingServiceTest, StoppingReleasesMappingsAndEndsWatches) {
  const std::string name = NewMapping(Request(CompleteQuery(200), 100000));
  grpc::Status status;
  absl::Notification running;
  std::thread watcher([&] {
    Watch(name, &status, [&](const v1::Mapping& mapping) {
      const bool runs = mapping.state() == v1::Mapping::RUNNING;
      if (runs && !running.HasBeenNotified()) running.Notify();
      return false;
    });
  });
  running.WaitForNotification();
  server_->Stop();
  watcher.join();
  EXPECT_EQ(status.error_code(), grpc::UNAVAILABLE) << status.error_message();
}

}  // namespace
}  // namespace portolan::server
