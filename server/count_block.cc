#include "server/count_block.h"

#include <zlib.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "server/cell_inputs_block.h"

namespace portolan::server {
namespace {

static_assert(std::endian::native == std::endian::little, "raw arrays are little-endian");

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

int64_t SizeOf(v1::DType type) {
  switch (type) {
    case v1::UINT8:
      return 1;
    case v1::UINT16:
      return 2;
    case v1::INT32:
    case v1::FLOAT32:
      return 4;
    default:
      return 0;
  }
}

template <typename T>
T Load(const std::string& bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

absl::Status CheckTypes(const v1::CountBlock& block, std::string_view where) {
  const v1::DType column_type = block.column_type();
  if (column_type != v1::UINT16 && column_type != v1::INT32) {
    return BlockError(where, "column_type", absl::StrCat(static_cast<int>(column_type)),
                      "Send UINT16 or INT32.");
  }
  const v1::DType value_type = block.value_type();
  if (value_type != v1::UINT8 && value_type != v1::UINT16 && value_type != v1::FLOAT32) {
    return BlockError(where, "value_type", absl::StrCat(static_cast<int>(value_type)),
                      "Send UINT8, UINT16 or FLOAT32.");
  }
  return absl::OkStatus();
}

/// Checks the sizes of the arrays against each other; afterwards no index can leave them.
absl::Status CheckSizes(const v1::CountBlock& block, const CountBlockBounds& bounds,
                        std::string_view where) {
  if (block.row_lengths().size() % 4 != 0) {
    return BlockError(where, "row_lengths", absl::StrCat(block.row_lengths().size(), " bytes"),
                      "Send four bytes for each cell.");
  }
  const int64_t cells = static_cast<int64_t>(block.row_lengths().size()) / 4;
  if (cells == 0) {
    return BlockError(where, "row_lengths", "no cells", "Send at least one cell in a block.");
  }
  if (cells > bounds.max_cells) {
    return FieldError(absl::StatusCode::kResourceExhausted, "block.row_lengths",
                      absl::StrCat(Absl(where), ": ", cells, " cells"),
                      absl::StrCat("At most ", bounds.max_cells, " cells fit here."));
  }
  if (static_cast<int64_t>(block.batch_codes().size()) != 4 * cells) {
    return BlockError(where, "batch_codes",
                      absl::StrCat(block.batch_codes().size(), " bytes for ", cells, " cells"),
                      "Send four bytes for each cell.");
  }
  const bool names_fit =
      block.cell_names_size() == cells || (!bounds.need_names && block.cell_names_size() == 0);
  if (!names_fit) {
    return BlockError(where, "cell_names",
                      absl::StrCat(block.cell_names_size(), " names for ", cells, " cells"),
                      "Send one name for each cell.");
  }
  int64_t stored = 0;
  for (int64_t row = 0; row < cells; ++row) {
    const int32_t length = Load<int32_t>(block.row_lengths(), row);
    if (length < 0 || length > bounds.genes) {
      return BlockError(where, "row_lengths", absl::StrCat(length, " values in row ", row),
                        absl::StrCat("A row has 0 to ", bounds.genes, " stored values."));
    }
    stored += length;  // at most 2^21 rows x 2^31
  }
  const auto size_error = [&](std::string_view field, size_t bytes, v1::DType type) {
    return BlockError(where, field, absl::StrCat(bytes, " bytes for ", stored, " stored values"),
                      absl::StrCat("Send ", SizeOf(type), " bytes for each."));
  };
  if (static_cast<int64_t>(block.columns().size()) != stored * SizeOf(block.column_type())) {
    return size_error("columns", block.columns().size(), block.column_type());
  }
  if (static_cast<int64_t>(block.values().size()) != stored * SizeOf(block.value_type())) {
    return size_error("values", block.values().size(), block.value_type());
  }
  return absl::OkStatus();
}

absl::Status ReadRows(const v1::CountBlock& block, const CountBlockBounds& bounds,
                      std::string_view where, DecodedBlock& out) {
  const int64_t cells = static_cast<int64_t>(block.row_lengths().size()) / 4;
  out.counts.cols = bounds.genes;
  out.counts.row_offsets.reserve(cells + 1);
  out.batch_codes.reserve(cells);
  for (int64_t row = 0; row < cells; ++row) {
    out.counts.row_offsets.push_back(out.counts.row_offsets.back() +
                                     Load<int32_t>(block.row_lengths(), row));
    const int32_t code = Load<int32_t>(block.batch_codes(), row);
    if (code < 0 || code >= bounds.batches) {
      return BlockError(
          where, "batch_codes", absl::StrCat(code, " in row ", row),
          absl::StrCat("Codes are positions in the list of ", bounds.batches, " batches, from 0."));
    }
    out.batch_codes.push_back(code);
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status ReadColumns(const v1::CountBlock& block, std::string_view where, CsrMatrix& out) {
  out.columns.resize(out.row_offsets.back());
  for (int64_t row = 0; row < out.rows(); ++row) {
    int64_t previous = -1;
    for (int64_t i = out.row_offsets[row]; i < out.row_offsets[row + 1]; ++i) {
      const int64_t column = Load<T>(block.columns(), i);
      if (column <= previous || column >= out.cols) {
        return BlockError(where, "columns",
                          absl::StrCat(column, " after ", previous, " in row ", row),
                          absl::StrCat("Columns ascend within a row and are below the ", out.cols,
                                       " genes of the reference."));
      }
      out.columns[i] = static_cast<int32_t>(column);
      previous = column;
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status ReadValues(const v1::CountBlock& block, std::string_view where, CsrMatrix& out) {
  out.values.resize(out.row_offsets.back());
  for (int64_t row = 0; row < out.rows(); ++row) {
    for (int64_t i = out.row_offsets[row]; i < out.row_offsets[row + 1]; ++i) {
      const float value = static_cast<float>(Load<T>(block.values(), i));
      // Written so that NaN fails.
      if (!(value > 0 && value <= kMaxCount && value == std::floor(value))) {
        return BlockError(where, "values", absl::StrFormat("%.9g in row %d", value, row),
                          "Send raw counts: positive whole numbers up to 16777216.");
      }
      out.values[i] = value;
    }
  }
  return absl::OkStatus();
}

absl::Status ReadValuesOfType(const v1::CountBlock& block, std::string_view where, CsrMatrix& out) {
  if (block.value_type() == v1::UINT8) return ReadValues<uint8_t>(block, where, out);
  if (block.value_type() == v1::UINT16) return ReadValues<uint16_t>(block, where, out);
  return ReadValues<float>(block, where, out);
}

absl::Status ReadNames(const v1::CountBlock& block, std::string_view where, DecodedBlock& out) {
  out.cell_names.reserve(block.cell_names_size());
  for (const std::string& name : block.cell_names()) {
    if (name.empty()) {
      return BlockError(where, "cell_names",
                        absl::StrCat("row ", out.cell_names.size(), " has none"),
                        "Every cell needs a name.");
    }
    out.cell_names.push_back(name);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BlockError(std::string_view where, std::string_view field, const std::string& found,
                        std::string_view remedy) {
  return InvalidField(absl::StrCat("block.", Absl(field)), absl::StrCat(Absl(where), ": ", found),
                      remedy);
}

uint32_t CountBlockCrc32(const v1::CountBlock& block) {
  uLong crc = crc32_z(0, nullptr, 0);
  for (const std::string* bytes :
       {&block.batch_codes(), &block.row_lengths(), &block.columns(), &block.values(),
        &block.proteins(), &block.categorical_covariates(), &block.continuous_covariates(),
        &block.size_factors(), &block.labels()}) {
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(bytes->data()), bytes->size());
  }
  return static_cast<uint32_t>(crc);
}

absl::StatusOr<DecodedBlock> DecodeCountBlock(const v1::CountBlock& block,
                                              const CountBlockBounds& bounds,
                                              std::string_view where) {
  // First, since damaged bytes would otherwise be reported as some other fault.
  if (const uint32_t crc = CountBlockCrc32(block); crc != block.crc32()) {
    return FieldError(absl::StatusCode::kDataLoss, "block.crc32",
                      absl::StrFormat("%s: the bytes have checksum %08x, %08x was announced",
                                      Absl(where), crc, block.crc32()),
                      "The block was damaged on its way; send it again.");
  }
  PORTOLAN_RETURN_IF_ERROR(CheckTypes(block, where));
  PORTOLAN_RETURN_IF_ERROR(CheckSizes(block, bounds, where));
  DecodedBlock out;
  PORTOLAN_RETURN_IF_ERROR(ReadRows(block, bounds, where, out));
  PORTOLAN_RETURN_IF_ERROR(block.column_type() == v1::UINT16
                               ? ReadColumns<uint16_t>(block, where, out.counts)
                               : ReadColumns<int32_t>(block, where, out.counts));
  PORTOLAN_RETURN_IF_ERROR(ReadValuesOfType(block, where, out.counts));
  PORTOLAN_RETURN_IF_ERROR(ReadNames(block, where, out));
  PORTOLAN_RETURN_IF_ERROR(DecodeCellInputs(block, bounds, where, out));
  return out;
}

}  // namespace portolan::server
