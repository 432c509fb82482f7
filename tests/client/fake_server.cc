#include "tests/client/fake_server.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <zlib.h>

#include <condition_variable>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/base/sha256.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "portolan/v1/atlas.grpc.pb.h"
#include "portolan/v1/embedding.grpc.pb.h"
#include "portolan/v1/mapping.grpc.pb.h"
#include "portolan/v1/upload.grpc.pb.h"

namespace portolan::client {
namespace {

template <typename Wire>
std::vector<Wire> Unpack(const std::string& bytes) {
  std::vector<Wire> out(bytes.size() / sizeof(Wire));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(Wire));
  return out;
}

template <typename Wire, typename Value>
bool AppendAs(const std::string& bytes, std::vector<Value>& out) {
  const std::vector<Wire> wire = Unpack<Wire>(bytes);
  out.insert(out.end(), wire.begin(), wire.end());
  return bytes.size() % sizeof(Wire) == 0;
}

template <typename Value>
std::string Bytes(const std::vector<Value>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(Value)};
}

grpc::Status WithDetail(grpc::StatusCode code, const std::string& message,
                        const google::protobuf::Message& detail) {
  google::rpc::Status rich;
  rich.set_code(code);
  rich.set_message(message);
  rich.add_details()->PackFrom(detail);
  return {code, message, rich.SerializeAsString()};
}

v1::EmbeddingBlock EmbedCells(const ReceivedCells& cells, int64_t first, int64_t rows,
                              int64_t n_labels) {
  std::vector<float> latent;
  std::vector<float> probabilities(rows * n_labels, 0.0f);
  std::vector<int32_t> codes;
  for (int64_t row = first; row < first + rows; ++row) {
    float sum = 0;
    for (const float value : cells.counts.row_values(row)) sum += value;
    const auto columns = cells.counts.row_columns(row);
    latent.push_back(sum);
    latent.push_back(columns.empty() ? -1.0f : static_cast<float>(columns[0]));
    if (n_labels == 0) continue;
    codes.push_back(static_cast<int32_t>(sum) % static_cast<int32_t>(n_labels));
    probabilities[(row - first) * n_labels + codes.back()] = 1.0f;
  }
  v1::EmbeddingBlock block;
  block.set_first_cell(first);
  block.set_cells(rows);
  block.set_n_latent(2);
  block.set_latent(Bytes(latent));
  block.set_n_labels(n_labels);
  block.set_probabilities(Bytes(probabilities));
  block.set_label_codes(Bytes(codes));
  return block;
}

}  // namespace

bool DecodeBlock(const v1::CountBlock& block, int64_t genes, ReceivedCells& cells) {
  const std::string checked =
      block.batch_codes() + block.row_lengths() + block.columns() + block.values();
  if (crc32(0, reinterpret_cast<const Bytef*>(checked.data()), checked.size()) != block.crc32()) {
    return false;
  }
  cells.counts.cols = genes;
  cells.names.insert(cells.names.end(), block.cell_names().begin(), block.cell_names().end());
  bool fits = AppendAs<int32_t>(block.batch_codes(), cells.batch_codes);
  for (const int32_t length : Unpack<int32_t>(block.row_lengths())) {
    cells.counts.row_offsets.push_back(cells.counts.row_offsets.back() + length);
  }
  fits &= block.column_type() == v1::UINT16
              ? AppendAs<uint16_t>(block.columns(), cells.counts.columns)
              : AppendAs<int32_t>(block.columns(), cells.counts.columns);
  fits &= block.value_type() == v1::UINT8 ? AppendAs<uint8_t>(block.values(), cells.counts.values)
          : block.value_type() == v1::UINT16
              ? AppendAs<uint16_t>(block.values(), cells.counts.values)
              : AppendAs<float>(block.values(), cells.counts.values);
  const auto stored = static_cast<size_t>(cells.counts.row_offsets.back());
  return fits && stored == cells.counts.columns.size() && stored == cells.counts.values.size() &&
         cells.names.size() == static_cast<size_t>(cells.counts.rows()) &&
         cells.names.size() == cells.batch_codes.size();
}

