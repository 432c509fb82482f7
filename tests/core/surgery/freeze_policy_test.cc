#include "core/surgery/freeze_policy.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace portolan {
namespace {

using Condition = std::function<bool(const FreezeFlags&)>;

bool Never(const FreezeFlags&) { return false; }
bool Always(const FreezeFlags&) { return true; }

// What scvi-tools does with a parameter, `unfrozen` aside.
struct Row {
  const char* key;
  Condition in_optimizer;
  Condition trained;
  Condition columns = Never;  // of a Linear's weight
};

bool ExpressionFree(const FreezeFlags& f) { return !f.freeze_expression; }
bool FirstDecoderFree(const FreezeFlags& f) { return !f.freeze_decoder_first_layer; }
bool EncoderNormFree(const FreezeFlags& f) { return !f.freeze_batchnorm_encoder; }
bool DecoderNormFree(const FreezeFlags& f) { return !f.freeze_batchnorm_decoder; }
bool ClassifierFree(const FreezeFlags& f) { return !f.freeze_classifier; }

const std::vector<Row>& Rows() {
  static const auto& rows = *new std::vector<Row>{
      // SCVI
      {"px_r", Never, Never},
      {"z_encoder.encoder.fc_layers.Layer 0.0.weight", Always, ExpressionFree, Always},
      {"z_encoder.encoder.fc_layers.Layer 0.0.bias", Always, ExpressionFree},
      {"z_encoder.encoder.fc_layers.Layer 0.1.weight", EncoderNormFree, EncoderNormFree},
      {"z_encoder.encoder.fc_layers.Layer 0.1.bias", EncoderNormFree, EncoderNormFree},
      {"z_encoder.encoder.fc_layers.Layer 1.0.weight", Always, Never, Always},
      {"z_encoder.encoder.fc_layers.Layer 1.0.bias", Always, Never},
      {"z_encoder.encoder.fc_layers.Layer 1.1.weight", EncoderNormFree, EncoderNormFree},
      {"z_encoder.encoder.fc_layers.Layer 10.0.weight", Always, Never, Always},
      {"z_encoder.encoder.fc_layers.Layer 10.1.weight", EncoderNormFree, EncoderNormFree},
      {"z_encoder.mean_encoder.weight", Never, Never},
      {"z_encoder.mean_encoder.bias", Never, Never},
      {"z_encoder.var_encoder.weight", Never, Never},
      {"z_encoder.var_encoder.bias", Never, Never},
      {"l_encoder.encoder.fc_layers.Layer 0.0.weight", Always, Always, Always},
      {"l_encoder.encoder.fc_layers.Layer 0.0.bias", Always, Always},
      {"l_encoder.encoder.fc_layers.Layer 0.1.weight", Always, Always},
      {"l_encoder.mean_encoder.weight", Always, Always},
      {"l_encoder.var_encoder.bias", Always, Always},
      {"decoder.px_decoder.fc_layers.Layer 0.0.weight", Always, FirstDecoderFree, Always},
      {"decoder.px_decoder.fc_layers.Layer 0.0.bias", Always, FirstDecoderFree},
      {"decoder.px_decoder.fc_layers.Layer 0.1.weight", DecoderNormFree, DecoderNormFree},
      {"decoder.px_decoder.fc_layers.Layer 0.1.bias", DecoderNormFree, DecoderNormFree},
      {"decoder.px_decoder.fc_layers.Layer 1.0.weight", Always, Never, Always},
      {"decoder.px_decoder.fc_layers.Layer 1.0.bias", Always, Never},
      {"decoder.px_decoder.fc_layers.Layer 1.1.weight", DecoderNormFree, DecoderNormFree},
      {"decoder.px_scale_decoder.0.weight", Never, Never},
      {"decoder.px_scale_decoder.0.bias", Never, Never},
      {"decoder.px_r_decoder.weight", Never, Never},
      {"decoder.px_dropout_decoder.weight", Never, Never},
      // SCANVI
      {"classifier.classifier.0.fc_layers.Layer 0.0.weight", Always, ClassifierFree, Always},
      {"classifier.classifier.0.fc_layers.Layer 0.0.bias", Always, ClassifierFree},
      // The path contains ".0.", whatever freeze_classifier says.
      {"classifier.classifier.0.fc_layers.Layer 0.1.weight", Always, Always},
      {"classifier.classifier.0.fc_layers.Layer 0.1.bias", Always, Always},
      {"classifier.classifier.1.weight", ClassifierFree, ClassifierFree},
      {"classifier.classifier.1.bias", ClassifierFree, ClassifierFree},
      {"classifier.classifier.0.weight", ClassifierFree, ClassifierFree},  // linear classifier
      {"encoder_z2_z1.encoder.fc_layers.Layer 0.0.weight", Never, Never},
      {"encoder_z2_z1.encoder.fc_layers.Layer 0.0.bias", Never, Never},
      {"encoder_z2_z1.encoder.fc_layers.Layer 1.0.weight", Never, Never},
      {"encoder_z2_z1.encoder.fc_layers.Layer 0.1.weight", EncoderNormFree, EncoderNormFree},
      {"encoder_z2_z1.mean_encoder.weight", Never, Never},
      {"decoder_z1_z2.decoder.fc_layers.Layer 0.0.weight", Never, Never},
      {"decoder_z1_z2.decoder.fc_layers.Layer 0.1.weight", DecoderNormFree, DecoderNormFree},
      {"decoder_z1_z2.decoder.fc_layers.Layer 0.1.bias", DecoderNormFree, DecoderNormFree},
      {"decoder_z1_z2.var_decoder.bias", Never, Never},
      // TOTALVI
      {"background_pro_alpha", Always, Always},
      {"background_pro_log_beta", Always, Always},
      {"log_per_batch_efficiency", Never, Never},
      {"py_r", Never, Never},
      {"encoder.encoder.fc_layers.Layer 0.0.weight", Always, ExpressionFree, Always},
      {"encoder.encoder.fc_layers.Layer 1.0.weight", Always, Never, Always},
      {"encoder.encoder.fc_layers.Layer 1.1.weight", EncoderNormFree, EncoderNormFree},
      {"encoder.z_mean_encoder.weight", Never, Never},
      {"encoder.l_gene_encoder.fc_layers.Layer 0.0.weight", Always, ExpressionFree, Always},
      {"encoder.l_gene_encoder.fc_layers.Layer 0.1.bias", EncoderNormFree, EncoderNormFree},
      {"encoder.l_gene_mean_encoder.weight", Never, Never},
      {"decoder.py_back_decoder.fc_layers.Layer 0.0.weight", Always, Never, Always},
      {"decoder.py_back_decoder.fc_layers.Layer 0.1.weight", DecoderNormFree, DecoderNormFree},
      {"decoder.sigmoid_decoder.fc_layers.Layer 0.0.bias", Always, Never},
      {"decoder.px_scale_decoder.fc_layers.Layer 0.0.weight", Always, Never, Always},
      {"decoder.px_dropout_decoder_gene.fc_layers.Layer 0.0.weight", Always, Never, Always},
      {"decoder.py_fore_scale_decoder.fc_layers.Layer 0.0.bias", Always, Never},
  };
  return rows;
}

std::vector<FreezeFlags> AllFlags() {
  std::vector<FreezeFlags> all;
  for (int bits = 0; bits < 128; ++bits) {
    const auto bit = [bits](int i) { return (bits >> i & 1) != 0; };
    all.push_back({bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6)});
  }
  return all;
}

