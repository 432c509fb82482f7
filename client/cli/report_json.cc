#include "client/cli/report_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "client/cpp/client.h"

namespace portolan::client {
namespace {

using nlohmann::json;

template <typename Repeated>
json List(const Repeated& values) {
  json list = json::array();
  for (const auto& value : values) list.push_back(value);
  return list;
}

json ProteinsJson(const v1::ProteinReport& proteins) {
  json renamed = json::array();
  for (const auto& pair : proteins.renamed()) {
    renamed.push_back(absl::StrCat(pair.query(), " = ", pair.reference()));
  }
  return {{"reference_proteins", proteins.reference_proteins()},
          {"matched", proteins.matched()},
          {"missing", List(proteins.missing())},
          {"extra", List(proteins.extra())},
          {"renamed", renamed}};
}

json GenesJson(const v1::GeneReport& genes) {
  return {{"reference_genes", genes.reference_genes()}, {"matched", genes.matched()},
          {"missing", List(genes.missing())},           {"extra", genes.extra()},
          {"duplicated", List(genes.duplicated())},     {"reordered", genes.reordered()}};
}

json BatchJson(const v1::BatchReport& batch) {
  return {{"cells", batch.cells()},
          {"epochs", batch.epochs()},
          {"steps", batch.steps()},
          {"trained", batch.trained()},
          {"elbo", batch.elbo()},
          {"stop_reason", batch.stop_reason()},
          {"train_loss", List(batch.train_loss())},
          {"validation_elbo", List(batch.validation_elbo())},
          {"seconds", batch.seconds()}};
}

json ContextJson(const ResultContext& context) {
  return {{"atlas", context.atlas},
          {"model", context.model.model_class()},
          {"scvi_version", context.model.scvi_version()},
          {"client_version", PORTOLAN_CLIENT_VERSION}};
}

std::string Hdf5Key(const std::string& name) {
  std::string key = name;
  for (char& c : key) {
    if (c == '/' || c == '\0') c = '_';
  }
  return key.empty() || key == "." || key == ".." ? "_" + key : key;
}

// What the model reads of a cell beside counts and batch.
json AnnotationsJson(const v1::Model& model) {
  json categorical = json::object();
  for (const v1::CategoricalCovariate& covariate : model.categorical_covariates()) {
    categorical[covariate.name()] = List(covariate.categories());
  }
  return {{"categorical_covariates", categorical},
          {"continuous_covariates", List(model.continuous_covariates())},
          {"size_factor_key", model.size_factor_key()},
          {"label_categories", List(model.label_categories())}};
}

}  // namespace

json AtlasJson(const v1::Atlas& atlas) {
  const v1::Model& model = atlas.model();
  json missing = json::object();
  for (const v1::MissingProteins& batch : model.missing_proteins()) {
    missing[batch.batch()] = List(batch.proteins());
  }
  return {{"name", ShortName(atlas.name())},
          {"model", model.model_class()},
          {"scvi_version", model.scvi_version()},
          {"genes", model.n_genes()},
          {"latent", model.n_latent()},
          {"hidden", model.n_hidden()},
          {"layers", model.n_layers()},
          {"likelihood", model.gene_likelihood()},
          {"dispersion", model.dispersion()},
          {"encode_covariates", model.encode_covariates()},
          {"observed_library_size", model.use_observed_lib_size()},
          {"batch_norm", model.batch_norm()},
          {"layer_norm", model.layer_norm()},
          {"batch_key", model.batch_key()},
          {"labels_key", model.labels_key()},
          {"unlabeled_category", model.unlabeled_category()},
          {"labels", List(model.labels())},
          {"latent_distribution", model.latent_distribution()},
          {"layer", model.layer()},
          {"minified", model.minified()},
          {"training_cells", model.training_cells()},
          {"layers_decoder", model.n_layers_decoder()},
          {"proteins", model.n_proteins()},
          {"proteins_key", model.proteins_key()},
          {"protein_dispersion", model.protein_dispersion()},
          {"totalvi_variant", model.totalvi_variant()},
          {"missing_proteins", missing},
          {"reads", AnnotationsJson(model)},
          {"batch_embedding", model.batch_embedding()},
          {"linear_classifier", model.linear_classifier()},
          {"reference_version", atlas.reference_version()},
          {"version_count", atlas.version_count()}};
}

json AtlasDetailJson(const v1::Atlas& atlas, const v1::Version& reference,
                     const v1::ListVersionsResponse& versions, bool with_genes) {
  json out = AtlasJson(atlas);
  out["batches"] = List(reference.batches());
  json ids = json::array();
  for (const v1::Version& version : versions.versions()) ids.push_back(version.id());
  out["versions"] = std::move(ids);
  if (with_genes) out["gene_names"] = List(reference.genes());
  return out;
}

json VersionJson(const v1::Version& version) {
  return {{"id", version.id()},
          {"name", version.name()},
          {"parent", version.parent()},
          {"new_batches", List(version.new_batches())},
          {"batches", List(version.batches())},
          {"extension_kind", version.extension_kind()},
          {"extension_bytes", version.extension_bytes()},
          {"full_delta_reasons", List(version.full_delta_reasons())},
          {"created", version.create_time().seconds()},
          {"max_abs_dz", version.max_abs_probe_shift()},
          {"lineage", List(version.lineage())}};
}

std::vector<std::string> KeysOf(const std::vector<std::string>& names, BatchKeys keys) {
  if (keys == BatchKeys::kNames) return names;
  std::vector<std::string> out;
  std::set<std::string> used;
  // Names that need no change keep theirs, whatever else is changed into the same text.
  for (const std::string& name : names) {
    if (Hdf5Key(name) == name) used.insert(name);
  }
  for (const std::string& name : names) {
    std::string key = Hdf5Key(name);
    if (key != name) {
      const std::string stem = key;
      for (int i = 2; !used.insert(key).second; ++i) key = absl::StrCat(stem, "_", i);
    }
    out.push_back(std::move(key));
  }
  return out;
}

json ReportJson(const v1::MappingReport& report, const ResultContext& context, BatchKeys keys) {
  json out = ContextJson(context);
  out["version"] = report.version_id();
  out["parent"] = report.parent();
  out["strategy"] = report.strategy();
  out["preset"] = report.preset();
  out["seed"] = report.seed();
  out["cells"] = report.cells();
  out["latent"] = report.n_latent();
  std::vector<std::string> names;
  for (const v1::BatchReport& batch : report.batches()) names.push_back(batch.batch());
  const std::vector<std::string> batch_keys = KeysOf(names, keys);
  for (const char* dict : {"batches", "epochs", "steps", "losses"}) out[dict] = json::object();
  for (int i = 0; i < report.batches_size(); ++i) {
    const v1::BatchReport& batch = report.batches(i);
    out["batches"][batch_keys[i]] = BatchJson(batch);
    out["epochs"][batch_keys[i]] = batch.epochs();
    out["steps"][batch_keys[i]] = batch.steps();
    out["losses"][batch_keys[i]] = List(batch.train_loss());
  }
  out["batch_names"] = names;
  out["batch_keys"] = batch_keys;
  out["genes"] = GenesJson(report.genes());
  if (report.has_proteins()) out["proteins"] = ProteinsJson(report.proteins());
  json timings = json::object();
  for (const auto& [stage, seconds] : report.seconds()) timings[stage] = seconds;
  out["timings"] = std::move(timings);
  out["instruction_set"] = report.instruction_set();
  out["max_abs_dz"] = report.max_abs_probe_shift();
  out["elbo"] = report.elbo();
  out["extension_kind"] = report.extension_kind();
  out["extension_bytes"] = report.extension_bytes();
  out["labels"] = List(report.labels());
  out["notes"] = List(report.notes());
  return out;
}

json ReportJson(const EmbedReport& report, const ResultContext& context, BatchKeys keys) {
  json out = ContextJson(context);
  out["version"] = report.version_id;
  const std::vector<std::string> batch_keys = KeysOf(report.batches, keys);
  out["batches"] = json::object();
  for (size_t i = 0; i < report.batches.size(); ++i) {
    out["batches"][batch_keys[i]] = {{"cells", report.cells[i]}, {"trained", false}};
  }
  out["batch_names"] = report.batches;
  out["batch_keys"] = batch_keys;
  out["genes"] = GenesJson(report.genes);
  out["instruction_set"] = report.instruction_set;
  out["labels"] = report.labels;
  return out;
}

json LabelCountsJson(const std::vector<std::string>& labels, const std::vector<int32_t>& codes) {
  std::vector<int64_t> counts(labels.size());
  for (const int32_t code : codes) ++counts[code];
  json out = json::object();
  for (size_t i = 0; i < labels.size(); ++i) {
    if (counts[i] > 0) out[labels[i]] = counts[i];
  }
  return out;
}

std::string JsonText(const json& value) {
  return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace portolan::client
