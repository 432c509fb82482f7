#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "client/cli/expression_output.h"
#include "client/cli/query.h"
#include "client/cli/result_file.h"
#include "portolan/v1/mapping.pb.h"

namespace CLI {
class App;
}

namespace portolan::client {

/// What `portolan map` was asked for. Absent values are left to the preset, on the server.
struct MapArguments {
  QueryArguments query;
  OutputArguments output;
  std::string atlas;
  std::string version = "reference";
  std::string strategy = "independent";
  std::string preset = "scvi";
  std::optional<int> epochs;
  uint64_t seed = 0;
  std::optional<double> learning_rate;
  std::optional<double> weight_decay;
  std::optional<int> minibatch;
  std::optional<bool> unfrozen;
  std::optional<bool> freeze_dropout;
  std::optional<bool> freeze_expression;
  std::optional<bool> freeze_decoder_first_layer;
  std::optional<bool> freeze_batchnorm_encoder;
  std::optional<bool> freeze_batchnorm_decoder;
  std::optional<bool> freeze_classifier;
  std::string compat = "none";
  std::string precision = "float32";
  ExpressionArguments expression;
};

/// Options that `map` and `embed` share: the file, its matrix and batches, the output.
void AddQueryOptions(CLI::App& command, QueryArguments& query, OutputArguments& output,
                     std::string& atlas, std::string& version);

/// All options of `map`, with the checks that need no server.
void AddMapOptions(CLI::App& command, MapArguments& arguments);

/// For the wire.
v1::MappingOptions ToWire(const MapArguments& arguments);

}  // namespace portolan::client