std::string Describe(const FreezeFlags& f) {
  std::string text;
  for (const bool flag :
       {f.unfrozen, f.freeze_dropout, f.freeze_expression, f.freeze_decoder_first_layer,
        f.freeze_batchnorm_encoder, f.freeze_batchnorm_decoder, f.freeze_classifier}) {
    text += flag ? '1' : '0';
  }
  return "unfrozen, dropout, expression, first, bn encoder, bn decoder, classifier: " + text;
}

TEST(FreezePolicyTest, EveryParameterUnderEveryCombinationOfFlags) {
  for (const FreezeFlags& flags : AllFlags()) {
    for (const Row& row : Rows()) {
      const ParameterPolicy got = PolicyOf(row.key, flags);
      EXPECT_EQ(got.in_optimizer, flags.unfrozen || row.in_optimizer(flags))
          << row.key << "; " << Describe(flags);
      EXPECT_EQ(got.trained, flags.unfrozen || row.trained(flags))
          << row.key << "; " << Describe(flags);
      const std::string_view key = row.key;
      const bool linear_weight = key.find(".0.weight") != std::string_view::npos &&
                                 key.find("fc_layers") != std::string_view::npos;
      if (!linear_weight) continue;
      EXPECT_EQ(got.columns_trained, flags.unfrozen || row.columns(flags))
          << row.key << "; " << Describe(flags);
    }
  }
}

