#include "client/cli/progress.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/error_text.h"

namespace portolan::client {
namespace {

constexpr size_t kLongestName = 32;
constexpr size_t kBatchesOnScreen = 12;

// Cut between characters of UTF-8, not inside one.
std::string ShortBatchName(const std::string& name) {
  std::string text = Printable(name);
  if (text.size() <= kLongestName) return text;
  size_t end = kLongestName - 3;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

int Tenth(int64_t done, int64_t total) {
  return total > 0 ? static_cast<int>(std::clamp<int64_t>(done * 10 / total, 0, 10)) : 0;
}

bool IsRunning(const v1::BatchProgress& batch) { return !batch.done() && batch.epoch() > 0; }

}  // namespace

std::string DurationText(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "";
  const int64_t whole = std::llround(seconds);
  if (whole < 60) return absl::StrCat(whole, " s");
  if (whole < 3600) return absl::StrFormat("%d:%02d", whole / 60, whole % 60);
  return absl::StrFormat("%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string BatchLine(const v1::BatchProgress& batch, size_t name_width) {
  std::string name = ShortBatchName(batch.batch());
  if (name.size() < name_width) name.resize(name_width, ' ');
  std::string line = absl::StrFormat("%s  epoch %d/%d", name, batch.epoch(), batch.max_epochs());
  if (batch.epoch() > 0) absl::StrAppend(&line, absl::StrFormat("  loss %.1f", batch.loss()));
  if (batch.done()) line += "  done";
  return line;
}

std::vector<std::string> ScreenLines(const v1::Progress& progress, size_t max_batches) {
  std::vector<std::string> lines = {absl::StrCat("stage: ", Printable(progress.stage()))};
  if (const std::string eta = DurationText(progress.eta_seconds());
      !eta.empty() && progress.stage() == "train") {
    absl::StrAppend(&lines[0], "  ETA ", eta);
  }
  std::vector<const v1::BatchProgress*> batches;
  size_t width = 0;
  size_t done = 0;
  for (const v1::BatchProgress& batch : progress.batches()) {
    batches.push_back(&batch);
    width = std::max(width, ShortBatchName(batch.batch()).size());
    done += batch.done() ? 1 : 0;
  }
  // A screen that holds all batches keeps their order, so that lines do not jump.
  if (batches.size() > max_batches) {
    std::stable_sort(batches.begin(), batches.end(),
                     [](const auto* a, const auto* b) { return IsRunning(*a) && !IsRunning(*b); });
  }
  for (size_t i = 0; i < std::min(batches.size(), max_batches); ++i) {
    lines.push_back("  " + BatchLine(*batches[i], width));
  }
  if (batches.size() > max_batches) {
    lines.push_back(absl::StrCat("  and ", batches.size() - max_batches, " more; ", done, " of ",
                                 batches.size(), " batches done"));
  }
  return lines;
}

std::vector<std::string> PlainProgress::NewLines(const v1::Progress& progress) {
  std::vector<std::string> lines;
  // Before its first report a mapping that runs has no stage to name.
  const bool next_stage = progress.stage() != stage_ && !progress.stage().empty();
  // What ended with the stage before is told before the next one begins.
  const bool stage_last = next_stage && !stage_.empty();
  if (next_stage) stage_ = progress.stage();
  const std::string stage_line = absl::StrCat("stage: ", Printable(stage_));
  if (next_stage && !stage_last) lines.push_back(stage_line);
  for (const v1::BatchProgress& batch : progress.batches()) {
    Seen& seen = batches_[batch.batch()];
    const int tenth = Tenth(batch.epoch(), batch.max_epochs());
    const bool started = batch.epoch() > 0 || batch.done();
    const bool newly_done = batch.done() && !seen.done;
    // The last epoch's line is the one that says done.
    const bool about_to_end = !batch.done() && batch.epoch() >= batch.max_epochs();
    if (seen.done || !started || about_to_end || (tenth <= seen.tenth && !newly_done)) continue;
    std::string line = BatchLine(batch, 0);
    const std::string eta = DurationText(progress.eta_seconds());
    if (!batch.done() && batch.epoch() > 0 && !eta.empty()) absl::StrAppend(&line, "  ETA ", eta);
    lines.push_back(std::move(line));
    seen = {tenth, batch.done()};
  }
  if (stage_last) lines.push_back(stage_line);
  return lines;
}

void ProgressPrinter::Cells(const std::string& what, int64_t done, int64_t total) {
  const std::string line = absl::StrCat(what, " ", done, " of ", total, " cells");
  if (style_ == ProgressStyle::kScreen) {
    Redraw({line});
  } else if (const int tenth = Tenth(done, total);
             style_ == ProgressStyle::kLines && tenth > cells_tenth_) {
    err_ << line << std::endl;
    cells_tenth_ = tenth;
  }
  if (done == total) {
    Close();
    cells_tenth_ = -1;
  }
}

void ProgressPrinter::Mapping(const v1::Mapping& mapping) {
  if (!mapping.has_progress() || style_ == ProgressStyle::kSilent) return;
  if (style_ == ProgressStyle::kScreen) {
    Redraw(ScreenLines(mapping.progress(), kBatchesOnScreen));
    return;
  }
  for (const std::string& line : plain_.NewLines(mapping.progress())) err_ << line << std::endl;
}

void ProgressPrinter::Close() { drawn_ = 0; }

void ProgressPrinter::Redraw(const std::vector<std::string>& lines) {
  std::string text;
  if (drawn_ > 0) absl::StrAppend(&text, "\x1b[", drawn_, "A");  // up to the first drawn line
  absl::StrAppend(&text, "\r\x1b[J");                            // and clear from there
  for (const std::string& line : lines) absl::StrAppend(&text, line, "\n");
  drawn_ = lines.size();
  err_ << text << std::flush;
}

}  // namespace portolan::client
