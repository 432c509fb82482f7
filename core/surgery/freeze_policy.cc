#include "core/surgery/freeze_policy.h"

namespace portolan {
namespace {

constexpr double kMomentum = 0.01;

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string_view Root(std::string_view key) { return key.substr(0, key.find('.')); }

bool IsProtected(std::string_view key, const FreezeFlags& flags) {
  const std::string_view root = Root(key);
  return root == "l_encoder" || (root == "classifier" && !flags.freeze_classifier);
}

// requires_grad after surgery.
bool RequiresGrad(std::string_view key, const FreezeFlags& flags) {
  const std::string_view root = Root(key);
  const bool fc = Contains(key, "fc_layers");
  if (fc && Contains(key, ".0.") && root != "encoder_z2_z1" && root != "decoder_z1_z2") return true;
  if (IsProtected(key, flags)) return true;
  if (Contains(key, "background_pro_alpha") || Contains(key, "background_pro_log_beta"))
    return true;
  if (Contains(key, "_embeddings_dict.")) return true;
  const bool norm = fc && Contains(key, ".1.");
  if (norm && Contains(key, "encoder") && !flags.freeze_batchnorm_encoder) return true;
  return norm && Contains(key, "decoder") && !flags.freeze_batchnorm_decoder;
}

// A Linear inside an FC stack: "PATH.fc_layers.Layer I.0.weight".
struct StackLinear {
  bool found = false;
  std::string_view path;
  bool first_layer = false;
};

StackLinear ParseStackLinear(std::string_view key) {
  constexpr std::string_view kMark = ".fc_layers.Layer ";
  const size_t mark = key.find(kMark);
  if (mark == std::string_view::npos) return {};
  const std::string_view rest = key.substr(mark + kMark.size());
  const size_t dot = rest.find('.');
  if (dot == std::string_view::npos || rest.substr(dot, 3) != ".0.") return {};
  return {true, key.substr(0, mark), rest.substr(0, dot) == "0"};
}

}  // namespace

ParameterPolicy PolicyOf(std::string_view key, const FreezeFlags& flags) {
  if (key == "y_prior") return {};
  if (flags.unfrozen) return {true, true, true};
  if (!RequiresGrad(key, flags)) return {};
  const StackLinear linear = ParseStackLinear(key);
  if (!linear.found || IsProtected(key, flags)) return {true, true, true};
  const bool unmasked =
      linear.first_layer &&
      ((!flags.freeze_expression && Contains(linear.path, "encoder")) ||
       (!flags.freeze_decoder_first_layer && Contains(linear.path, "px_decoder")));
  return {true, unmasked, true};
}

bool OtherColumnsTrained(const ParameterPolicy& policy, const FreezeFlags& flags) {
  return policy.trained || (flags.scvi_columns && policy.columns_trained);
}

double BatchNormMomentum(std::string_view stack_path, const FreezeFlags& flags) {
  if (flags.unfrozen || IsProtected(stack_path, flags)) return kMomentum;
  const bool frozen = (flags.freeze_batchnorm_encoder && Contains(stack_path, "encoder")) ||
                      (flags.freeze_batchnorm_decoder && Contains(stack_path, "decoder"));
  return frozen ? 0.0 : kMomentum;
}

bool DropoutActive(std::string_view stack_path, const FreezeFlags& flags) {
  return flags.unfrozen || !flags.freeze_dropout || IsProtected(stack_path, flags);
}

}  // namespace portolan
