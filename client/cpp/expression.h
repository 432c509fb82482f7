#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "client/cpp/client.h"
#include "portolan/v1/mapping.pb.h"

namespace portolan::client {

/// Rows of expression as they come, row-major; the columns are those of the request.
struct ExpressionRows {
  int64_t first_cell = 0;
  int64_t cells = 0;
  std::span<const float> genes;
  std::span<const float> proteins;
  std::span<const float> foreground;
};

using ExpressionSink = std::function<absl::Status(const ExpressionRows& rows)>;

/// Streams the expression of a mapping's `cells` cells to `sink`, in query order; nothing is kept.
/// Errors: the server's; kDataLoss for blocks out of order or of other sizes than asked for; the
/// sink's; kCancelled on an interrupted client. A broken stream is an error: ask again.
absl::Status ReadExpression(Client& client, const v1::ReadExpressionRequest& request, int64_t cells,
                            const ExpressionSink& sink);

}  // namespace portolan::client
