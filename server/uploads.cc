#include "server/uploads.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan::server {
namespace {

absl::Status NoSuchUpload(const std::string& id) {
  return FieldError(absl::StatusCode::kNotFound, "upload",
                    absl::StrCat("there is no upload \"", id, "\"; idle ones expire"),
                    "Create a new upload and send the cells again.");
}

absl::Status CheckSpec(const UploadSpec& spec, const UploadLimits& limits) {
  if (spec.cells <= 0) {
    return InvalidField("cells", absl::StrCat(spec.cells), "Announce the number of cells.");
  }
  if (spec.cells > limits.max_cells) {
    return FieldError(absl::StatusCode::kResourceExhausted, "cells", absl::StrCat(spec.cells),
                      absl::StrCat("This server takes at most ", limits.max_cells,
                                   " cells in one upload; split the query by batch."));
  }
  if (spec.batches.empty()) {
    return InvalidField("batches", "none", "Name the batches of the cells.");
  }
  std::unordered_set<std::string_view> seen;
  for (const std::string& batch : spec.batches) {
    if (batch.empty()) return InvalidField("batches", "an empty name", "Name every batch.");
    if (!seen.insert(batch).second) {
      return InvalidField("batches", absl::StrCat("\"", batch, "\" twice"),
                          "Name every batch once.");
    }
  }
  if (spec.gene_report.reference_genes != spec.bounds.genes) {
    return InvalidField(
        "genes.reference_genes",
        absl::StrCat(spec.gene_report.reference_genes, ", the version has ", spec.bounds.genes),
        "Align the query to the genes of the version named.");
  }
  if (!spec.protein_report.has_value()) return absl::OkStatus();
  if (spec.bounds.n_proteins == 0 ||
      spec.protein_report->reference_proteins != spec.bounds.n_proteins) {
    return InvalidField("proteins.reference_proteins",
                        absl::StrCat(spec.protein_report->reference_proteins, ", the version has ",
                                     spec.bounds.n_proteins),
                        spec.bounds.n_proteins == 0
                            ? "The model knows no proteins; send the counts of genes alone."
                            : "Align the query to the proteins of the version named.");
  }
  return absl::OkStatus();
}

// Reserved at most before the cells are there.
constexpr int64_t kMostRoom = int64_t{1} << 30;

/// Room for all cells, if they are like the first ones. Pages that are never written to cost
/// nothing; growing step by step would copy what has come, and hold it twice meanwhile.
void MakeRoom(int64_t cells, const CsrMatrix& first, Query& query) {
  const double per_cell = static_cast<double>(first.nonzeros()) /
                          static_cast<double>(std::max<int64_t>(1, first.rows()));
  const auto stored = static_cast<int64_t>(1.125 * per_cell * static_cast<double>(cells));
  const int64_t fits = kMostRoom / static_cast<int64_t>(sizeof(int32_t) + sizeof(float));
  query.counts.columns.reserve(std::min(stored, fits));
  query.counts.values.reserve(std::min(stored, fits));
  const int64_t rows = std::min(cells, kMostRoom / static_cast<int64_t>(sizeof(std::string)));
  query.counts.row_offsets.reserve(rows + 1);
  query.cell_names.reserve(rows);
  query.batch_codes.reserve(rows);
}

void AppendBlock(DecodedBlock block, Query& query) {
  query.counts.Append(block.counts);
  std::move(block.cell_names.begin(), block.cell_names.end(), std::back_inserter(query.cell_names));
  query.batch_codes.insert(query.batch_codes.end(), block.batch_codes.begin(),
                           block.batch_codes.end());
  query.annotations.Append(block.annotations, query.counts.rows() - block.counts.rows(),
                           block.counts.rows());
  query.proteins.n_proteins = block.proteins.n_proteins;
  query.proteins.values.insert(query.proteins.values.end(), block.proteins.values.begin(),
                               block.proteins.values.end());
}

absl::Status CheckUniqueNames(const std::vector<std::string>& names) {
  std::unordered_map<std::string_view, int64_t> first;
  for (size_t cell = 0; cell < names.size(); ++cell) {
    const auto [found, is_new] = first.emplace(names[cell], static_cast<int64_t>(cell));
    if (!is_new) {
      return InvalidField(
          "obs_names",
          absl::StrCat("\"", names[cell], "\" names cells ", found->second, " and ", cell),
          "Make the cell names unique, for example with obs_names_make_unique().");
    }
  }
  return absl::OkStatus();
}

int64_t BytesOf(const DecodedBlock& block) {
  const CellAnnotations& a = block.annotations;
  const size_t others = block.proteins.values.size() + a.categorical.size() + a.continuous.size() +
                        a.size_factors.size() + a.labels.size();
  int64_t bytes =
      block.counts.nonzeros() * 8 + block.counts.rows() * 12 + static_cast<int64_t>(others) * 4;
  for (const std::string& name : block.cell_names) {
    bytes += static_cast<int64_t>(sizeof(std::string) + name.size());
  }
  return bytes;
}

}  // namespace