TEST(FreezePolicyTest, ThePriorOfLabelsIsNeverTrained) {
  for (const FreezeFlags& flags : AllFlags()) {
    const ParameterPolicy got = PolicyOf("y_prior", flags);
    EXPECT_FALSE(got.in_optimizer || got.trained || got.columns_trained) << Describe(flags);
  }
}

TEST(FreezePolicyTest, DefaultsAreScviTools) {
  const FreezeFlags flags;
  EXPECT_FALSE(flags.unfrozen);
  EXPECT_FALSE(flags.freeze_dropout);
  EXPECT_TRUE(flags.freeze_expression);
  EXPECT_TRUE(flags.freeze_decoder_first_layer);
  EXPECT_TRUE(flags.freeze_batchnorm_encoder);
  EXPECT_FALSE(flags.freeze_batchnorm_decoder);
  EXPECT_TRUE(flags.freeze_classifier);
}

TEST(BatchNormMomentumTest, EveryStackUnderEveryCombinationOfFlags) {
  const std::vector<std::pair<const char*, Condition>> moving = {
      {"z_encoder.encoder", EncoderNormFree},       {"l_encoder.encoder", Always},
      {"decoder.px_decoder", DecoderNormFree},      {"classifier.classifier.0", Always},
      {"encoder_z2_z1.encoder", EncoderNormFree},   {"decoder_z1_z2.decoder", DecoderNormFree},
      {"encoder.encoder", EncoderNormFree},         {"encoder.l_gene_encoder", EncoderNormFree},
      {"decoder.py_fore_decoder", DecoderNormFree},
  };
  for (const FreezeFlags& flags : AllFlags()) {
    for (const auto& [path, moves] : moving) {
      EXPECT_EQ(BatchNormMomentum(path, flags), flags.unfrozen || moves(flags) ? 0.01 : 0.0)
          << path << "; " << Describe(flags);
    }
  }
}

TEST(DropoutActiveTest, EveryStackUnderEveryCombinationOfFlags) {
  for (const FreezeFlags& flags : AllFlags()) {
    const bool active = flags.unfrozen || !flags.freeze_dropout;
    for (const char* path : {"z_encoder.encoder", "encoder_z2_z1.encoder", "encoder.encoder"}) {
      EXPECT_EQ(DropoutActive(path, flags), active) << path << "; " << Describe(flags);
    }
    EXPECT_TRUE(DropoutActive("l_encoder.encoder", flags)) << Describe(flags);
    EXPECT_EQ(DropoutActive("classifier.classifier.0", flags), active || !flags.freeze_classifier)
        << Describe(flags);
  }
}

}  // namespace
}  // namespace portolan
