#pragma once

#include <map>
#include <string>

#include "core/archive/host_tensor.h"
#include "core/model/extension.h"
#include "core/model/model.h"

namespace portolan {

/// Where scvi-tools' load_query_data leaves the columns of new batches: behind all others. The
/// columns of extra categorical covariates stand behind the batches', so every one of them changes
/// its meaning, and the new batches start from what were the covariates' columns. A reference of
/// one batch has no batch columns: its own column is as new as the query's. Portolan puts new
/// columns where they belong; this reproduces the other for FreezeFlags::scvi_columns.
struct ScviLayout {
  Extension moved;                            ///< no batches; replaces the parent's columns
  std::map<std::string, HostTensor> columns;  ///< start values of the new batches
};

/// Whether the layout differs from the right one for `model`.
bool MovesColumns(const Model& model);

/// `drawn`: the new columns that load_query_data appends, by key: InitialColumns of the new
/// batches. `own`: those of the reference's one batch, used where `model` has but one.
ScviLayout ScviColumns(const Model& model, const std::map<std::string, HostTensor>& drawn,
                       const std::map<std::string, HostTensor>& own);

/// `trained` on a model that `layout` had been applied to, as an extension of the model without.
Extension OnOriginal(const ScviLayout& layout, Extension trained);

}  // namespace portolan
