#include "client/cli/annotations.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_error.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

constexpr int kNamesInErrors = 20;

template <typename Names>
std::string NameList(const Names& names) {
  const auto shown = std::min<int64_t>(names.size(), kNamesInErrors);
  std::string text = absl::StrJoin(names.begin(), names.begin() + shown, ", ");
  if (static_cast<int64_t>(names.size()) > shown) {
    absl::StrAppend(&text, " and ", names.size() - shown, " more");
  }
  return text.empty() ? "none" : text;
}

/// One column of obs that the model needs: how errors speak of it.
struct Wanted {
  std::string field;   ///< "covariate"
  std::string name;    ///< the reference's
  std::string column;  ///< the query's
  std::string option;  ///< how to name another one: "--covariate donor=COLUMN"
};

absl::StatusOr<std::vector<std::optional<std::string>>> ReadColumn(const Wanted& wanted,
                                                                   QueryReader& reader) {
  const std::vector<std::string> columns = reader.ObsColumnNames();
  if (std::find(columns.begin(), columns.end(), wanted.column) == columns.end()) {
    return InvalidField(wanted.field,
                        absl::StrCat("obs has no column '", wanted.column,
                                     "'; its columns are: ", NameList(columns)),
                        absl::StrCat("The reference was set up with '", wanted.name,
                                     "': name the column with ", wanted.option, "."));
  }
  PORTOLAN_ASSIGN_OR_RETURN(ObsColumn column, reader.ReadObs(wanted.column));
  return std::move(column.values);
}

absl::Status NoValue(const Wanted& wanted, const std::string& cell) {
  return InvalidField(
      wanted.field, absl::StrCat("cell '", cell, "' has no value in '", wanted.column, "'"),
      absl::StrCat("Give every cell a value, or name another column with ", wanted.option, "."));
}

template <typename Names>
absl::StatusOr<std::vector<int32_t>> ReadCodes(const Wanted& wanted, const Names& categories,
                                               QueryReader& reader) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto values, ReadColumn(wanted, reader));
  std::unordered_map<std::string, int32_t> code_of;
  for (const std::string& name : categories) {
    code_of.emplace(name, static_cast<int32_t>(code_of.size()));
  }
  std::vector<int32_t> codes;
  codes.reserve(values.size());
  for (size_t cell = 0; cell < values.size(); ++cell) {
    if (!values[cell]) return NoValue(wanted, reader.cell_names()[cell]);
    const auto it = code_of.find(*values[cell]);
    if (it == code_of.end()) {
      return InvalidField(
          wanted.field,
          absl::StrCat("'", *values[cell], "' in '", wanted.column, "', first of cell '",
                       reader.cell_names()[cell], "', is no category of '", wanted.name, "'"),
          absl::StrCat("The reference knows: ", NameList(categories),
                       ". Write one of these, or leave the cells out."));
    }
    codes.push_back(it->second);
  }
  return codes;
}

absl::StatusOr<std::vector<float>> ReadNumbers(const Wanted& wanted, bool positive,
                                               QueryReader& reader) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto values, ReadColumn(wanted, reader));
  std::vector<float> numbers;
  numbers.reserve(values.size());
  for (size_t cell = 0; cell < values.size(); ++cell) {
    if (!values[cell]) return NoValue(wanted, reader.cell_names()[cell]);
    float number = 0;
    if (!absl::SimpleAtof(*values[cell], &number) || !std::isfinite(number) ||
        (positive && number <= 0)) {
      return InvalidField(
          wanted.field,
          absl::StrCat("'", *values[cell], "' in '", wanted.column, "' of cell '",
                       reader.cell_names()[cell], "'"),
          positive ? "Give every cell a number above 0." : "Give every cell a finite number.");
    }
    numbers.push_back(number);
  }
  return numbers;
}

// Cells of the unlabelled category, or without a value, are unlabelled.
absl::StatusOr<std::vector<int32_t>> ReadLabels(const Wanted& wanted, const v1::Model& model,
                                                QueryReader& reader) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto values, ReadColumn(wanted, reader));
  std::vector<int32_t> codes;
  codes.reserve(values.size());
  for (size_t cell = 0; cell < values.size(); ++cell) {
    if (!values[cell] || *values[cell] == model.unlabeled_category()) {
      codes.push_back(-1);
      continue;
    }
    const auto it = std::find(model.labels().begin(), model.labels().end(), *values[cell]);
    if (it == model.labels().end()) {
      return InvalidField(
          wanted.field,
          absl::StrCat("'", *values[cell], "' in '", wanted.column, "', first of cell '",
                       reader.cell_names()[cell], "', is no label of the reference"),
          absl::StrCat("The reference knows: ", NameList(model.labels()), "; write '",
                       model.unlabeled_category(), "' for cells of other kinds."));
    }
    codes.push_back(static_cast<int32_t>(it - model.labels().begin()));
  }
  return codes;
}

