#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/command.h"
#include "client/cli/error_text.h"
#include "client/cli/report_json.h"
#include "core/base/status_macros.h"

namespace portolan::client {
namespace {

struct ShowArguments {
  std::string atlas;
  bool genes = false;
};

struct ComposeArguments {
  std::string atlas;
  std::vector<std::string> versions;
};

// What the model reads of a cell beside counts and batch.
void DescribeAnnotations(const v1::Model& model, std::ostream& out) {
  const auto line = [&](const char* what, const std::string& text) {
    out << absl::StrFormat("%-12s %s\n", what, text);
  };
  for (const v1::CategoricalCovariate& covariate : model.categorical_covariates()) {
    line("covariate", Printable(absl::StrCat(covariate.name(), ": ",
                                             absl::StrJoin(covariate.categories(), ", "))));
  }
  for (const std::string& name : model.continuous_covariates()) {
    line("covariate", Printable(absl::StrCat(name, ": a number")));
  }
  if (!model.size_factor_key().empty()) line("size factor", Printable(model.size_factor_key()));
  if (model.reads_labels()) {
    line("labels", Printable(absl::StrCat(model.labels_key(), ": ",
                                          absl::StrJoin(model.label_categories(), ", "))));
  }
}

template <typename Repeated>
std::string Joined(const Repeated& values) {
  return values.empty() ? "none" : Printable(absl::StrJoin(values, ", "));
}

absl::Status List(Invocation& invocation) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto client, ConnectTo(invocation));
  PORTOLAN_ASSIGN_OR_RETURN(const v1::ListAtlasesResponse response, client->ListAtlases());
  std::ostream& out = invocation.console.out;
  if (invocation.json) {
    nlohmann::json atlases = nlohmann::json::array();
    for (const v1::Atlas& atlas : response.atlases()) atlases.push_back(AtlasJson(atlas));
    nlohmann::json refused = nlohmann::json::array();
    for (const v1::RefusedAtlas& entry : response.refused()) {
      refused.push_back({{"name", ShortName(entry.name())}, {"reason", entry.reason()}});
    }
    out << JsonText({{"atlases", atlases}, {"refused", refused}});
    return absl::OkStatus();
  }
  out << absl::StrFormat("%-24s %-8s %8s %7s %7s %9s\n", "ATLAS", "MODEL", "GENES", "LATENT",
                         "LABELS", "VERSIONS");
  for (const v1::Atlas& atlas : response.atlases()) {
    const v1::Model& model = atlas.model();
    out << absl::StrFormat("%-24s %-8s %8d %7d %7d %9d\n", Printable(ShortName(atlas.name())),
                           Printable(model.model_class()), model.n_genes(), model.n_latent(),
                           model.labels_size(), atlas.version_count());
  }
  for (const v1::RefusedAtlas& entry : response.refused()) {
    out << "not served: " << Printable(ShortName(entry.name())) << ": " << Printable(entry.reason())
        << "\n";
  }
  return absl::OkStatus();
}

void Line(const char* what, const std::string& text, std::ostream& out) {
  out << absl::StrFormat("%-12s %s\n", what, text);
}

/// "2 hidden layers", or for TOTALVI, whose decoder has its own number, "2 + 1 hidden layers".
std::string Layers(const v1::Model& model) {
  if (model.n_layers_decoder() == 0) return absl::StrCat(model.n_layers(), " hidden layers");
  return absl::StrCat(model.n_layers(), " + ", model.n_layers_decoder(), " hidden layers");
}

void DescribeProteins(const v1::Model& model, std::ostream& out) {
  if (model.n_proteins() == 0) return;
  Line("proteins",
       Printable(absl::StrCat(model.n_proteins(), " (obsm ", model.proteins_key(),
                              "), dispersion per ", model.protein_dispersion())),
       out);
  Line("forward pass", Printable(model.totalvi_variant()), out);
  for (const v1::MissingProteins& missing : model.missing_proteins()) {
    Line("not measured",
         Printable(absl::StrCat(missing.batch(), ": ", absl::StrJoin(missing.proteins(), ", "))),
         out);
  }
}

