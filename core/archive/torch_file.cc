#include "core/archive/torch_file.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/archive/archive_error.h"
#include "core/archive/pickle_calls.h"
#include "core/archive/tensor_convert.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

constexpr std::string_view kPickleName = "/data.pkl";
constexpr size_t kMostDimensions = 64;
// Honest files copy a tensor at most once or twice (transposed, converted, inflated).
constexpr uint64_t kCopiesPerByte = 16;
constexpr uint64_t kFreeCopies = 16 << 20;

std::optional<DType> StorageDType(const PyValue& type) {
  static constexpr std::pair<std::string_view, DType> kTypes[] = {
      {"FloatStorage", DType::kFloat32}, {"DoubleStorage", DType::kFloat64},
      {"HalfStorage", DType::kFloat16},  {"BFloat16Storage", DType::kBFloat16},
      {"LongStorage", DType::kInt64},    {"IntStorage", DType::kInt32},
      {"ShortStorage", DType::kInt16},   {"CharStorage", DType::kInt8},
      {"ByteStorage", DType::kUInt8},    {"BoolStorage", DType::kBool},
      {"float32", DType::kFloat32},      {"float64", DType::kFloat64},
      {"float16", DType::kFloat16},      {"bfloat16", DType::kBFloat16},
      {"int64", DType::kInt64},          {"int32", DType::kInt32},
      {"int16", DType::kInt16},          {"int8", DType::kInt8},
      {"uint8", DType::kUInt8},          {"bool", DType::kBool},
      {"UntypedStorage", DType::kUInt8},
  };
  const std::string_view module = type.at(0).Str().value_or("");
  if (module != "torch" && module != "torch.cuda" && module != "torch.storage") return std::nullopt;
  for (const auto& [name, dtype] : kTypes) {
    if (type.at(1).Str() == name) return dtype;
  }
  return std::nullopt;
}

std::optional<std::vector<int64_t>> Extents(const PyValue& value) {
  if (!value.is(PyKind::kTuple) && !value.is(PyKind::kList)) return std::nullopt;
  if (value.size() > kMostDimensions) return std::nullopt;
  std::vector<int64_t> extents;
  for (size_t i = 0; i < value.size(); ++i) {
    const auto extent = value.at(i).Int();
    if (!extent.has_value() || *extent < 0) return std::nullopt;
    extents.push_back(*extent);
  }
  return extents;
}

/// Elements between the first and one past the last that a strided tensor touches; nullopt on
/// overflow. The tensor is not empty.
std::optional<int64_t> Span(const std::vector<int64_t>& shape, const std::vector<int64_t>& stride) {
  int64_t last = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t step;
    if (__builtin_mul_overflow(shape[i] - 1, stride[i], &step) ||
        __builtin_add_overflow(last, step, &last)) {
      return std::nullopt;
    }
  }
  if (__builtin_add_overflow(last, 1, &last)) return std::nullopt;
  return last;
}

