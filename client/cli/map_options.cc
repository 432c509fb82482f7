#include "client/cli/map_options.h"

#include <CLI/CLI.hpp>

namespace portolan::client {
namespace {

constexpr int kMostEpochs = 1000000;
constexpr int kLargestMinibatch = 1 << 20;
constexpr int64_t kLargestChunk = 1 << 20;

void AddTrainingOptions(CLI::App& command, MapArguments& arguments) {
  const std::string group = "Training";
  command.add_option("--strategy", arguments.strategy, "How several batches train")
      ->check(CLI::IsMember({"independent", "joint", "chain"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--preset", arguments.preset, "Where absent options come from")
      ->check(CLI::IsMember({"scvi", "hlca", "newton"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--epochs", arguments.epochs, "Epochs at most (newton: passes)")
      ->check(CLI::Range(1, kMostEpochs))
      ->group(group);
  command.add_option("--seed", arguments.seed, "Seed of all random numbers")
      ->check(CLI::NonNegativeNumber)  // strtoull would wrap a negative one
      ->capture_default_str()
      ->group(group);
  command.add_option("--learning-rate", arguments.learning_rate, "Adam's learning rate")
      ->check(CLI::PositiveNumber)
      ->group(group);
  command.add_option("--weight-decay", arguments.weight_decay, "Adam's weight decay")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  command.add_option("--compat", arguments.compat, "Do as scvi-tools does, faults included")
      ->check(CLI::IsMember({"none", "scvi"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--precision", arguments.precision, "Of the decoder's gradients")
      ->check(CLI::IsMember({"float32", "bf16"}))
      ->capture_default_str()
      ->group(group);
  command.add_option("--minibatch", arguments.minibatch, "Cells per step")
      ->check(CLI::Range(1, kLargestMinibatch))
      ->group(group);
}

// Pairs are checked when they are parsed, so that a mistake is a usage error.
void AddCovariateOption(CLI::App& command, AnnotationArguments& annotations) {
  command
      .add_option_function<std::vector<std::string>>(
          "--covariate",
          [&annotations](const std::vector<std::string>& pairs) {
            auto parsed = ParseCovariates(pairs);
            if (!parsed.ok()) {
              throw CLI::ValidationError("--covariate", std::string(parsed.status().message()));
            }
            annotations.covariates = *std::move(parsed);
          },
          "The obs column of a covariate, if it has another name than at training; may be repeated")
      ->allow_extra_args(false)
      ->type_name("NAME=COLUMN");
}

void AddFreezeOptions(CLI::App& command, MapArguments& arguments) {
  const auto add = [&](const char* name, std::optional<bool>& value, const char* help) {
    command.add_option(name, value, help)->type_name("true|false")->group("Freeze flags");
  };
  add("--unfrozen", arguments.unfrozen, "Train everything");
  add("--freeze-dropout", arguments.freeze_dropout, "No dropout noise while training");
  add("--freeze-expression", arguments.freeze_expression, "Freeze the weights of the genes");
  add("--freeze-decoder-first-layer", arguments.freeze_decoder_first_layer,
      "Freeze the decoder's first layer");
  add("--freeze-batchnorm-encoder", arguments.freeze_batchnorm_encoder,
      "Freeze the encoder's batch norm");
  add("--freeze-batchnorm-decoder", arguments.freeze_batchnorm_decoder,
      "Freeze the decoder's batch norm");
  add("--freeze-classifier", arguments.freeze_classifier, "Freeze the classifier (SCANVI)");
}

template <typename Value, typename Setter>
void SetIf(const std::optional<Value>& value, Setter set) {
  if (value) set(*value);
}

}  // namespace

void AddQueryOptions(CLI::App& command, QueryArguments& query, OutputArguments& output,
                     std::string& atlas, std::string& version) {
  command
      .add_option("query", query.path,
                  "The query cells with raw counts: an h5ad or 10x HDF5 file, a folder with "
                  "matrix.mtx, or a table (csv, tsv)")
      ->required();
  command.add_option("--atlas", atlas, "Name of the atlas")->required();
  command.add_option("--version", version, "An id, the start of one, 'reference' or 'latest'")
      ->capture_default_str();
  command.add_option("--proteins", query.proteins.key,
                     "Protein counts for a TOTALVI atlas: a key of obsm, or a feature type");
  command.add_option("--protein-names", query.proteins.names_key,
                     "Key of uns with the names of the proteins, where obsm holds a bare array");
  auto* layer = command.add_option("--layer", query.layer, "Counts from layers/NAME, not X");
  AddCovariateOption(command, query.annotations);
  command.add_flag("--raw", query.raw, "Counts from raw/X, not X")->excludes(layer);
  command
      .add_option("--min-gene-share", query.min_gene_share,
                  "Refuse a query with less of the reference's genes")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--chunk-cells", query.chunk_cells, "Cells read at a time")
      ->check(CLI::Range(int64_t{1}, kLargestChunk))
      ->capture_default_str();
  CLI::Option_group* batches = command.add_option_group("Batches");
  batches->add_option("--batch-key", query.batch_key, "The obs column with the batches");
  batches->add_option("--batch", query.batch, "The batch of all cells");
  batches->require_option(1);
  command.add_flag("--slim", output.slim, "Leave X, layers and raw out of the result");
  command.add_option("-o,--output", output.output_path, "The result, an h5ad file")->required();
}

void AddMapOptions(CLI::App& command, MapArguments& arguments) {
  AddQueryOptions(command, arguments.query, arguments.output, arguments.atlas, arguments.version);
  AnnotationArguments& annotations = arguments.query.annotations;
  command.add_option("--size-factor-key", annotations.size_factor_key,
                     "The obs column with size factors, for a reference trained with them");
  command.add_option("--labels-key", annotations.labels_key,
                     "The obs column with labels: known cells of a SCANVI query train along");
  AddTrainingOptions(command, arguments);
  AddFreezeOptions(command, arguments);
  AddExpressionOptions(command, arguments.expression);
}

v1::MappingOptions ToWire(const MapArguments& a) {
  v1::MappingOptions out;
  out.set_strategy(a.strategy == "joint"   ? v1::MappingOptions::JOINT
                   : a.strategy == "chain" ? v1::MappingOptions::CHAIN
                                           : v1::MappingOptions::INDEPENDENT);
  out.set_preset(a.preset == "hlca"     ? v1::MappingOptions::HLCA
                 : a.preset == "newton" ? v1::MappingOptions::NEWTON
                                        : v1::MappingOptions::SCVI);
  out.set_seed(a.seed);
  if (a.precision == "bf16") out.set_precision(v1::MappingOptions::BF16);
  if (a.compat == "scvi") out.set_compat(v1::MappingOptions::COMPAT_SCVI);
  SetIf(a.epochs, [&](int value) { out.set_epochs(value); });
  SetIf(a.learning_rate, [&](double value) { out.set_learning_rate(value); });
  SetIf(a.weight_decay, [&](double value) { out.set_weight_decay(value); });
  SetIf(a.minibatch, [&](int value) { out.set_minibatch(value); });
  SetIf(a.unfrozen, [&](bool value) { out.set_unfrozen(value); });
  SetIf(a.freeze_dropout, [&](bool value) { out.set_freeze_dropout(value); });
  SetIf(a.freeze_expression, [&](bool value) { out.set_freeze_expression(value); });
  SetIf(a.freeze_decoder_first_layer,
        [&](bool value) { out.set_freeze_decoder_first_layer(value); });
  SetIf(a.freeze_batchnorm_encoder, [&](bool value) { out.set_freeze_batchnorm_encoder(value); });
  SetIf(a.freeze_batchnorm_decoder, [&](bool value) { out.set_freeze_batchnorm_decoder(value); });
  SetIf(a.freeze_classifier, [&](bool value) { out.set_freeze_classifier(value); });
  return out;
}

}  // namespace portolan::client
