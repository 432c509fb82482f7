#include "client/cpp/mapping.h"

#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/error.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

bool IsOver(const v1::Mapping& mapping) {
  return mapping.state() == v1::Mapping::SUCCEEDED || mapping.state() == v1::Mapping::FAILED ||
         mapping.state() == v1::Mapping::CANCELLED;
}

absl::StatusOr<v1::Mapping> Outcome(v1::Mapping mapping) {
  if (mapping.state() == v1::Mapping::FAILED) return FromMappingError(mapping.error());
  if (mapping.state() == v1::Mapping::CANCELLED) {
    return absl::CancelledError(absl::StrCat(mapping.name(), " was cancelled on the server"));
  }
  return mapping;
}

absl::Status GiveUp(Client& client, const grpc::Status& failure) {
  PORTOLAN_RETURN_IF_ERROR(client.interrupted().Check());
  return FromGrpcStatus(failure);
}

// Follows the mapping until it is over or the stream is.
grpc::Status WatchOnce(Client& client, v1::Mapping& mapping, Retrier& retrier,
                       const MappingCallback& on_change) {
  v1::GetMappingRequest request;
  request.set_name(mapping.name());
  Client::Call call(client);
  auto reader = client.mappings().WatchMapping(call.context(), request);
  v1::Mapping seen;
  while (reader->Read(&seen)) {
    retrier.Reset();
    mapping = seen;
    if (on_change) on_change(mapping);
  }
  return reader->Finish();
}

absl::StatusOr<v1::Mapping> Follow(Client& client, v1::Mapping mapping,
                                   const MappingCallback& on_change) {
  Retrier retrier(client.options().streams, client.interrupted());
  while (!IsOver(mapping)) {
    PORTOLAN_RETURN_IF_ERROR(client.interrupted().Check());
    grpc::Status status = WatchOnce(client, mapping, retrier, on_change);
    if (IsOver(mapping)) break;
    if (status.ok()) {
      status = {grpc::StatusCode::UNAVAILABLE, "the server stopped watching before the end"};
    }
    if (!StreamMayResume(status) || !retrier.WaitBeforeRetry(status)) {
      return GiveUp(client, status);
    }
  }
  return Outcome(std::move(mapping));
}

grpc::Status ReadOnce(Client& client, const std::string& mapping, int64_t cells,
                      EmbeddingRows& rows, absl::Status& bad_block) {
  v1::ReadEmbeddingRequest request;
  request.set_name(mapping);
  Client::Call call(client);
  auto reader = client.mappings().ReadEmbedding(call.context(), request);
  v1::EmbeddingBlock block;
  while (bad_block.ok() && reader->Read(&block)) {
    if (block.cells() > cells - rows.cells) {
      bad_block = absl::DataLossError(
          absl::StrCat("the embedding of ", mapping, " has more than ", cells, " cells"));
    } else {
      bad_block = AppendBlock(block, rows);
    }
  }
  if (!bad_block.ok()) call.context()->TryCancel();
  return reader->Finish();
}

// True when `bytes` holds exactly rows x width values of `size` bytes; no product can overflow.
bool HoldsExactly(const std::string& bytes, int64_t rows, int64_t width, int64_t size) {
  const int64_t values = static_cast<int64_t>(bytes.size()) / size;
  if (static_cast<int64_t>(bytes.size()) % size != 0) return false;
  if (width == 0) return values == 0;
  return values % width == 0 && values / width == rows;
}

template <typename Value>
void AppendRaw(const std::string& bytes, std::vector<Value>& out) {
  const size_t before = out.size();
  out.resize(before + bytes.size() / sizeof(Value));
  if (!bytes.empty()) std::memcpy(out.data() + before, bytes.data(), bytes.size());
}

}  // namespace

absl::Status AppendBlock(const v1::EmbeddingBlock& block, EmbeddingRows& rows) {
  const auto damaged = [&](const char* what) {
    return absl::DataLossError(
        absl::StrCat("embedding block at cell ", block.first_cell(), ": ", what));
  };
  if (block.first_cell() != rows.cells) return damaged("blocks are out of order");
  if (block.cells() <= 0 || block.n_latent() <= 0 || block.n_labels() < 0) {
    return damaged("states impossible sizes");
  }
  if (rows.cells > 0 && (block.n_latent() != rows.n_latent || block.n_labels() != rows.n_labels)) {
    return damaged("its widths differ from the first block's");
  }
  if (!HoldsExactly(block.latent(), block.cells(), block.n_latent(), sizeof(float)) ||
      !HoldsExactly(block.probabilities(), block.cells(), block.n_labels(), sizeof(float)) ||
      !HoldsExactly(block.label_codes(), block.cells(), block.n_labels() > 0 ? 1 : 0,
                    sizeof(int32_t))) {
    return damaged("its arrays have not the sizes it states");
  }
  rows.n_latent = block.n_latent();
  rows.n_labels = block.n_labels();
  rows.cells += block.cells();
  AppendRaw(block.latent(), rows.latent);
  AppendRaw(block.probabilities(), rows.probabilities);
  const size_t first_code = rows.label_codes.size();
  AppendRaw(block.label_codes(), rows.label_codes);
  for (size_t i = first_code; i < rows.label_codes.size(); ++i) {
    if (rows.label_codes[i] < 0 || rows.label_codes[i] >= rows.n_labels) {
      return damaged("a label code is out of range");
    }
  }
  return absl::OkStatus();
}

std::string RandomRequestId() {
  std::random_device random;
  std::string id;
  for (int i = 0; i < 4; ++i) absl::StrAppend(&id, absl::StrFormat("%08x", random()));
  return id;
}

absl::StatusOr<v1::Mapping> RunMapping(Client& client, v1::CreateMappingRequest request,
                                       const MappingCallback& on_change) {
  if (request.request_id().empty()) request.set_request_id(RandomRequestId());
  absl::StatusOr<v1::Mapping> created = client.CreateMapping(request);
  if (!created.ok()) return created;
  const std::string name = created->name();
  absl::StatusOr<v1::Mapping> ended = Follow(client, *std::move(created), on_change);
  // Whoever asked is gone, so nobody would fetch the result. A mapping that ended meanwhile
  // refuses, which changes nothing.
  if (client.interrupted().cancelled()) client.CancelMapping(name).IgnoreError();
  return ended;
}

absl::StatusOr<EmbeddingRows> ReadEmbedding(Client& client, const std::string& mapping,
                                            int64_t cells) {
  Retrier retrier(client.options().streams, client.interrupted());
  while (true) {
    PORTOLAN_RETURN_IF_ERROR(client.interrupted().Check());
    EmbeddingRows rows;
    absl::Status bad_block;
    const grpc::Status status = ReadOnce(client, mapping, cells, rows, bad_block);
    PORTOLAN_RETURN_IF_ERROR(bad_block);
    if (status.ok() && rows.cells == cells) return rows;
    if (status.ok()) {
      return absl::DataLossError(absl::StrCat("the embedding of ", mapping, " ended after ",
                                              rows.cells, " of ", cells, " cells"));
    }
    if (!StreamMayResume(status) || !retrier.WaitBeforeRetry(status)) {
      return GiveUp(client, status);
    }
  }
}

}  // namespace portolan::client
