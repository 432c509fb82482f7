#pragma once

/// Early return on a failed absl::Status or absl::StatusOr.

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define PORTOLAN_CONCAT_INNER(a, b) a##b
#define PORTOLAN_CONCAT(a, b) PORTOLAN_CONCAT_INNER(a, b)

/// PORTOLAN_RETURN_IF_ERROR(F()); where F returns absl::Status.
#define PORTOLAN_RETURN_IF_ERROR(expr) \
  PORTOLAN_RETURN_IF_ERROR_IMPL(PORTOLAN_CONCAT(portolan_status_, __LINE__), expr)

#define PORTOLAN_RETURN_IF_ERROR_IMPL(var, expr)          \
  do {                                                    \
    if (absl::Status var = (expr); !var.ok()) return var; \
  } while (false)

/// PORTOLAN_ASSIGN_OR_RETURN(auto x, F()); where F returns absl::StatusOr.
#define PORTOLAN_ASSIGN_OR_RETURN(lhs, expr) \
  PORTOLAN_ASSIGN_OR_RETURN_IMPL(PORTOLAN_CONCAT(portolan_or_, __LINE__), lhs, expr)

#define PORTOLAN_ASSIGN_OR_RETURN_IMPL(var, lhs, expr) \
  auto var = (expr);                                   \
  if (!var.ok()) return std::move(var).status();       \
  lhs = *std::move(var)
