#include "server/embedding_service.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/cancellation.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/mapping/mapping.h"
#include "server/catalog.h"
#include "server/converters.h"
#include "server/count_block.h"
#include "server/status.h"
#include "server/unary_call.h"

namespace portolan::server {
namespace {

/// Of one answer; a block of short rows could otherwise ask for a message of any size.
constexpr int64_t kMaxAnswerBytes = 4 << 20;

/// One Embed call. At most one operation is under way at any time, so it needs no lock; only the
/// cancel token is shared with OnCancel(). Owns itself until OnDone().
class EmbedReactor final : public grpc::ServerBidiReactor<v1::EmbedRequest, v1::EmbedResponse> {
 public:
  EmbedReactor(const AtlasCatalog& catalog, Executor& executor)
      : catalog_(catalog), executor_(executor) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    executor_.Run([this, ok] {
      const absl::Status status = Fenced([&] { return ok ? Answer() : CheckEnd(); });
      if (ok && status.ok()) {
        StartWrite(&response_);
      } else {
        Finish(ToGrpcStatus(status));
      }
    });
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&request_);
    } else {
      Finish(ToGrpcStatus(absl::CancelledError("the client has gone")));
    }
  }

  void OnCancel() override { cancel_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  absl::Status Answer() {
    response_.Clear();
    switch (request_.content_case()) {
      case v1::EmbedRequest::kHeader:
        return AnswerHeader(request_.header());
      case v1::EmbedRequest::kBlock:
        return AnswerBlock(request_.block());
      default:
        return InvalidField("content", "neither a header nor a block", "Send one of the two.");
    }
  }

  absl::Status AnswerHeader(const v1::EmbedRequest::Header& header) {
    if (version_ != nullptr) {
      return InvalidField("header", "a second one", "Send one header, first.");
    }
    PORTOLAN_ASSIGN_OR_RETURN(const ResolvedVersion found,
                              FindVersion(catalog_, "header.version", header.version()));
    batches_.assign(header.batches().begin(), header.batches().end());
    for (const std::string& batch : batches_) {
      if (found.version->model->has_batch_key() && found.version->model->BatchCode(batch) < 0) {
        return InvalidField("header.batches",
                            absl::StrCat("the version does not know batch \"", batch, "\""),
                            "Name batches the version knows, or map the cells first.");
      }
    }
    version_ = found.version;
    const ModelDescription& description = version_->model->description();
    if (description.model_class == ModelClass::kScanvi) labels_ = description.labels.categories;
    v1::EmbedResponse::Header* answer = response_.mutable_header();
    answer->set_version_id(version_->id);
    answer->mutable_labels()->Add(labels_.begin(), labels_.end());
    answer->set_instruction_set(InstructionSet());
    return absl::OkStatus();
  }

  absl::Status AnswerBlock(const v1::CountBlock& block) {
    if (version_ == nullptr) {
      return InvalidField("header", "missing", "Send a header before the blocks.");
    }
    const Architecture& architecture = version_->model->description().architecture;
    CountBlockBounds bounds = BoundsOf(version_->model->description());
    bounds.batches = static_cast<int64_t>(batches_.size());
    bounds.max_cells =
        kMaxAnswerBytes / RowBytes(architecture.n_latent, static_cast<int64_t>(labels_.size()));
    bounds.need_names = false;
    bounds.encoding = true;
    PORTOLAN_ASSIGN_OR_RETURN(DecodedBlock decoded,
                              DecodeCountBlock(block, bounds, absl::StrCat("block ", blocks_)));
    Query query;
    query.counts = std::move(decoded.counts);
    query.batches = batches_;
    query.batch_codes = std::move(decoded.batch_codes);
    query.annotations = std::move(decoded.annotations);
    query.proteins = std::move(decoded.proteins);
    PORTOLAN_ASSIGN_OR_RETURN(const MappingResult rows, EmbedCells(*version_, query, cancel_));
    *response_.mutable_block() = RowsToProto(rows, 0, rows.cells);
    response_.mutable_block()->set_first_cell(cells_);
    cells_ += rows.cells;
    ++blocks_;
    return absl::OkStatus();
  }

  absl::Status CheckEnd() const {
    if (version_ == nullptr) {
      return InvalidField("header", "missing", "Send a header before the blocks.");
    }
    return absl::OkStatus();
  }

  const AtlasCatalog& catalog_;
  Executor& executor_;
  const CancelToken cancel_;
  v1::EmbedRequest request_;
  v1::EmbedResponse response_;
  std::shared_ptr<const AtlasVersion> version_;  ///< from the header on
  std::vector<std::string> batches_;
  std::vector<std::string> labels_;
  int64_t cells_ = 0;
  int64_t blocks_ = 0;
};

class RefusedReactor final : public grpc::ServerBidiReactor<v1::EmbedRequest, v1::EmbedResponse> {
 public:
  explicit RefusedReactor(const absl::Status& status) { Finish(ToGrpcStatus(status)); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerBidiReactor<v1::EmbedRequest, v1::EmbedResponse>* EmbeddingService::Embed(
    grpc::CallbackServerContext* /*context*/) {
  if (draining_) return new RefusedReactor(DrainingError());
  return new EmbedReactor(catalog_, executor_);
}

}  // namespace portolan::server
