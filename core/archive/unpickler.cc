#include "core/archive/unpickler.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/archive/archive_error.h"
#include "core/archive/pickle_calls.h"
#include "core/archive/pickle_opcodes.h"

namespace portolan {
namespace {

constexpr PyId kUnset = std::numeric_limits<PyId>::max();
constexpr int kDeepest = 60'000;  // PyValue counts depth in 16 bits

/// One run of the pickle machine. Handlers return false after Fail().
class Machine {
 public:
  Machine(const SharedBytes& pickle, uint64_t file_offset, const ArchiveLimits& limits)
      : text_(pickle.text()),
        file_offset_(file_offset),
        max_objects_(std::min<int64_t>(limits.max_objects, kUnset - 8)),
        max_depth_(std::min(limits.max_depth, kDeepest)),
        objects_(std::make_unique<PyObjects>(pickle)) {}

  absl::StatusOr<PyDocument> Run();

 private:
  bool Step(PickleOp op);
  bool StepNumber(PickleOp op);
  bool StepText(PickleOp op);
  bool StepContainer(PickleOp op);
  bool StepMemo(PickleOp op);
  bool StepObject(PickleOp op);

  bool Fail(std::string_view found);
  bool Push(PyId id);
  bool Pop(PyId& id);
  bool PopToMark(std::vector<PyId>& items);
  bool Top(PyId& id);
  bool Take(uint64_t size, std::string_view& bytes);
  bool TakeUnsigned(size_t width, uint64_t& value);
  bool TakeLine(std::string_view& line);
  bool PushText(PyKind kind, size_t width);
  bool PushLong(size_t width);
  bool PushCompound(PyKind kind, std::vector<PyId> parts);
  bool PushTuple(size_t count);
  bool Insert(PyId container, const std::vector<PyId>& items);
  bool InsertPairs(PyId container, const std::vector<PyId>& items);
  /// The list or dict that collects what a record is given; made on first use.
  PyId Collector(PyId container, PyKind kind, size_t field);
  bool PushGlobal(PyId module, PyId name);
  bool Call(PyId callable, PyId args);
  bool CheckDepth(PyId id);
  bool MemoPut(uint64_t index);
  bool MemoGet(uint64_t index);
  PyValue Value(PyId id) const { return PyValue(objects_.get(), id); }

