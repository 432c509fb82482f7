#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/archive/py_value.h"

namespace portolan {

/// The arguments with which a scvi-tools model was constructed (attribute init_params_), flattened:
/// own arguments and the groups of arguments passed on to the module. An argument that is absent or
/// None has the default the caller names.
class InitParams {
 public:
  /// Reads both spellings: {"non_kwargs": {...}, "kwargs": {group: {...}}} (0.9 and newer) and the
  /// flat dict whose sub-dicts are the groups.
  static absl::StatusOr<InitParams> Flatten(const PyValue& init_params);

  absl::StatusOr<int64_t> Int(const std::string& name, int64_t fallback) const;
  absl::StatusOr<double> Number(const std::string& name, double fallback) const;
  absl::StatusOr<bool> Bool(const std::string& name, bool fallback) const;
  absl::StatusOr<std::string> Text(const std::string& name, std::string_view fallback) const;
  /// None if absent.
  PyValue Get(const std::string& name) const;
  bool Has(const std::string& name) const { return !Get(name).is_none(); }

  /// Names of the arguments passed on to the module.
  const std::vector<std::string>& module_arguments() const { return module_arguments_; }

 private:
  absl::Status AddAll(const PyValue& dict, bool module);

  std::map<std::string, PyValue> values_;
  std::vector<std::string> module_arguments_;
};

}  // namespace portolan