void Describe(const v1::Atlas& atlas, const v1::Version& reference,
              const v1::ListVersionsResponse& versions, bool genes, std::ostream& out) {
  const v1::Model& model = atlas.model();
  const auto line = [&](const char* what, const std::string& text) { Line(what, text, out); };
  line("atlas", Printable(ShortName(atlas.name())));
  line("model", Printable(absl::StrCat(model.model_class(), ", saved by scvi-tools ",
                                       model.scvi_version())));
  line("genes", absl::StrCat(model.n_genes()));
  line("latent", absl::StrCat(model.n_latent(), ", ", model.latent_distribution(), " (",
                              Layers(model), " of ", model.n_hidden(), ")"));
  line("likelihood",
       Printable(absl::StrCat(model.gene_likelihood(), ", dispersion per ", model.dispersion())));
  line("norm", model.batch_norm() ? "batch norm" : model.layer_norm() ? "layer norm" : "none");
  if (!model.layer().empty()) line("counts", Printable(absl::StrCat("layer ", model.layer())));
  if (model.minified()) line("data", "minified: saved with latents in place of counts");
  DescribeProteins(model, out);
  line("batch key", model.batch_key().empty() ? "none" : Printable(model.batch_key()));
  line("batches", Joined(reference.batches()));
  if (model.labels_size() > 0) {
    line("labels", Joined(model.labels()));
    line("unlabelled", Printable(model.unlabeled_category()));
  }
  DescribeAnnotations(model, out);
  line("reference", Printable(atlas.reference_version()));
  line("versions", absl::StrCat(versions.versions_size()));
  if (genes) line("gene names", Joined(reference.genes()));
}

absl::Status Show(const ShowArguments& arguments, Invocation& invocation) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto client, ConnectTo(invocation));
  PORTOLAN_ASSIGN_OR_RETURN(const v1::Atlas atlas, client->GetAtlas(arguments.atlas));
  PORTOLAN_ASSIGN_OR_RETURN(const v1::Version reference,
                            client->GetVersion(arguments.atlas, "reference"));
  PORTOLAN_ASSIGN_OR_RETURN(const v1::ListVersionsResponse versions,
                            client->ListVersions(arguments.atlas));
  if (invocation.json) {
    invocation.console.out << JsonText(
        AtlasDetailJson(atlas, reference, versions, arguments.genes));
  } else {
    Describe(atlas, reference, versions, arguments.genes, invocation.console.out);
  }
  return absl::OkStatus();
}

absl::Status Compose(const ComposeArguments& arguments, Invocation& invocation) {
  PORTOLAN_ASSIGN_OR_RETURN(const auto client, ConnectTo(invocation));
  PORTOLAN_ASSIGN_OR_RETURN(const v1::Version version,
                            client->ComposeVersions(arguments.atlas, arguments.versions));
  if (invocation.json) {
    invocation.console.out << JsonText(VersionJson(version));
    return absl::OkStatus();
  }
  invocation.console.out << "version " << Printable(version.id()) << " on "
                         << Printable(version.parent()) << " brings "
                         << Joined(version.new_batches()) << "\n";
  return absl::OkStatus();
}

void AddComposeCommand(CLI::App& atlas, Invocation& invocation) {
  CLI::App* compose =
      atlas.add_subcommand("compose", "Put versions together that were made side by side");
  compose->fallthrough();
  auto arguments = std::make_shared<ComposeArguments>();
  compose->add_option("atlas", arguments->atlas, "Name of the atlas")->required();
  compose
      ->add_option("--versions", arguments->versions,
                   "Two or more ids, or the starts of ids: V1,V2")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->required();
  compose->callback([arguments, &invocation] {
    invocation.run = [arguments](Invocation& run) { return Compose(*arguments, run); };
  });
}

}  // namespace

void AddAtlasCommand(CLI::App& app, Invocation& invocation) {
  CLI::App* atlas = app.add_subcommand("atlas", "The atlases that the server holds");
  atlas->require_subcommand(1);
  atlas->fallthrough();
  CLI::App* list = atlas->add_subcommand("list", "All atlases");
  list->fallthrough();
  list->callback([&invocation] { invocation.run = List; });

  AddComposeCommand(*atlas, invocation);
  CLI::App* show = atlas->add_subcommand("show", "One atlas: its model, batches and labels");
  show->fallthrough();
  auto arguments = std::make_shared<ShowArguments>();
  show->add_option("atlas", arguments->atlas, "Name of the atlas")->required();
  show->add_flag("--genes", arguments->genes, "Also the names of the reference's genes");
  show->callback([arguments, &invocation] {
    invocation.run = [arguments](Invocation& run) { return Show(*arguments, run); };
  });
  AddExportCommand(*atlas, invocation);
}

}  // namespace portolan::client
