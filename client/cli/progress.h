#pragma once

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "portolan/v1/mapping.pb.h"

namespace portolan::client {

/// "1:05:09", "3:20", "45 s"; "" for a negative (unknown) number of seconds.
std::string DurationText(double seconds);

/// "donor_1   epoch 12/50  loss 231.4"; the name padded to `name_width`.
std::string BatchLine(const v1::BatchProgress& batch, size_t name_width);

/// What a terminal shows for a running mapping: a headline with stage and ETA, then at most
/// `max_batches` batches, those in training first.
std::vector<std::string> ScreenLines(const v1::Progress& progress, size_t max_batches);

/// What a pipe gets: lines only for what is new. One when a batch starts, one about every tenth of
/// its epochs, one when it is done, one for each new stage.
class PlainProgress {
 public:
  std::vector<std::string> NewLines(const v1::Progress& progress);

 private:
  struct Seen {
    int tenth = -1;
    bool done = false;
  };
  std::string stage_;
  std::map<std::string, Seen> batches_;
};

enum class ProgressStyle {
  kSilent,
  kLines,   ///< a pipe
  kScreen,  ///< a terminal: redrawn in place
};

/// Shows the progress of uploads and mappings on a stream. Not thread-safe.
class ProgressPrinter {
 public:
  ProgressPrinter(std::ostream& err, ProgressStyle style) : err_(err), style_(style) {}
  ~ProgressPrinter() { Close(); }

  /// `what`: "uploaded", "embedded".
  void Cells(const std::string& what, int64_t done, int64_t total);
  void Mapping(const v1::Mapping& mapping);
  /// Leaves what is on the screen and goes on below it.
  void Close();

 private:
  void Redraw(const std::vector<std::string>& lines);

  std::ostream& err_;
  const ProgressStyle style_;
  size_t drawn_ = 0;  ///< lines of the last drawing
  int cells_tenth_ = -1;
  PlainProgress plain_;
};

}  // namespace portolan::client