  const std::string_view text_;
  const uint64_t file_offset_;
  const int64_t max_objects_;
  const int max_depth_;
  std::unique_ptr<PyObjects> objects_;
  std::vector<PyId> stack_;
  std::vector<size_t> marks_;
  std::vector<PyId> memo_;
  size_t memoized_ = 0;
  size_t at_ = 0;        // next byte
  size_t op_at_ = 0;     // the opcode being executed
  absl::Status status_;  // why a handler returned false
};

bool Machine::Fail(std::string_view found) {
  status_ = ArchiveErrorAt(found, file_offset_ + op_at_,
                           "Save the model again with scvi-tools; the pickle in it is broken");
  return false;
}

bool Machine::Push(PyId id) {
  stack_.push_back(id);
  return true;
}

bool Machine::Pop(PyId& id) {
  if (!Top(id)) return false;
  stack_.pop_back();
  return true;
}

bool Machine::Top(PyId& id) {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) return Fail("pickle stack is empty");
  id = stack_.back();
  return true;
}

bool Machine::PopToMark(std::vector<PyId>& items) {
  if (marks_.empty()) return Fail("pickle mark is missing");
  items.assign(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
  stack_.resize(marks_.back());
  marks_.pop_back();
  return true;
}

bool Machine::Take(uint64_t size, std::string_view& bytes) {
  if (size > text_.size() - at_) {
    return Fail(absl::StrCat("pickle needs ", size, " bytes and has ", text_.size() - at_));
  }
  bytes = text_.substr(at_, size);
  at_ += size;
  return true;
}

bool Machine::TakeUnsigned(size_t width, uint64_t& value) {
  std::string_view bytes;
  if (!Take(width, bytes)) return false;
  value = 0;
  for (size_t i = width; i-- > 0;) value = (value << 8) | static_cast<uint8_t>(bytes[i]);
  return true;
}

bool Machine::TakeLine(std::string_view& line) {
  const size_t end = text_.find('\n', at_);
  if (end == std::string_view::npos) return Fail("pickle line has no end");
  line = text_.substr(at_, end - at_);
  at_ = end + 1;
  return true;
}

bool Machine::PushText(PyKind kind, size_t width) {
  uint64_t size = 0;
  std::string_view bytes;
  return TakeUnsigned(width, size) && Take(size, bytes) && Push(objects_->AddText(kind, bytes));
}

/// LONG1, LONG4: a little-endian two's complement number of any length.
bool Machine::PushLong(size_t width) {
  uint64_t size = 0;
  std::string_view bytes;
  if (!TakeUnsigned(width, size) || !Take(size, bytes)) return false;
  const bool negative = !bytes.empty() && static_cast<int8_t>(bytes.back()) < 0;
  const char sign = negative ? '\xff' : '\0';
  while (bytes.size() > 8 && bytes.back() == sign) bytes.remove_suffix(1);
  if (bytes.size() > 8 || (bytes.size() == 8 && (static_cast<int8_t>(bytes[7]) < 0) != negative)) {
    return Push(objects_->Add(PyKind::kBigInt));
  }
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (size_t i = bytes.size(); i-- > 0;) value = (value << 8) | static_cast<uint8_t>(bytes[i]);
  return Push(objects_->AddInt(static_cast<int64_t>(value)));
}

bool Machine::PushCompound(PyKind kind, std::vector<PyId> parts) {
  const PyId id = objects_->AddCompound(kind, std::move(parts));
  return CheckDepth(id) && Push(id);
}

bool Machine::PushTuple(size_t count) {
  std::vector<PyId> items(count);
  for (size_t i = count; i-- > 0;) {
    if (!Pop(items[i])) return false;
  }
  return PushCompound(PyKind::kTuple, std::move(items));
}

bool Machine::CheckDepth(PyId id) {
  if (Value(id).depth() <= max_depth_) return true;
  return Fail(absl::StrCat("pickle nests deeper than the limit of ", max_depth_));
}

PyId Machine::Collector(PyId container, PyKind kind, size_t field) {
  if (!Value(container).is(PyKind::kRecord)) return container;
  const PyId known = Value(container).at(field).id();
  if (known != PyObjects::kNoneId) return known;
  const PyId made = objects_->AddCompound(kind, {});
  objects_->SetPart(container, field, made);
  return made;
}

bool Machine::Insert(PyId container, const std::vector<PyId>& items) {
  const PyId target = Collector(container, PyKind::kList, RecordField::kItems);
  if (!Value(target).is(PyKind::kList) && !Value(target).is(PyKind::kSet)) {
    return Fail(absl::StrCat("pickle appends to ", KindName(Value(target))));
  }
  for (const PyId item : items) objects_->Append(target, item);
  return CheckDepth(target);
}

bool Machine::InsertPairs(PyId container, const std::vector<PyId>& items) {
  const PyId target = Collector(container, PyKind::kDict, RecordField::kPairs);
  if (!Value(target).is(PyKind::kDict)) {
    return Fail(absl::StrCat("pickle sets items of ", KindName(Value(target))));
  }
  if (items.size() % 2 != 0) return Fail("pickle sets a key without a value");
  for (const PyId item : items) objects_->Append(target, item);
  return CheckDepth(target);
}

bool Machine::PushGlobal(PyId module, PyId name) {
  if (!Value(module).is(PyKind::kStr) || !Value(name).is(PyKind::kStr)) {
    return Fail("pickle global is not named by two texts");
  }
  return PushCompound(PyKind::kGlobal, {module, name});
}

bool Machine::Call(PyId callable, PyId args) {
  const PyId result = CallGlobal(*objects_, callable, args);
  return CheckDepth(result) && Push(result);
}

bool Machine::MemoPut(uint64_t index) {
  // Picklers number from 0 upwards and spend bytes on every number.
  if (index >= text_.size() || static_cast<int64_t>(index) > max_objects_)
    return Fail(absl::StrCat("pickle memo number ", index));
  PyId top = PyObjects::kNoneId;
  if (!Top(top)) return false;
  if (index >= memo_.size()) memo_.resize(index + 1, kUnset);
  if (memo_[index] == kUnset) ++memoized_;
  memo_[index] = top;
  return true;
}

bool Machine::MemoGet(uint64_t index) {
  if (index >= memo_.size() || memo_[index] == kUnset) {
    return Fail(absl::StrCat("pickle memo ", index, " is not set"));
  }
  return Push(memo_[index]);
}

bool Machine::StepNumber(PickleOp op) {
  uint64_t bits = 0;
  switch (op) {
    case PickleOp::kNone:
      return Push(PyObjects::kNoneId);
    case PickleOp::kNewTrue:
      return Push(objects_->AddBool(true));
    case PickleOp::kNewFalse:
      return Push(objects_->AddBool(false));
    case PickleOp::kBinInt:
      return TakeUnsigned(4, bits) &&
             Push(objects_->AddInt(static_cast<int32_t>(static_cast<uint32_t>(bits))));
    case PickleOp::kBinInt1:
      return TakeUnsigned(1, bits) && Push(objects_->AddInt(static_cast<int64_t>(bits)));
    case PickleOp::kBinInt2:
      return TakeUnsigned(2, bits) && Push(objects_->AddInt(static_cast<int64_t>(bits)));
    case PickleOp::kLong1:
      return PushLong(1);
    case PickleOp::kLong4:
      return PushLong(4);
    case PickleOp::kBinFloat:  // the one big-endian number
      return TakeUnsigned(8, bits) &&
             Push(objects_->AddFloat(std::bit_cast<double>(__builtin_bswap64(bits))));
    default:
      return StepText(op);
  }
}

bool Machine::StepText(PickleOp op) {
  switch (op) {
    case PickleOp::kShortBinUnicode:
    case PickleOp::kShortBinString:
      return PushText(PyKind::kStr, 1);
    case PickleOp::kBinUnicode:
    case PickleOp::kBinString:
      return PushText(PyKind::kStr, 4);
    case PickleOp::kBinUnicode8:
      return PushText(PyKind::kStr, 8);
    case PickleOp::kShortBinBytes:
      return PushText(PyKind::kBytes, 1);
    case PickleOp::kBinBytes:
      return PushText(PyKind::kBytes, 4);
    case PickleOp::kBinBytes8:
    case PickleOp::kByteArray8:
      return PushText(PyKind::kBytes, 8);
    default:
      return StepContainer(op);
  }
}

bool Machine::StepContainer(PickleOp op) {
  std::vector<PyId> items;
  PyId container = PyObjects::kNoneId;
  switch (op) {
    case PickleOp::kEmptyDict:
      return PushCompound(PyKind::kDict, {});
    case PickleOp::kEmptyList:
      return PushCompound(PyKind::kList, {});
    case PickleOp::kEmptySet:
      return PushCompound(PyKind::kSet, {});
    case PickleOp::kEmptyTuple:
      return PushTuple(0);
    case PickleOp::kTuple1:
      return PushTuple(1);
    case PickleOp::kTuple2:
      return PushTuple(2);
    case PickleOp::kTuple3:
      return PushTuple(3);
    case PickleOp::kTuple:
      return PopToMark(items) && PushCompound(PyKind::kTuple, std::move(items));
    case PickleOp::kList:
      return PopToMark(items) && PushCompound(PyKind::kList, std::move(items));
    case PickleOp::kFrozenSet:
      return PopToMark(items) && PushCompound(PyKind::kSet, std::move(items));
    case PickleOp::kDict:
      return PopToMark(items) && PushCompound(PyKind::kDict, {}) &&
             InsertPairs(stack_.back(), items);
    case PickleOp::kAppend:
      items.resize(1);
      return Pop(items[0]) && Top(container) && Insert(container, items);
    case PickleOp::kAppends:
    case PickleOp::kAddItems:
      return PopToMark(items) && Top(container) && Insert(container, items);
    case PickleOp::kSetItem:
      items.resize(2);
      return Pop(items[1]) && Pop(items[0]) && Top(container) && InsertPairs(container, items);
    case PickleOp::kSetItems:
      return PopToMark(items) && Top(container) && InsertPairs(container, items);
    default:
      return StepMemo(op);
  }
}

bool Machine::StepMemo(PickleOp op) {
  uint64_t number = 0;
  PyId id = PyObjects::kNoneId;
  std::vector<PyId> items;
  switch (op) {
    case PickleOp::kBinPut:
      return TakeUnsigned(1, number) && MemoPut(number);
    case PickleOp::kLongBinPut:
      return TakeUnsigned(4, number) && MemoPut(number);
    case PickleOp::kMemoize:
      return MemoPut(memoized_);
    case PickleOp::kBinGet:
      return TakeUnsigned(1, number) && MemoGet(number);
    case PickleOp::kLongBinGet:
      return TakeUnsigned(4, number) && MemoGet(number);
    case PickleOp::kMark:
      marks_.push_back(stack_.size());
      return marks_.size() <= static_cast<size_t>(max_depth_) || Fail("pickle marks nest too deep");
    case PickleOp::kPop:
      if (!marks_.empty() && marks_.back() == stack_.size()) return PopToMark(items);
      return Pop(id);
    case PickleOp::kPopMark:
      return PopToMark(items);
    case PickleOp::kDup:
      return Top(id) && Push(id);
    case PickleOp::kProto:
      if (!TakeUnsigned(1, number)) return false;
      return number <= 5 || Fail(absl::StrCat("pickle protocol ", number));
    case PickleOp::kFrame:
      if (!TakeUnsigned(8, number)) return false;
      return number <= text_.size() - at_ || Fail("pickle frame runs over the end");
    default:
      return StepObject(op);
  }
}

bool Machine::StepObject(PickleOp op) {
  std::string_view module, name;
  PyId first = PyObjects::kNoneId, second = first, third = first;
  switch (op) {
    case PickleOp::kGlobal:
      return TakeLine(module) && TakeLine(name) &&
             PushGlobal(objects_->AddText(PyKind::kStr, module),
                        objects_->AddText(PyKind::kStr, name));
    case PickleOp::kStackGlobal:
      return Pop(second) && Pop(first) && PushGlobal(first, second);
    case PickleOp::kReduce:
    case PickleOp::kNewObj:
      return Pop(second) && Pop(first) && Call(first, second);
    case PickleOp::kNewObjEx:
      if (!Pop(third) || !Pop(second) || !Pop(first)) return false;
      return Value(third).size() == 0
                 ? Call(first, second)
                 : PushCompound(PyKind::kRecord,
                                {first, second, PyObjects::kNoneId, PyObjects::kNoneId, third});
    case PickleOp::kBuild:
      if (!Pop(second) || !Top(first)) return false;
      ApplyState(*objects_, first, second);
      return CheckDepth(first);
    case PickleOp::kBinPersId:
      if (!Pop(first)) return false;
      first = ResolvePersistentId(*objects_, first);
      return CheckDepth(first) && Push(first);
    default:
      return Fail(absl::StrFormat("pickle opcode 0x%02x is not one that saved models use",
                                  static_cast<int>(op)));
  }
}

bool Machine::Step(PickleOp op) {
  if (!StepNumber(op)) return false;
  if (std::max(objects_->cost(), static_cast<int64_t>(stack_.size())) <= max_objects_) return true;
  return Fail(absl::StrCat("pickle makes more than the limit of ", max_objects_, " objects"));
}

absl::StatusOr<PyDocument> Machine::Run() {
  for (;;) {
    op_at_ = at_;
    uint64_t op = 0;
    if (!TakeUnsigned(1, op)) return status_;
    if (static_cast<PickleOp>(op) == PickleOp::kStop) break;
    if (!Step(static_cast<PickleOp>(op))) return status_;
  }
  PyId root = PyObjects::kNoneId;
  if (!Pop(root)) return status_;
  PyDocument document;
  document.root = PyValue(objects_.get(), root);
  document.objects = std::move(objects_);
  return document;
}

}  // namespace

absl::StatusOr<PyDocument> Unpickle(SharedBytes pickle, uint64_t file_offset,
                                    const ArchiveLimits& limits) {
  if (pickle.size() > static_cast<uint64_t>(std::max<int64_t>(limits.max_pickle_bytes, 0))) {
    return ArchiveErrorAt(absl::StrCat("pickle of ", pickle.size(), " bytes exceeds the limit of ",
                                       limits.max_pickle_bytes),
                          file_offset, "Raise the limit if the file is trusted");
  }
  return Machine(pickle, file_offset, limits).Run();
}

}  // namespace portolan