// rows[i * width + at] = column[i].
template <typename T>
void PutColumn(const std::vector<T>& column, int64_t width, int64_t at, std::vector<T>& rows) {
  rows.resize(column.size() * width);
  for (size_t i = 0; i < column.size(); ++i) rows[i * width + at] = column[i];
}

std::string ColumnOf(const AnnotationArguments& arguments, const std::string& name) {
  const auto it = arguments.covariates.find(name);
  return it == arguments.covariates.end() ? name : it->second;
}

absl::Status CheckNames(const AnnotationArguments& arguments, const v1::Model& model) {
  std::vector<std::string> known(model.continuous_covariates().begin(),
                                 model.continuous_covariates().end());
  for (const auto& covariate : model.categorical_covariates()) known.push_back(covariate.name());
  for (const auto& [name, column] : arguments.covariates) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return InvalidField("covariate", absl::StrCat("'", name, "' is no covariate of the reference"),
                        absl::StrCat("Its covariates are: ", NameList(known), "."));
  }
  return absl::OkStatus();
}

absl::Status ReadCovariates(const AnnotationArguments& arguments, const v1::Model& model,
                            QueryReader& reader, CellAnnotations& out) {
  out.n_categorical = model.categorical_covariates_size();
  out.n_continuous = model.continuous_covariates_size();
  const auto wanted = [&](const std::string& name) {
    return Wanted{"covariate", name, ColumnOf(arguments, name),
                  absl::StrCat("--covariate ", name, "=COLUMN")};
  };
  for (int i = 0; i < model.categorical_covariates_size(); ++i) {
    const v1::CategoricalCovariate& covariate = model.categorical_covariates(i);
    PORTOLAN_ASSIGN_OR_RETURN(const auto codes,
                              ReadCodes(wanted(covariate.name()), covariate.categories(), reader));
    PutColumn(codes, out.n_categorical, i, out.categorical);
  }
  for (int i = 0; i < model.continuous_covariates_size(); ++i) {
    PORTOLAN_ASSIGN_OR_RETURN(
        const auto numbers,
        ReadNumbers(wanted(model.continuous_covariates(i)), /*positive=*/false, reader));
    PutColumn(numbers, out.n_continuous, i, out.continuous);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseCovariates(
    const std::vector<std::string>& pairs) {
  std::map<std::string, std::string> covariates;
  for (const std::string& pair : pairs) {
    const size_t mark = pair.find('=');
    if (mark == std::string::npos || mark == 0 || mark + 1 == pair.size()) {
      return InvalidField("covariate", absl::StrCat("'", pair, "'"),
                          "Write the reference's name and the query's column as NAME=COLUMN.");
    }
    if (!covariates.emplace(pair.substr(0, mark), pair.substr(mark + 1)).second) {
      return InvalidField("covariate", absl::StrCat("'", pair.substr(0, mark), "' is given twice"),
                          "Name one column for each covariate.");
    }
  }
  return covariates;
}

absl::StatusOr<CellAnnotations> ReadAnnotations(const AnnotationArguments& arguments,
                                                const v1::Model& model, AnnotationUse use,
                                                QueryReader& reader) {
  PORTOLAN_RETURN_IF_ERROR(CheckNames(arguments, model));
  CellAnnotations out;
  if (use == AnnotationUse::kMap || model.encode_covariates()) {
    PORTOLAN_RETURN_IF_ERROR(ReadCovariates(arguments, model, reader, out));
  }
  if (use == AnnotationUse::kEmbed) return out;
  if (!model.size_factor_key().empty()) {
    const std::string& key = arguments.size_factor_key;
    PORTOLAN_ASSIGN_OR_RETURN(
        out.size_factors,
        ReadNumbers({"size_factor_key", model.size_factor_key(),
                     key.empty() ? model.size_factor_key() : key, "--size-factor-key COLUMN"},
                    /*positive=*/true, reader));
  }
  const std::string& key = arguments.labels_key;
  const Wanted labels{"labels_key", model.labels_key(), key.empty() ? model.labels_key() : key,
                      "--labels-key COLUMN"};
  if (model.reads_labels()) {
    PORTOLAN_ASSIGN_OR_RETURN(out.labels, ReadCodes(labels, model.label_categories(), reader));
  } else if (!key.empty()) {
    if (model.labels().empty()) {
      return InvalidField("labels_key", absl::StrCat("a ", model.model_class(), " reads no labels"),
                          "Leave --labels-key out.");
    }
    PORTOLAN_ASSIGN_OR_RETURN(out.labels, ReadLabels(labels, model, reader));
  }
  return out;
}

}  // namespace portolan::client
