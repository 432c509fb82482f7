#include "core/mapping/mapping_checkpoint.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan {
namespace {

absl::Status Damaged() {
  return InvalidField("checkpoint", "it is damaged", "Start the mapping again");
}

// Tensors of run number `index` stand under "INDEX/name".
void AddTensors(size_t index, const TensorBundle& from, TensorBundle& to) {
  for (const auto& [name, tensor] : from.tensors)
    to.tensors[absl::StrCat(index, "/", name)] = tensor;
}

TensorBundle TakeTensors(size_t index, const TensorBundle& from) {
  const std::string prefix = absl::StrCat(index, "/");
  TensorBundle out;
  for (auto it = from.tensors.lower_bound(prefix);
       it != from.tensors.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
    out.tensors[it->first.substr(prefix.size())] = it->second;
  }
  return out;
}

absl::StatusOr<TrainResult> ParseFinished(const nlohmann::json& run, const TensorBundle& tensors) {
  TrainResult result;
  TensorBundle bundle = tensors;
  bundle.metadata = run.at("extension");
  PORTOLAN_ASSIGN_OR_RETURN(result.extension, ExtensionFromBundle(bundle));
  result.epochs = run.at("epochs").get<int>();
  result.steps = run.at("steps").get<int64_t>();
  result.train_loss = run.at("train_loss").get<std::vector<double>>();
  result.validation_elbo = run.at("validation_elbo").get<std::vector<double>>();
  result.stop_reason = run.at("stop_reason").get<std::string>();
  return result;
}

absl::StatusOr<MappingCheckpoint> ParseRuns(const TensorBundle& bundle) {
  MappingCheckpoint checkpoint;
  checkpoint.fingerprint = bundle.metadata.at("fingerprint").get<std::string>();
  const nlohmann::json& runs = bundle.metadata.at("runs");
  for (size_t i = 0; i < runs.size(); ++i) {
    const auto name = runs.at(i).at("name").get<std::string>();
    TensorBundle tensors = TakeTensors(i, bundle);
    if (runs.at(i).at("finished").get<bool>()) {
      PORTOLAN_ASSIGN_OR_RETURN(checkpoint.finished[name], ParseFinished(runs.at(i), tensors));
    } else {
      checkpoint.running[name] = std::move(tensors);
    }
  }
  return checkpoint;
}

}  // namespace

std::string SerializeCheckpoint(const MappingCheckpoint& checkpoint) {
  TensorBundle bundle;
  nlohmann::json runs = nlohmann::json::array();
  for (const auto& [name, result] : checkpoint.finished) {
    const TensorBundle extension = ToBundle(result.extension);
    AddTensors(runs.size(), extension, bundle);
    runs.push_back({{"name", name},
                    {"finished", true},
                    {"extension", extension.metadata},
                    {"epochs", result.epochs},
                    {"steps", result.steps},
                    {"train_loss", result.train_loss},
                    {"validation_elbo", result.validation_elbo},
                    {"stop_reason", result.stop_reason}});
  }
  for (const auto& [name, tensors] : checkpoint.running) {
    AddTensors(runs.size(), tensors, bundle);
    runs.push_back({{"name", name}, {"finished", false}});
  }
  bundle.metadata = {{"fingerprint", checkpoint.fingerprint}, {"runs", runs}};
  return SerializeBundle(bundle);
}

absl::StatusOr<MappingCheckpoint> ParseCheckpoint(const std::string& bytes) {
  PORTOLAN_ASSIGN_OR_RETURN(const TensorBundle bundle, ParseBundle(bytes));
  try {
    return ParseRuns(bundle);
  } catch (const nlohmann::json::exception&) {
    return Damaged();
  }
}

}  // namespace portolan
