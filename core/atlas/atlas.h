#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/archive/model_description.h"
#include "core/model/extension.h"
#include "core/model/model.h"

namespace portolan {

/// One immutable state of an atlas: the reference, or a parent plus an extension. Shared by every
/// job that maps onto it; its weights are the reference's own, never copied.
struct AtlasVersion {
  std::string id;         ///< content-addressed: hash of parent id and extension (or model.pt)
  std::string parent_id;  ///< empty for the reference
  std::vector<std::string> lineage;             ///< ids from the reference to this one
  std::vector<std::string> new_batches;         ///< what the extension added
  std::string extension_kind;                   ///< "reference", "adapter", "full delta"
  std::vector<std::string> full_delta_reasons;  ///< one sentence each; empty for an adapter
  int64_t extension_bytes = 0;
  double max_abs_probe_shift = 0;
  absl::Time create_time;
  std::shared_ptr<const Model> model;
};

/// A named line of versions that starts at one reference. Thread-safe.
class Atlas {
 public:
  /// Loads the saved model in `model_directory`; if `store_directory` is not empty, loads the
  /// versions stored there and stores new ones (the manifest last, so a half-written one is never
  /// seen).
  static absl::StatusOr<std::unique_ptr<Atlas>> Open(const std::string& name,
                                                     const std::string& model_directory,
                                                     const std::string& store_directory);

  const std::string& name() const { return name_; }
  const std::string& model_directory() const { return model_directory_; }
  /// Of the reference.
  const ModelDescription& description() const { return reference_->model->description(); }
  std::shared_ptr<const AtlasVersion> reference() const { return reference_; }

  /// By id, a unique prefix of at least four digits, "reference" or "latest". kNotFound lists what
  /// exists.
  absl::StatusOr<std::shared_ptr<const AtlasVersion>> Find(const std::string& id) const;
  /// Oldest first.
  std::vector<std::shared_ptr<const AtlasVersion>> Versions() const;

  /// Stored versions that could not be loaded, and why.
  const std::vector<std::string>& store_warnings() const { return store_warnings_; }

  /// Adds parent + extension, or returns the version that is already there with the same content.
  absl::StatusOr<std::shared_ptr<const AtlasVersion>> Add(
      const std::shared_ptr<const AtlasVersion>& parent, const Extension& extension);

 private:
  Atlas() = default;

  absl::Status LoadStored();
  absl::StatusOr<std::shared_ptr<const AtlasVersion>> Append(
      const std::shared_ptr<const AtlasVersion>& parent, const Extension& extension,
      absl::Time create_time, bool store);

  // Constant after construction.
  std::string name_;
  std::string model_directory_;
  std::string store_directory_;
  std::shared_ptr<const AtlasVersion> reference_;
  std::vector<std::string> store_warnings_;

  mutable absl::Mutex mutex_;
  std::vector<std::shared_ptr<const AtlasVersion>> versions_ ABSL_GUARDED_BY(mutex_);
};

/// The atlases that a server hosts, by name. Immutable after loading.
struct AtlasCatalog {
  std::map<std::string, std::unique_ptr<Atlas>> atlases;
  std::map<std::string, absl::Status> refused;  ///< directories that could not be opened
};

/// Opens every `atlases_directory`/NAME/model.pt; those that cannot be opened are listed as
/// refused. `data_directory` (may be empty) is where versions are kept. kNotFound if the directory
/// is none.
absl::StatusOr<AtlasCatalog> LoadAtlases(const std::string& atlases_directory,
                                         const std::string& data_directory);

}  // namespace portolan
