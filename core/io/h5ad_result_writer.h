#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/io/hdf5.h"
#include "core/io/result_writer.h"

namespace portolan {

/// The ResultWriter of h5ad files. The temporary file carries the process and a number in its name
/// and is removed by the destructor unless Finish() gave it the target's name. Works also where the
/// target is the query itself, which is closed by then. Errors: InvalidField("output") for a name
/// that cannot be, kPermissionDenied, kResourceExhausted for a full disk, kInternal otherwise, all
/// naming the path.
class H5adResultWriter : public ResultWriter {
 public:
  static absl::StatusOr<std::unique_ptr<ResultWriter>> Create(const std::string& query_path,
                                                              const std::string& output_path,
                                                              const ResultWriterOptions& options);
  static absl::StatusOr<std::unique_ptr<ResultWriter>> CreateNew(
      std::span<const std::string> cell_names, const std::string& output_path);
  ~H5adResultWriter() override;

  absl::Status WriteObsm(const std::string& name, int64_t width,
                         std::span<const float> values) override;
  absl::Status AppendObsm(const std::string& name, int64_t width,
                          std::span<const float> rows) override;
  absl::Status WriteObsCategorical(const std::string& name, std::span<const int32_t> codes,
                                   std::span<const std::string> categories) override;
  absl::Status WriteUns(const std::string& name, const nlohmann::json& value) override;
  absl::Status Finish() override;

 private:
  explicit H5adResultWriter(std::string output_path);

  static absl::Status CheckOutput(const std::string& output_path);
  absl::Status CreateTemporary();
  absl::Status AddUsualParts();
  absl::Status CopyQuery(const std::string& query_path, const ResultWriterOptions& options);
  absl::Status AppendObsColumn(const hdf5::Handle& obs, const std::string& name) const;
  absl::Status CheckOpen() const;
  /// Says which file could not be written, where `status` does not yet say what is wrong.
  absl::Status Explain(const absl::Status& status) const;

  std::string output_path_;
  std::string temporary_path_;
  hdf5::Handle file_;
  int64_t cells_ = 0;
  bool temporary_exists_ = false;

  /// An array of obsm that grows by AppendObsm.
  struct Growing {
    hdf5::Handle dataset;
    int64_t width = 0;
    int64_t rows = 0;
  };
  std::map<std::string, Growing> growing_;
};

}  // namespace portolan
