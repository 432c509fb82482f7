#include "client/cpp/expression.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/error.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

// Strings hold bytes of any alignment, hence the copy.
absl::Status Take(const std::string& bytes, int64_t values, std::vector<float>& out) {
  if (bytes.size() % sizeof(float) != 0 ||
      static_cast<int64_t>(bytes.size() / sizeof(float)) != values) {
    return absl::DataLossError(
        absl::StrCat("an expression block has ", bytes.size(), " bytes for ", values, " values"));
  }
  out.resize(values);
  if (!bytes.empty()) bytes.copy(reinterpret_cast<char*>(out.data()), bytes.size());
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadExpression(Client& client, const v1::ReadExpressionRequest& request, int64_t cells,
                            const ExpressionSink& sink) {
  Client::Call call(client);
  auto reader = client.mappings().ReadExpression(call.context(), request);
  v1::ExpressionBlock block;
  std::vector<float> genes;
  std::vector<float> proteins;
  std::vector<float> foreground;
  int64_t next = 0;
  const auto take = [&]() -> absl::Status {
    const int64_t rows = block.cells();
    if (block.first_cell() != next || rows <= 0 || rows > cells - next) {
      return absl::DataLossError(
          absl::StrCat("an expression block of ", rows, " cells came for cell ", next));
    }
    PORTOLAN_RETURN_IF_ERROR(Take(block.genes(), rows * request.genes_size(), genes));
    PORTOLAN_RETURN_IF_ERROR(Take(block.proteins(), rows * request.proteins_size(), proteins));
    PORTOLAN_RETURN_IF_ERROR(Take(
        block.foreground(), request.foreground() ? rows * request.proteins_size() : 0, foreground));
    next += rows;
    return sink({block.first_cell(), rows, genes, proteins, foreground});
  };
  absl::Status taken;
  while (taken.ok() && reader->Read(&block)) taken = take();
  if (!taken.ok()) call.context()->TryCancel();
  const grpc::Status status = reader->Finish();
  PORTOLAN_RETURN_IF_ERROR(client.interrupted().Check());
  PORTOLAN_RETURN_IF_ERROR(taken);
  PORTOLAN_RETURN_IF_ERROR(FromGrpcStatus(status));
  if (next == cells) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the server sent ", next, " of ", cells, " cells"));
}

}  // namespace portolan::client