bool IsRowMajor(const std::vector<int64_t>& shape, const std::vector<int64_t>& stride) {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && stride[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

}  // namespace

/// A tensor as the pickle describes it, checked against overflow but not yet against its storage.
struct TorchFile::View {
  DType dtype = DType::kFloat32;
  std::string key;
  uint64_t storage_bytes = 0;
  int64_t offset = 0;  // in elements
  std::vector<int64_t> shape;
  std::vector<int64_t> stride;
  int64_t elements = 1;
};

absl::StatusOr<TorchFile> TorchFile::Parse(SharedBytes file, const ArchiveLimits& limits) {
  const uint64_t size = file.size();
  PORTOLAN_ASSIGN_OR_RETURN(ZipReader zip, ZipReader::Open(std::move(file)));
  const ZipEntry* pickle = zip.FindSuffix(kPickleName);
  if (pickle == nullptr) {
    return ArchiveError("a zip without exactly one data.pkl, so not a file of torch.save",
                        "Name the model.pt that scvi-tools 0.15 or newer saved");
  }
  const std::string prefix(pickle->name.substr(0, pickle->name.size() - kPickleName.size() + 1));
  PORTOLAN_ASSIGN_OR_RETURN(const SharedBytes text, zip.Read(*pickle, limits.max_pickle_bytes));
  const uint64_t offset = pickle->deflated ? 0 : pickle->data;
  PORTOLAN_ASSIGN_OR_RETURN(PyDocument document, Unpickle(text, offset, limits));
  bool big_endian = false;
  if (const ZipEntry* order = zip.Find(prefix + "byteorder"); order != nullptr) {
    PORTOLAN_ASSIGN_OR_RETURN(const SharedBytes word, zip.Read(*order, 16));
    big_endian = word.text() == "big";
  }
  TorchFile torch_file(std::move(zip), std::move(document));
  torch_file.prefix_ = prefix;
  torch_file.big_endian_ = big_endian;
  torch_file.copy_budget_ =
      std::min(kCopiesPerByte * size + kFreeCopies, static_cast<uint64_t>(limits.max_file_bytes));
  return torch_file;
}

absl::StatusOr<TorchFile::View> TorchFile::DescribeTensor(PyValue tensor,
                                                          const std::string& name) const {
  const std::string quoted = Quoted(name);
  const PyValue storage = tensor.at(TensorField::kStorage);
  if (!tensor.is(PyKind::kTensor) || !storage.is(PyKind::kStorage)) {
    return ArchiveError(absl::StrCat(quoted, " is ", KindName(tensor), ", not a tensor"));
  }
  View view;
  const PyValue type = storage.at(StorageField::kType);
  const PyValue dtype = tensor.at(TensorField::kDType);
  const auto stored = StorageDType(type);
  const auto read = dtype.is_none() ? stored : StorageDType(dtype);
  if (!stored.has_value() || !read.has_value()) {
    return ArchiveError(absl::StrCat(quoted, " has a storage of ", KindName(type)),
                        "Convert the tensor to float32 and save the model again");
  }
  view.dtype = *read;
  const auto key = storage.at(StorageField::kKey).Str();
  const auto count = storage.at(StorageField::kElements).Int();
  const auto offset = tensor.at(TensorField::kOffset).Int();
  const auto shape = Extents(tensor.at(TensorField::kSize));
  const auto stride = Extents(tensor.at(TensorField::kStride));
  if (!key.has_value() || !count.has_value() || *count < 0 || !offset.has_value() || *offset < 0 ||
      !shape.has_value() || !stride.has_value() || shape->size() != stride->size()) {
    return ArchiveError(absl::StrCat(quoted, " has a broken shape, stride, offset or storage"));
  }
  view.key = *key;
  view.offset = *offset;
  view.shape = *shape;
  view.stride = *stride;
  for (size_t i = 0; i < view.shape.size(); ++i) {
    if (view.shape[i] == 1) view.stride[i] = 0;  // never used, and may hold anything
  }
  bool overflow = __builtin_mul_overflow(static_cast<uint64_t>(*count), DTypeSize(*stored),
                                         &view.storage_bytes);
  for (const int64_t extent : view.shape) {
    overflow = overflow || __builtin_mul_overflow(view.elements, extent, &view.elements);
  }
  int64_t bytes;
  overflow = overflow || __builtin_mul_overflow(
                             view.elements, static_cast<int64_t>(DTypeSize(view.dtype)), &bytes);
  if (overflow) return ArchiveError(absl::StrCat(quoted, " has an impossible size"));
  return view;
}

absl::Status TorchFile::Spend(uint64_t bytes, const std::string& name) {
  if (bytes > copy_budget_) {
    return ArchiveError(
        absl::StrCat("reading ", Absl(Quoted(name)), " would copy far more than the file holds"));
  }
  copy_budget_ -= bytes;
  return absl::OkStatus();
}

absl::StatusOr<SharedBytes> TorchFile::ReadStorage(const std::string& key, uint64_t bytes,
                                                   const std::string& name) {
  auto found = storages_.find(key);
  if (found == storages_.end()) {
    const ZipEntry* entry = zip_.Find(absl::StrCat(prefix_, "data/", key));
    if (entry == nullptr) {
      return ArchiveError(absl::StrCat(Absl(Quoted(name)), " needs the storage ", Absl(Quoted(key)),
                                       ", which is not in the file"));
    }
    if (entry->deflated) PORTOLAN_RETURN_IF_ERROR(Spend(entry->size, name));
    PORTOLAN_ASSIGN_OR_RETURN(SharedBytes content,
                              zip_.Read(*entry, static_cast<int64_t>(entry->size)));
    found = storages_.emplace(key, std::move(content)).first;
  }
  if (found->second.size() != bytes) {
    return ArchiveError(absl::StrCat("the storage of ", Absl(Quoted(name)), " should have ", bytes,
                                     " bytes and has ", found->second.size()));
  }
  return found->second;
}

absl::StatusOr<HostTensor> TorchFile::ReadTensor(PyValue tensor, const std::string& name) {
  PORTOLAN_ASSIGN_OR_RETURN(const View view, DescribeTensor(tensor, name));
  PORTOLAN_ASSIGN_OR_RETURN(const SharedBytes storage,
                            ReadStorage(view.key, view.storage_bytes, name));
  if (view.elements == 0) return HostTensor(view.dtype, view.shape, AllocateBytes(0));
  const size_t item = DTypeSize(view.dtype);
  const auto span = Span(view.shape, view.stride);
  const uint64_t items = storage.size() / item;
  if (!span.has_value() || static_cast<uint64_t>(*span) > items ||
      static_cast<uint64_t>(view.offset) > items - static_cast<uint64_t>(*span)) {
    return ArchiveError(absl::StrCat(Absl(Quoted(name)), " of shape ", ShapeString(view.shape),
                                     ", stride ", ShapeString(view.stride), ", offset ",
                                     view.offset, " reaches outside its storage of ", items,
                                     " elements"));
  }
  const std::byte* first = storage.data() + static_cast<size_t>(view.offset) * item;
  const bool swap = big_endian_ && item > 1;
  if (!swap && IsRowMajor(view.shape, view.stride) &&
      reinterpret_cast<uintptr_t>(first) % item == 0) {
    return HostTensor(view.dtype, view.shape,
                      std::shared_ptr<const std::byte[]>(storage.owner(), first));
  }
  const auto elements = static_cast<size_t>(view.elements);
  PORTOLAN_RETURN_IF_ERROR(Spend(elements * item, name));
  auto bytes = AllocateBytes(elements * item);
  std::vector<int64_t> index(view.shape.size(), 0);
  int64_t from = 0;
  for (size_t to = 0; to < elements; ++to) {
    std::byte* target = bytes.get() + to * item;
    std::memcpy(target, first + static_cast<size_t>(from) * item, item);
    if (swap) std::reverse(target, target + item);
    for (size_t axis = index.size(); axis-- > 0;) {
      from += view.stride[axis];
      if (++index[axis] < view.shape[axis]) break;
      from -= view.stride[axis] * view.shape[axis];
      index[axis] = 0;
    }
  }
  return HostTensor(view.dtype, view.shape, std::move(bytes));
}

absl::StatusOr<HostTensor> TorchFile::ReadModelTensor(PyValue tensor, const std::string& name) {
  PORTOLAN_ASSIGN_OR_RETURN(HostTensor read, ReadTensor(tensor, name));
  if (read.dtype() == DType::kFloat32 || read.dtype() == DType::kInt64) return read;
  PORTOLAN_RETURN_IF_ERROR(Spend(static_cast<uint64_t>(read.elements()) * sizeof(int64_t), name));
  return ToModelDType(read);
}

}  // namespace portolan