UploadStore::UploadStore(Options options) : options_(std::move(options)) {}

absl::StatusOr<UploadState> UploadStore::Create(UploadSpec spec) {
  PORTOLAN_RETURN_IF_ERROR(CheckSpec(spec, options_.limits));
  RemoveIdle();
  auto growing = std::make_unique<UploadedQuery>();
  growing->atlas = spec.atlas;
  growing->query.batches = spec.batches;
  growing->query.genes = spec.gene_report;
  growing->query.protein_report = spec.protein_report;
  growing->query.counts.cols = spec.bounds.genes;
  const auto upload =
      std::make_shared<Upload>(options_.new_id(), std::move(spec), std::move(growing));
  {
    absl::MutexLock lock(&mutex_);
    if (static_cast<int>(uploads_.size()) >= options_.limits.max_open) {
      return FieldError(absl::StatusCode::kResourceExhausted, "uploads",
                        absl::StrCat(uploads_.size(), " are open, the most there may be"),
                        "Delete uploads that are done with, or try again later.");
    }
    upload->last_use = options_.now();
    uploads_[upload->id] = upload;
  }
  absl::MutexLock lock(&upload->mutex);
  return StateOf(*upload);
}

absl::StatusOr<UploadState> UploadStore::Get(const std::string& id) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto upload, Use(id));
  absl::MutexLock lock(&upload->mutex);
  return StateOf(*upload);
}

absl::StatusOr<std::optional<CountBlockBounds>> UploadStore::Expect(const std::string& id,
                                                                    int64_t part) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto upload, Use(id));
  absl::MutexLock lock(&upload->mutex);
  if (part < 0) {
    return InvalidField("part", absl::StrCat(part), "Parts are numbered from 0.");
  }
  if (part < upload->next_part) return std::optional<CountBlockBounds>();
  if (part > upload->next_part) {
    return FieldError(
        absl::StatusCode::kFailedPrecondition, "part",
        absl::StrCat("part ", part, " came before part ", upload->next_part),
        absl::StrCat("Send the parts in order; go on with part ", upload->next_part, "."));
  }
  if (upload->content != nullptr || upload->cells_received == upload->spec.cells) {
    return FieldError(absl::StatusCode::kFailedPrecondition, "part",
                      absl::StrCat("part ", part, " after all ", upload->spec.cells, " cells"),
                      "Complete the upload, or create one with the right number of cells.");
  }
  CountBlockBounds bounds = upload->spec.bounds;
  bounds.need_proteins = upload->spec.protein_report.has_value();
  if (!bounds.need_proteins) bounds.n_proteins = 0;
  bounds.batches = static_cast<int64_t>(upload->spec.batches.size());
  bounds.max_cells = upload->spec.cells - upload->cells_received;
  return std::optional<CountBlockBounds>(bounds);
}

absl::Status UploadStore::Append(const std::string& id, int64_t part, DecodedBlock block) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto upload, Use(id));
  absl::MutexLock lock(&upload->mutex);
  // Another stream may have been quicker since Expect(); its part is as good as this one.
  if (part != upload->next_part || upload->content != nullptr) return absl::OkStatus();
  PORTOLAN_RETURN_IF_ERROR(Reserve(*upload, BytesOf(block)));
  // Where memory runs out, what is left of the upload is of no use: half a part may be in it.
  absl::Cleanup drop = [&] {
    absl::MutexLock all(&mutex_);
    Remove(id);
  };
  if (part == 0) MakeRoom(upload->spec.cells, block.counts, upload->growing->query);
  upload->cells_received += block.counts.rows();
  AppendBlock(std::move(block), upload->growing->query);
  ++upload->next_part;
  std::move(drop).Cancel();
  return absl::OkStatus();
}

