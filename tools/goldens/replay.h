#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace portolan {

/// One comparison of a replay.
struct GoldenItem {
  std::string name;          ///< "latent_mean", "surgery_losses", "col:...", ...
  double largest_error = 0;  ///< absolute, or relative where `relative`
  double tolerance = 0;
  bool relative = false;
  bool ok() const { return largest_error <= tolerance; }
};

struct GoldenReport {
  std::vector<GoldenItem> items;
  std::vector<std::string> skipped;  ///< what the forward pass never reads, one sentence each
  bool ok() const;
};

/// Replays what a golden file holds on the model in `model_directory` and the counts of
/// `counts_path`: latents and labels, the loss terms of one minibatch, and 20 steps of surgery in
/// which every normal sample is 0.37 and new columns start at 0.01 * ((row mod 7) - 3).
/// Tolerances: latents 1e-5, losses 1e-5 relative, what 20 steps of Adam reach 1e-4; the mean of a
/// logistic-normal latent, which scvi-tools draws, 4e-3.
absl::StatusOr<GoldenReport> ReplayGolden(const std::string& model_directory,
                                          const std::string& golden_path,
                                          const std::string& counts_path);

}  // namespace portolan
