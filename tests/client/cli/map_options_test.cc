#include "client/cli/map_options.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace portolan::client {
namespace {

MapArguments Parse(std::vector<std::string> more) {
  std::vector<std::string> words = {"q.h5ad", "--atlas", "toy", "--batch-key", "donor", "-o", "o"};
  words.insert(words.end(), more.begin(), more.end());
  std::reverse(words.begin(), words.end());
  CLI::App app;
  MapArguments arguments;
  AddMapOptions(app, arguments);
  app.parse(words);
  return arguments;
}

TEST(MapOptionsTest, AbsentOptionsStayAbsentOnTheWire) {
  const MapArguments arguments = Parse({});
  EXPECT_EQ(arguments.version, "reference");
  EXPECT_EQ(SourceOf(arguments.query).path, "X");
  EXPECT_EQ(arguments.query.min_gene_share, 0.5);
  const v1::MappingOptions wire = ToWire(arguments);
  EXPECT_EQ(wire.strategy(), v1::MappingOptions::INDEPENDENT);
  EXPECT_EQ(wire.preset(), v1::MappingOptions::SCVI);
  EXPECT_EQ(wire.precision(), v1::MappingOptions::PRECISION_UNSPECIFIED);
  EXPECT_FALSE(wire.has_epochs());
  EXPECT_FALSE(wire.has_weight_decay());
  EXPECT_FALSE(wire.has_unfrozen());
  EXPECT_FALSE(wire.has_freeze_dropout());
  EXPECT_FALSE(wire.has_freeze_classifier());
}

TEST(MapOptionsTest, EveryOptionReachesTheWire) {
  const v1::MappingOptions wire = ToWire(Parse({"--strategy",
                                                "chain",
                                                "--preset",
                                                "hlca",
                                                "--epochs",
                                                "7",
                                                "--seed",
                                                "18446744073709551615",
                                                "--learning-rate",
                                                "0.01",
                                                "--weight-decay",
                                                "0",
                                                "--minibatch",
                                                "64",
                                                "--precision",
                                                "bf16",
                                                "--unfrozen=true",
                                                "--freeze-dropout",
                                                "false",
                                                "--freeze-expression=false",
                                                "--freeze-decoder-first-layer",
                                                "false",
                                                "--freeze-batchnorm-encoder=false",
                                                "--freeze-batchnorm-decoder=true",
                                                "--freeze-classifier",
                                                "false"}));
  EXPECT_EQ(wire.strategy(), v1::MappingOptions::CHAIN);
  EXPECT_EQ(wire.preset(), v1::MappingOptions::HLCA);
  EXPECT_EQ(wire.epochs(), 7);
  EXPECT_EQ(wire.precision(), v1::MappingOptions::BF16);
  EXPECT_EQ(wire.seed(), UINT64_MAX);
  EXPECT_EQ(wire.learning_rate(), 0.01);
  EXPECT_TRUE(wire.has_weight_decay());
  EXPECT_EQ(wire.minibatch(), 64);
  EXPECT_TRUE(wire.unfrozen());
  EXPECT_TRUE(wire.has_freeze_dropout() && !wire.freeze_dropout());
  EXPECT_TRUE(wire.has_freeze_expression() && !wire.freeze_expression());
  EXPECT_TRUE(wire.has_freeze_decoder_first_layer() && !wire.freeze_decoder_first_layer());
  EXPECT_TRUE(wire.has_freeze_batchnorm_encoder() && !wire.freeze_batchnorm_encoder());
  EXPECT_TRUE(wire.freeze_batchnorm_decoder());
  EXPECT_TRUE(wire.has_freeze_classifier() && !wire.freeze_classifier());
}

TEST(MapOptionsTest, Matrices) {
  EXPECT_EQ(SourceOf(Parse({"--layer", "counts"}).query).path, "layers/counts");
  EXPECT_EQ(SourceOf(Parse({"--raw"}).query).path, "raw/X");
  EXPECT_THROW(Parse({"--raw", "--layer", "counts"}), CLI::ParseError);
}

TEST(MapOptionsTest, NonsenseIsRefused) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"--epochs", "0"},
                                             {"--epochs", "ten"},
                                             {"--seed", "-1"},
                                             {"--strategy", "best"},
                                             {"--preset", "quickest"},
                                             {"--precision", "half"},
                                             {"--learning-rate", "0"},
                                             {"--weight-decay", "-1"},
                                             {"--min-gene-share", "2"},
                                             {"--chunk-cells", "0"},
                                             {"--freeze-dropout", "maybe"},
                                             {"second.h5ad"},
                                             {"--no-such-option"}}) {
    EXPECT_THROW(Parse(words), CLI::ParseError) << words[0];
  }
}

}  // namespace
}  // namespace portolan::client