absl::StatusOr<UploadState> UploadStore::Complete(const std::string& id) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto upload, Use(id));
  absl::MutexLock lock(&upload->mutex);
  if (upload->content != nullptr) return StateOf(*upload);
  if (upload->cells_received != upload->spec.cells) {
    return FieldError(absl::StatusCode::kFailedPrecondition, "cells",
                      absl::StrCat(upload->cells_received, " of the ", upload->spec.cells,
                                   " announced have come"),
                      absl::StrCat("Send the rest, from part ", upload->next_part, "."));
  }
  Query& query = upload->growing->query;
  PORTOLAN_RETURN_IF_ERROR(CheckUniqueNames(query.cell_names));
  if (query.protein_report.has_value()) {
    query.proteins.measured =
        MeasuredProteins(query.proteins, query.batch_codes, query.batches.size());
  }
  upload->content = std::move(upload->growing);
  return StateOf(*upload);
}

absl::Status UploadStore::Delete(const std::string& id) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto upload, Use(id));
  if (options_.in_use(id)) {
    return FieldError(absl::StatusCode::kFailedPrecondition, "name",
                      absl::StrCat("a mapping still needs upload ", id),
                      "Wait for the mapping, or cancel it.");
  }
  absl::MutexLock lock(&mutex_);
  Remove(id);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const UploadedQuery>> UploadStore::Find(const std::string& id) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto upload, Use(id));
  absl::MutexLock lock(&upload->mutex);
  if (upload->content == nullptr) {
    return FieldError(absl::StatusCode::kFailedPrecondition, "upload",
                      absl::StrCat("upload ", id, " has ", upload->cells_received, " of ",
                                   upload->spec.cells, " cells and is not complete"),
                      "Send all parts and complete the upload first.");
  }
  return upload->content;
}

void UploadStore::RemoveIdle() {
  const auto is_idle = [this](const Upload& upload) {
    return upload.last_use + options_.limits.idle <= options_.now();
  };
  std::vector<std::string> idle;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [id, upload] : uploads_) {
      if (is_idle(*upload)) idle.push_back(id);
    }
  }
  for (const std::string& id : idle) {
    if (options_.in_use(id)) continue;
    absl::MutexLock lock(&mutex_);
    const auto found = uploads_.find(id);
    if (found != uploads_.end() && is_idle(*found->second)) Remove(id);
  }
}

absl::StatusOr<std::shared_ptr<UploadStore::Upload>> UploadStore::Use(const std::string& id) {
  RemoveIdle();
  absl::MutexLock lock(&mutex_);
  const auto found = uploads_.find(id);
  if (found == uploads_.end()) return NoSuchUpload(id);
  found->second->last_use = options_.now();
  return found->second;
}

absl::Status UploadStore::Reserve(Upload& upload, int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  if (uploads_.find(upload.id) == uploads_.end()) return NoSuchUpload(upload.id);
  if (upload.bytes + bytes > options_.limits.max_bytes) {
    return FieldError(absl::StatusCode::kResourceExhausted, "upload",
                      absl::StrCat(upload.bytes + bytes, " bytes"),
                      absl::StrCat("One upload may hold ", options_.limits.max_bytes,
                                   " bytes; split the query by batch."));
  }
  if (bytes_ + bytes > options_.limits.max_all_bytes) {
    return FieldError(absl::StatusCode::kResourceExhausted, "uploads",
                      absl::StrCat("all uploads together hold ", bytes_, " bytes"),
                      "Delete uploads that are done with, or try again later.");
  }
  upload.bytes += bytes;
  bytes_ += bytes;
  return absl::OkStatus();
}

UploadState UploadStore::StateOf(const Upload& upload) const {
  UploadState state;
  state.id = upload.id;
  state.atlas = upload.spec.atlas;
  state.version_id = upload.spec.version_id;
  state.cells = upload.spec.cells;
  state.cells_received = upload.cells_received;
  state.next_part = upload.next_part;
  state.complete = upload.content != nullptr;
  return state;
}

void UploadStore::Remove(const std::string& id) {
  const auto found = uploads_.find(id);
  if (found == uploads_.end()) return;
  bytes_ -= found->second->bytes;
  uploads_.erase(found);
}

}  // namespace portolan::server
