#include "client/cli/summary.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/error_text.h"
#include "client/cli/progress.h"

namespace portolan::client {
namespace {

constexpr size_t kShownId = 12;
constexpr int kShownNames = 5;

std::string Line(const char* what, const std::string& text) {
  return absl::StrFormat("  %-10s %s\n", what, Printable(text));
}

template <typename Repeated>
std::string FirstNames(const Repeated& names) {
  const auto shown = std::min<int>(kShownNames, static_cast<int>(names.size()));
  std::string text = absl::StrJoin(names.begin(), names.begin() + shown, ", ");
  return static_cast<int>(names.size()) > shown ? text + ", ..." : text;
}

std::string GenesText(const v1::GeneReport& genes) {
  std::string text = absl::StrCat(genes.matched(), " of ", genes.reference_genes(), " matched");
  if (genes.missing_size() > 0) {
    absl::StrAppend(&text, "; ", genes.missing_size(), " missing, taken as 0 (",
                    FirstNames(genes.missing()), ")");
  }
  if (genes.extra() > 0) absl::StrAppend(&text, "; ", genes.extra(), " unknown ones left out");
  if (genes.duplicated_size() > 0) {
    absl::StrAppend(&text, "; ", genes.duplicated_size(), " duplicated, summed (",
                    FirstNames(genes.duplicated()), ")");
  }
  return text;
}

std::string ProteinsText(const v1::ProteinReport& proteins) {
  std::string text =
      absl::StrCat(proteins.matched(), " of ", proteins.reference_proteins(), " in the query");
  if (proteins.missing_size() > 0) {
    absl::StrAppend(&text, "; ", proteins.missing_size(), " not measured (",
                    FirstNames(proteins.missing()), ")");
  }
  if (proteins.extra_size() > 0) {
    absl::StrAppend(&text, "; ", proteins.extra_size(), " unknown ones left out");
  }
  return text;
}

std::string LabelLines(const std::vector<std::string>& labels, const std::vector<int32_t>& codes) {
  if (labels.empty()) return "";
  std::vector<int64_t> counts(labels.size());
  for (const int32_t code : codes) ++counts[code];
  std::vector<size_t> order;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (counts[i] > 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return counts[a] > counts[b]; });
  std::string text = absl::StrJoin(order, ", ", [&](std::string* out, size_t label) {
    absl::StrAppend(out, labels[label], " ", counts[label]);
  });
  return Line("labels", text);
}

std::string BatchLines(const v1::MappingReport& report) {
  int trained = 0;
  std::string lines;
  for (const v1::BatchReport& batch : report.batches()) {
    trained += batch.trained() ? 1 : 0;
    std::string text = absl::StrCat(batch.batch(), ": ", batch.cells(), " cells");
    if (batch.trained()) {
      absl::StrAppend(&text, ", ", batch.epochs(), " epochs, ", batch.steps(), " steps (",
                      batch.stop_reason(), "), ", DurationText(batch.seconds()));
    } else {
      absl::StrAppend(&text, ", known to the version, not trained");
    }
    lines += Line("", text);
  }
  const int known = report.batches_size() - trained;
  return Line("batches", absl::StrCat(trained, " trained, ", known, " known")) + lines;
}

}  // namespace

std::string MappingSummary(const v1::MappingReport& report, const ResultContext& context,
                           const std::vector<int32_t>& label_codes, const std::string& file) {
  std::string text =
      Printable(absl::StrCat("mapped ", report.cells(), " cells onto ", context.atlas, " (",
                             context.model.model_class(), ", ", report.strategy(), ", preset ",
                             report.preset(), ", seed ", report.seed(), ")")) +
      "\n";
  text += Line("genes", GenesText(report.genes()));
  if (report.has_proteins()) text += Line("proteins", ProteinsText(report.proteins()));
  text += BatchLines(report);
  text += Line("ELBO", absl::StrFormat("%.2f per cell", report.elbo()));
  const std::vector<std::string> labels(report.labels().begin(), report.labels().end());
  text += LabelLines(labels, label_codes);
  text += Line("version", absl::StrCat(report.version_id(), " (", report.extension_kind(), ", ",
                                       report.extension_bytes(), " bytes, parent ",
                                       report.parent().substr(0, kShownId), ")"));
  text += Line("reference",
               absl::StrFormat("embedding moved by at most %.3g", report.max_abs_probe_shift()));
  for (const std::string& note : report.notes()) text += Line("note", note);
  return text + Line("file", file);
}

std::string EmbedSummary(const EmbedReport& report, const ResultContext& context,
                         const std::vector<int32_t>& label_codes, const std::string& file) {
  int64_t cells = 0;
  for (const int64_t count : report.cells) cells += count;
  std::string text = Printable(absl::StrCat("embedded ", cells, " cells of ", report.batches.size(),
                                            " batches with ", context.atlas, " (",
                                            context.model.model_class(), ")")) +
                     "\n";
  text += Line("genes", GenesText(report.genes));
  text += LabelLines(report.labels, label_codes);
  text += Line("version", report.version_id);
  return text + Line("file", file);
}

}  // namespace portolan::client
