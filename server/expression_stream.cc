#include "server/expression_stream.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "server/status.h"
#include "server/unary_call.h"

namespace portolan::server {
namespace {

constexpr int64_t kBlockBytes = 1 << 20;
constexpr int64_t kMostRows = 256;

absl::StatusOr<std::vector<int32_t>> Codes(
    const google::protobuf::RepeatedPtrField<std::string>& names,
    const std::vector<std::string>& known, const char* field) {
  std::unordered_map<std::string_view, int32_t> code_of;
  for (size_t i = 0; i < known.size(); ++i) code_of.emplace(known[i], static_cast<int32_t>(i));
  std::vector<int32_t> codes;
  for (const std::string& name : names) {
    const auto it = code_of.find(name);
    if (it == code_of.end()) {
      return InvalidField(
          field, absl::StrCat("\"", name, "\" is not one of the model's"),
          known.empty() ? "The model has none."
                        : absl::StrCat("Name some of its ", known.size(), ": ", known[0], ", ..."));
    }
    codes.push_back(it->second);
  }
  return codes;
}

std::string Bytes(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

class ExpressionReactor final : public grpc::ServerWriteReactor<v1::ExpressionBlock> {
 public:
  ExpressionReactor(ExpressionTask task, Executor& executor)
      : task_(std::move(task)), executor_(executor) {
    const ExpressionOptions& options = task_.options;
    const int64_t width = static_cast<int64_t>(options.genes.size()) +
                          static_cast<int64_t>(options.proteins.size()) * 2;
    rows_per_block_ =
        std::clamp<int64_t>(kBlockBytes / (4 * std::max<int64_t>(1, width)), 1, kMostRows);
    Advance();
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      Advance();
    } else {
      Finish(ToGrpcStatus(absl::CancelledError("the reader has gone")));
    }
  }
  void OnCancel() override { cancel_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  void Advance() {
    if (next_ >= task_.query->query.counts.rows()) {
      Finish(grpc::Status::OK);
      return;
    }
    executor_.Run([this] {
      const absl::Status status = Fenced([&] { return Compute(); });
      if (status.ok()) {
        StartWrite(&message_);
      } else {
        Finish(ToGrpcStatus(status));
      }
    });
  }

  absl::Status Compute() {
    const Query& query = task_.query->query;
    const int64_t rows = std::min(rows_per_block_, query.counts.rows() - next_);
    PORTOLAN_ASSIGN_OR_RETURN(
        const ExpressionBlock block,
        ExpressRows(*task_.version, query, next_, rows, task_.options, task_.seed, cancel_));
    message_.set_first_cell(next_);
    message_.set_cells(rows);
    message_.set_genes(Bytes(block.genes));
    message_.set_proteins(Bytes(block.proteins));
    message_.set_foreground(Bytes(block.foreground));
    next_ += rows;
    return absl::OkStatus();
  }

  const ExpressionTask task_;
  Executor& executor_;
  CancelToken cancel_;
  v1::ExpressionBlock message_;
  int64_t rows_per_block_ = 1;
  int64_t next_ = 0;
};

}  // namespace

absl::StatusOr<ExpressionOptions> ExpressionOptionsOf(const v1::ReadExpressionRequest& request,
                                                      const Model& model) {
  const ModelDescription& description = model.description();
  ExpressionOptions options;
  PORTOLAN_ASSIGN_OR_RETURN(options.genes, Codes(request.genes(), description.genes, "genes"));
  PORTOLAN_ASSIGN_OR_RETURN(options.proteins,
                            Codes(request.proteins(), description.proteins, "proteins"));
  if (request.transform_batches_size() > 0) {
    PORTOLAN_ASSIGN_OR_RETURN(
        options.transform_batches,
        Codes(request.transform_batches(), description.batches.categories, "transform_batches"));
  }
  options.samples = std::max(1, request.samples());
  options.deterministic = request.deterministic();
  if (request.has_library_size()) options.library_size = request.library_size();
  if (request.observed_library_size()) options.library_size.reset();
  options.foreground = request.foreground();
  options.scale_protein = request.scale_protein();
  options.include_protein_background = request.include_protein_background();
  return options;
}

grpc::ServerWriteReactor<v1::ExpressionBlock>* StreamExpression(ExpressionTask task,
                                                                Executor& executor) {
  return new ExpressionReactor(std::move(task), executor);
}

}  // namespace portolan::server