struct FakeServer::State final : v1::AtlasService::Service,
                                 v1::UploadService::Service,
                                 v1::MappingService::Service,
                                 v1::EmbeddingService::Service {
  mutable std::mutex mutex;
  std::condition_variable changed;
  FakeBehaviour behaviour;
  FakeRecord record;
  int port = 0;
  std::unique_ptr<grpc::Server> server;

  int64_t genes() const { return static_cast<int64_t>(behaviour.genes.size()); }
  int64_t labels() const { return static_cast<int64_t>(behaviour.labels.size()); }

  void FillAtlas(v1::Atlas* atlas) const {
    atlas->set_name("atlases/toy");
    atlas->set_reference_version("aaaa1111");
    atlas->set_version_count(1);
    v1::Model* model = atlas->mutable_model();
    model->set_model_class(behaviour.labels.empty() ? "SCVI" : "SCANVI");
    model->set_scvi_version("1.4.2");
    model->set_n_latent(2);
    model->set_n_genes(genes());
    model->set_gene_likelihood("zinb");
    model->set_dispersion("gene");
    model->set_batch_key("donor");
    model->mutable_labels()->Add(behaviour.labels.begin(), behaviour.labels.end());
  }

  void FillVersion(v1::Version* version) const {
    version->set_name("atlases/toy/versions/aaaa1111");
    version->set_id("aaaa1111");
    version->set_extension_kind("reference");
    version->mutable_batches()->Add(behaviour.batches.begin(), behaviour.batches.end());
    version->mutable_genes()->Add(behaviour.genes.begin(), behaviour.genes.end());
  }

  void FillUpload(v1::Upload* upload) const {
    upload->set_name("uploads/u1");
    upload->set_cells(record.upload.cells());
    upload->set_cells_received(static_cast<int64_t>(record.cells.names.size()));
    upload->set_next_part(record.parts);
    upload->set_complete(record.completed);
  }

  v1::Mapping MappingIn(v1::Mapping::State now) const {
    v1::Mapping mapping;
    mapping.set_name("mappings/m1");
    mapping.set_state(now);
    v1::Progress* progress = mapping.mutable_progress();
    progress->set_stage(now == v1::Mapping::RUNNING ? "train" : "report");
    progress->set_eta_seconds(3);
    for (const std::string& batch : record.upload.batches()) {
      v1::BatchProgress* entry = progress->add_batches();
      entry->set_batch(batch);
      entry->set_epoch(now == v1::Mapping::RUNNING ? 1 : 2);
      entry->set_max_epochs(2);
      entry->set_loss(12.5);
      entry->set_done(now != v1::Mapping::RUNNING);
    }
    if (now == v1::Mapping::SUCCEEDED) FillReport(mapping.mutable_report());
    if (now == v1::Mapping::FAILED) {
      mapping.mutable_error()->set_code(grpc::StatusCode::INVALID_ARGUMENT);
      mapping.mutable_error()->set_message("learning_rate: 1e9. Choose less");
      mapping.mutable_error()->set_field("learning_rate");
      mapping.mutable_error()->set_found("1e9");
      mapping.mutable_error()->set_remedy("Choose less");
    }
    return mapping;
  }

  void FillReport(v1::MappingReport* report) const {
    report->set_version_id("bbbb2222");
    report->set_parent("aaaa1111");
    report->set_strategy("independent");
    report->set_preset("scvi");
    report->set_seed(record.mapping.options().seed());
    *report->mutable_genes() = record.upload.genes();
    report->set_elbo(-321.5);
    report->set_extension_kind("adapter");
    report->set_extension_bytes(4096);
    report->set_instruction_set("test");
    (*report->mutable_seconds())["train"] = 1.5;
    report->add_notes("a note");
    report->mutable_labels()->Add(behaviour.labels.begin(), behaviour.labels.end());
    report->set_n_latent(2);
    report->set_cells(static_cast<int64_t>(record.cells.names.size()));
    for (const std::string& batch : record.upload.batches()) {
      v1::BatchReport* entry = report->add_batches();
      entry->set_batch(batch);
      entry->set_trained(true);
      entry->set_epochs(2);
      entry->set_steps(4);
      entry->add_train_loss(20);
      entry->add_train_loss(12.5);
      entry->set_stop_reason("epochs");
    }
  }

  // AtlasService
  grpc::Status ListAtlases(grpc::ServerContext*, const v1::ListAtlasesRequest*,
                           v1::ListAtlasesResponse* response) override {
    FillAtlas(response->add_atlases());
    response->add_refused()->set_name("atlases/bad");
    response->mutable_refused(0)->set_reason("model.pt is truncated");
    return grpc::Status::OK;
  }

  grpc::Status GetAtlas(grpc::ServerContext*, const v1::GetAtlasRequest* request,
                        v1::Atlas* atlas) override {
    const std::lock_guard<std::mutex> lock(mutex);
    if (behaviour.unavailable_calls > 0) {
      --behaviour.unavailable_calls;
      google::rpc::RetryInfo info;
      info.mutable_retry_delay()->set_nanos(7000000);
      return WithDetail(grpc::StatusCode::UNAVAILABLE, "loading", info);
    }
    if (request->name() != "atlases/toy") {
      return {grpc::StatusCode::NOT_FOUND, absl::StrCat("no atlas ", request->name())};
    }
    FillAtlas(atlas);
    return grpc::Status::OK;
  }

  grpc::Status ListVersions(grpc::ServerContext*, const v1::ListVersionsRequest*,
                            v1::ListVersionsResponse* response) override {
    FillVersion(response->add_versions());
    return grpc::Status::OK;
  }

  grpc::Status GetVersion(grpc::ServerContext*, const v1::GetVersionRequest*,
                          v1::Version* version) override {
    FillVersion(version);
    return grpc::Status::OK;
  }

  grpc::Status ExportVersion(grpc::ServerContext*, const v1::ExportVersionRequest* request,
                             grpc::ServerWriter<v1::ExportVersionResponse>* writer) override {
    if (request->name() != "atlases/toy/versions/aaaa1111") {
      return {grpc::StatusCode::NOT_FOUND, absl::StrCat("no version ", request->name())};
    }
    v1::ExportVersionResponse message;
    v1::ExportVersionResponse::Header* header = message.mutable_header();
    header->set_version_id("aaaa1111");
    header->set_scvi_version("1.4.2");
    header->set_bytes(static_cast<int64_t>(behaviour.model_file.size()));
    header->set_sha256(Sha256Hex(behaviour.model_file));
    header->add_notes("Open it with care.");
    writer->Write(message);
    bool broken = false;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      std::swap(broken, behaviour.break_export);
    }
    const size_t half = behaviour.model_file.size() / 2;
    message.set_chunk(behaviour.model_file.substr(0, half));
    writer->Write(message);
    if (broken) return {grpc::StatusCode::UNAVAILABLE, "the stream broke"};
    message.set_chunk(behaviour.model_file.substr(half));
    if (behaviour.damage_export) message.mutable_chunk()->back() ^= 1;
    writer->Write(message);
    return grpc::Status::OK;
  }

  // UploadService
  grpc::Status CreateUpload(grpc::ServerContext*, const v1::CreateUploadRequest* request,
                            v1::Upload* upload) override {
    const std::lock_guard<std::mutex> lock(mutex);
    if (behaviour.refuse_upload) {
      google::rpc::ErrorInfo info;
      info.set_domain("portolan");
      (*info.mutable_metadata())["field"] = "cells";
      (*info.mutable_metadata())["found"] = absl::StrCat(request->cells());
      (*info.mutable_metadata())["remedy"] = "Send fewer";
      return WithDetail(grpc::StatusCode::INVALID_ARGUMENT, "cells: too many. Send fewer", info);
    }
    record.upload = *request;
    FillUpload(upload);
    return grpc::Status::OK;
  }

  grpc::Status GetUpload(grpc::ServerContext*, const v1::GetUploadRequest*,
                         v1::Upload* upload) override {
    const std::lock_guard<std::mutex> lock(mutex);
    FillUpload(upload);
    return grpc::Status::OK;
  }

  grpc::Status WriteParts(grpc::ServerContext*, grpc::ServerReader<v1::WritePartRequest>* reader,
                          v1::Upload* upload) override {
    const std::lock_guard<std::mutex> lock(mutex);
    ++record.upload_streams;
    v1::WritePartRequest part;
    while (reader->Read(&part)) {
      if (part.part() < record.parts) {
        ++record.skipped_parts;
        continue;
      }
      if (part.part() == behaviour.break_upload_before_part) {
        behaviour.break_upload_before_part = -1;
        return {grpc::StatusCode::UNAVAILABLE, "broken on purpose"};
      }
      if (record.parts > 0 && behaviour.broken_uploads > 0) {
        --behaviour.broken_uploads;
        return {grpc::StatusCode::UNAVAILABLE, "broken on purpose, again"};
      }
      if (part.part() != record.parts || !DecodeBlock(part.block(), genes(), record.cells)) {
        return {grpc::StatusCode::INVALID_ARGUMENT, absl::StrCat("bad part ", part.part())};
      }
      ++record.parts;
    }
    FillUpload(upload);
    return grpc::Status::OK;
  }

  grpc::Status CompleteUpload(grpc::ServerContext*, const v1::CompleteUploadRequest*,
                              v1::Upload* upload) override {
    const std::lock_guard<std::mutex> lock(mutex);
    if (static_cast<int64_t>(record.cells.names.size()) != record.upload.cells()) {
      return {grpc::StatusCode::FAILED_PRECONDITION, "cells are missing"};
    }
    record.completed = true;
    FillUpload(upload);
    return grpc::Status::OK;
  }

  grpc::Status DeleteUpload(grpc::ServerContext*, const v1::DeleteUploadRequest*,
                            v1::DeleteUploadResponse*) override {
    const std::lock_guard<std::mutex> lock(mutex);
    record.deleted = true;
    return grpc::Status::OK;
  }

  // MappingService
  grpc::Status CreateMapping(grpc::ServerContext*, const v1::CreateMappingRequest* request,
                             v1::Mapping* mapping) override {
    const std::lock_guard<std::mutex> lock(mutex);
    record.mapping = *request;
    *mapping = MappingIn(v1::Mapping::QUEUED);
    return grpc::Status::OK;
  }

  grpc::Status WatchMapping(grpc::ServerContext*, const v1::GetMappingRequest*,
                            grpc::ServerWriter<v1::Mapping>* writer) override {
    std::unique_lock<std::mutex> lock(mutex);
    ++record.watches;
    writer->Write(MappingIn(v1::Mapping::RUNNING));
    if (behaviour.break_watch) {
      behaviour.break_watch = false;
      return {grpc::StatusCode::UNAVAILABLE, "broken on purpose"};
    }
    if (behaviour.on_watch) {
      behaviour.on_watch();
      changed.wait(lock, [&] { return record.cancelled; });
      return {grpc::StatusCode::CANCELLED, "cancelled"};
    }
    writer->Write(MappingIn(behaviour.outcome));
    return grpc::Status::OK;
  }

  grpc::Status CancelMapping(grpc::ServerContext*, const v1::CancelMappingRequest*,
                             v1::Mapping* mapping) override {
    const std::lock_guard<std::mutex> lock(mutex);
    record.cancelled = true;
    changed.notify_all();
    *mapping = MappingIn(v1::Mapping::CANCELLED);
    return grpc::Status::OK;
  }

  grpc::Status ReadEmbedding(grpc::ServerContext*, const v1::ReadEmbeddingRequest*,
                             grpc::ServerWriter<v1::EmbeddingBlock>* writer) override {
    const std::lock_guard<std::mutex> lock(mutex);
    ++record.reads;
    constexpr int64_t kRows = 2;
    for (int64_t first = 0; first < record.cells.counts.rows(); first += kRows) {
      const int64_t rows = std::min(kRows, record.cells.counts.rows() - first);
      writer->Write(EmbedCells(record.cells, first, rows, labels()));
      if (behaviour.break_read) {
        behaviour.break_read = false;
        return {grpc::StatusCode::UNAVAILABLE, "broken on purpose"};
      }
    }
    return grpc::Status::OK;
  }

  // EmbeddingService
  grpc::Status Embed(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::EmbedResponse, v1::EmbedRequest>* stream) override {
    const std::lock_guard<std::mutex> lock(mutex);
    v1::EmbedRequest request;
    while (stream->Read(&request)) {
      v1::EmbedResponse response;
      if (request.has_header()) {
        const auto& batches = request.header().batches();
        record.upload.mutable_batches()->CopyFrom(batches);
        response.mutable_header()->set_version_id("aaaa1111");
        response.mutable_header()->mutable_labels()->Add(behaviour.labels.begin(),
                                                         behaviour.labels.end());
      } else {
        const int64_t first = record.cells.counts.rows();
        if (!DecodeBlock(request.block(), genes(), record.cells)) {
          return {grpc::StatusCode::INVALID_ARGUMENT, "bad block"};
        }
        const int64_t rows = record.cells.counts.rows() - first;
        *response.mutable_block() = EmbedCells(record.cells, first, rows, labels());
      }
      stream->Write(response);
    }
    return grpc::Status::OK;
  }
};

FakeServer::FakeServer(FakeBehaviour behaviour) : state_(std::make_unique<State>()) {
  state_->behaviour = std::move(behaviour);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &state_->port);
  builder.RegisterService(static_cast<v1::AtlasService::Service*>(state_.get()));
  builder.RegisterService(static_cast<v1::UploadService::Service*>(state_.get()));
  builder.RegisterService(static_cast<v1::MappingService::Service*>(state_.get()));
  builder.RegisterService(static_cast<v1::EmbeddingService::Service*>(state_.get()));
  state_->server = builder.BuildAndStart();
}

FakeServer::~FakeServer() { state_->server->Shutdown(std::chrono::system_clock::now()); }

std::string FakeServer::address() const { return absl::StrCat("127.0.0.1:", state_->port); }

FakeRecord FakeServer::record() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->record;
}

}  // namespace portolan::client
