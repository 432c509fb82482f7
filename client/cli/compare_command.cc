#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "client/cli/command.h"
#include "client/cli/error_text.h"
#include "client/cli/report_json.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"
#include "core/io/query_reader.h"

namespace portolan::client {
namespace {

struct CompareArguments {
  std::string path;
  std::string truth;
  std::string label = "portolan_label";
};

/// How the cells of one true label were labelled.
struct LabelCount {
  int64_t cells = 0;
  int64_t agree = 0;
  std::map<std::string, int64_t> others;  ///< what the rest was called
};

absl::StatusOr<std::map<std::string, LabelCount>> Count(const CompareArguments& arguments) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto reader, OpenQuery(arguments.path));
  PORTOLAN_ASSIGN_OR_RETURN(const ObsColumn truth, reader->ReadObs(arguments.truth));
  PORTOLAN_ASSIGN_OR_RETURN(const ObsColumn given, reader->ReadObs(arguments.label));
  std::map<std::string, LabelCount> counts;
  for (size_t cell = 0; cell < truth.values.size(); ++cell) {
    if (!truth.values[cell].has_value()) continue;  // nothing is known of this cell
    LabelCount& count = counts[*truth.values[cell]];
    ++count.cells;
    const std::string label = given.values[cell].value_or("(none)");
    if (label == *truth.values[cell]) {
      ++count.agree;
    } else {
      ++count.others[label];
    }
  }
  if (counts.empty()) {
    return InvalidField("truth", "column '" + arguments.truth + "' has no values",
                        "Name an obs column with the true labels");
  }
  return counts;
}

std::string MostFrequentOther(const LabelCount& count) {
  if (count.others.empty()) return "";
  const auto most =
      std::max_element(count.others.begin(), count.others.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  return absl::StrFormat("%s (%d)", Printable(most->first), most->second);
}

double Share(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

absl::Status Compare(const CompareArguments& arguments, Invocation& invocation) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto counts, Count(arguments));
  int64_t cells = 0;
  int64_t agree = 0;
  nlohmann::json by_label = nlohmann::json::object();
  std::ostream& out = invocation.console.out;
  if (!invocation.json) {
    out << absl::StrFormat("%-28s %7s %7s  %s\n", "TRUE LABEL", "CELLS", "AGREE", "ELSE MOSTLY");
  }
  for (const auto& [label, count] : counts) {
    cells += count.cells;
    agree += count.agree;
    by_label[label] = {{"cells", count.cells}, {"agree", count.agree}, {"others", count.others}};
    if (invocation.json) continue;
    out << absl::StrFormat("%-28s %7d %6.1f%%  %s\n", Printable(label), count.cells,
                           100 * Share(count.agree, count.cells), MostFrequentOther(count));
  }
  if (invocation.json) {
    out << JsonText({{"cells", cells}, {"accuracy", Share(agree, cells)}, {"labels", by_label}});
  } else {
    out << absl::StrFormat("%-28s %7d %6.1f%%\n", "all", cells, 100 * Share(agree, cells));
  }
  return absl::OkStatus();
}

}  // namespace

void AddCompareCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* compare =
      app.add_subcommand("compare", "Compare the labels in a mapped file with known ones");
  compare->fallthrough();
  auto arguments = std::make_shared<CompareArguments>();
  compare->add_option("file", arguments->path, "A file that `map` wrote")->required();
  compare->add_option("--truth", arguments->truth, "obs column with the true labels")->required();
  compare->add_option("--label", arguments->label, "obs column with the labels given")
      ->capture_default_str();
  compare->callback([arguments, &invocation] {
    invocation.run = [arguments](Invocation& run) { return Compare(*arguments, run); };
  });
}

}  // namespace portolan::client
