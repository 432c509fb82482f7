#include "tests/core/archive/model_builder.h"

#include <bit>

#include "tests/core/archive/zip_builder.h"

namespace portolan {
namespace {

/// Elements and strides of a row-major tensor.
std::pair<int64_t, ModelBuilder::Shape> Dense(const ModelBuilder::Shape& shape) {
  int64_t elements = 1;
  ModelBuilder::Shape stride(shape.size());
  for (size_t i = shape.size(); i-- > 0;) {
    stride[i] = elements;
    elements *= shape[i];
  }
  return {elements, stride};
}

}  // namespace

ModelBuilder::ModelBuilder(Class model_class, int64_t batches, int64_t layers, bool encode,
                           int64_t more_columns) {
  namespace p = pickle;
  const int64_t columns = (batches > 1 ? batches : 0) + more_columns;
  std::vector<std::string> genes, batch_names, labels = {"alpha", "beta", "Unknown"};
  for (int64_t i = 0; i < kGenes; ++i) genes.push_back("gene" + std::to_string(i));
  for (int64_t i = 0; i < batches; ++i) batch_names.push_back("batch" + std::to_string(i));
  var_names = p::StrArray(genes);
  registry = {{"scvi_version", p::Str("1.1.2")},
              {"model_name", p::Str(Name(model_class))},
              {"setup_method_name", p::Str("setup_anndata")}};
  fields["X"] = Field({{p::Str("attr_name"), p::Str("X")}, {p::Str("attr_key"), p::None()}},
                      {{p::Str("n_vars"), p::Int(kGenes)}});
  fields["batch"] = Categories(p::StrArray(batch_names), "batch");
  fields["labels"] = Categories(p::Int64Array({0}), "_scvi_labels");
  fields["size_factor"] = fields["extra_continuous_covs"] = Field({}, {});
  fields["extra_categorical_covs"] = Field({}, {});
  if (model_class == kTotalvi) {
    Totalvi(columns, batches);
    fields["proteins"] = Field({}, {{p::Str("column_names"), p::StrList({"CD3", "CD4"})}});
    return;
  }
  init = {{"n_hidden", p::Int(kHidden)},  {"n_latent", p::Int(kLatent)},
          {"n_layers", p::Int(layers)},   {"dropout_rate", p::Float(0.1)},
          {"dispersion", p::Str("gene")}, {"gene_likelihood", p::Str("zinb")}};
  if (encode) module_arguments["encode_covariates"] = p::Bool(true);
  Scvi(columns, layers, encode);
  if (model_class == kScanvi) {
    Scanvi(layers);
    fields["labels"] = Field({}, {{p::Str("categorical_mapping"), p::StrArray(labels)},
                                  {p::Str("original_key"), p::Str("cell_type")},
                                  {p::Str("unlabeled_category"), p::Str("Unknown")}});
  }
}

std::string ModelBuilder::Field(const pickle::Pairs& data, const pickle::Pairs& state) {
  return pickle::Dict({{pickle::Str("data_registry"), pickle::Dict(data)},
                       {pickle::Str("state_registry"), pickle::Dict(state)},
                       {pickle::Str("summary_stats"), pickle::Dict({})}});
}

std::string ModelBuilder::Categories(const std::string& mapping, const std::string& original_key) {
  return Field({}, {{pickle::Str("categorical_mapping"), mapping},
                    {pickle::Str("original_key"), pickle::Str(original_key)}});
}

void ModelBuilder::AddStack(const std::string& prefix, int64_t in, int64_t out, int64_t layers,
                            int64_t columns, bool inject) {
  for (int64_t i = 0; i < layers; ++i) {
    const std::string layer = prefix + ".fc_layers.Layer " + std::to_string(i);
    tensors[layer + ".0.weight"] = {out, (i == 0 ? in : out) + (i == 0 || inject ? columns : 0)};
    tensors[layer + ".0.bias"] = {out};
    if (!batch_norm_) continue;
    for (const char* tensor : {"weight", "bias", "running_mean", "running_var"}) {
      tensors[layer + ".1." + tensor] = {out};
    }
  }
}

void ModelBuilder::AddLinear(const std::string& prefix, int64_t out, int64_t in) {
  tensors[prefix + ".weight"] = {out, in};
  tensors[prefix + ".bias"] = {out};
}

std::string ModelBuilder::State(bool pyro) const {
  namespace p = pickle;
  p::Pairs state;
  int64_t storage = 0;
  for (const auto& [key, shape] : tensors) {
    const auto [elements, stride] = Dense(shape);
    const std::string handle =
        p::Storage("FloatStorage", std::to_string(storage++), elements, "cuda:0");
    state.emplace_back(p::Str(key), p::Tensor(handle, 0, shape, stride));
  }
  if (pyro) state.emplace_back(p::Str("pyro_param_store"), p::Dict({}));
  return p::Build(p::OrderedDict(state), p::Dict({{p::Str("_metadata"), p::OrderedDict({})}}));
}

std::string ModelBuilder::Pickle() const {
  namespace p = pickle;
  const auto copy = [](const std::map<std::string, std::string>& from) {
    p::Pairs pairs;
    for (const auto& [key, value] : from) {
      if (!value.empty()) pairs.emplace_back(p::Str(key), value);
    }
    return pairs;
  };
  const std::string group = p::Dict(copy(module_arguments));
  p::Pairs init_pairs = copy(init);
  if (flat_init) {
    init_pairs.emplace_back(p::Str("model_kwargs"), group);
  } else {
    init_pairs = {{p::Str("non_kwargs"), p::Dict(copy(init))},
                  {p::Str("kwargs"), p::Dict({{p::Str("model_kwargs"), group}})}};
  }
  const std::string field_registries =
      p::Call(p::Global("collections", "defaultdict"), {p::Global("__builtin__", "dict")}) +
      p::Fill(copy(fields));
  p::Pairs registry_all = copy(registry);
  registry_all.emplace_back(p::Str("field_registries"), field_registries);
  std::map<std::string, std::string> all = {
      {"model_state_dict", State(/*pyro=*/true)},
      {"var_names", var_names},
      {"attr_dict", p::Dict({{p::Str("registry_"), p::Dict(registry_all)},
                             {p::Str("init_params_"), p::Dict(init_pairs)},
                             {p::Str("is_trained_"), p::Bool(true)}})}};
  for (const auto& [key, value] : root) all[key] = value;
  return p::Document(p::Dict(copy(all)));
}

std::string ModelBuilder::File() const { return Zip(Pickle()); }

std::string ModelBuilder::Parameters() const {
  return Zip(pickle::Document(State(/*pyro=*/false)));
}

std::string ModelBuilder::Zip(const std::string& pickle) const {
  std::vector<ZipPart> parts = {{"archive/data.pkl", pickle, deflate, !deflate},
                                {"archive/version", "3\n", deflate, !deflate}};
  int64_t storage = 0;
  for (const auto& [key, shape] : tensors) {
    std::string raw;
    for (int64_t i = 0; i < Dense(shape).first; ++i) {
      raw += pickle::Little(std::bit_cast<uint32_t>(static_cast<float>(i) / 8), 4);
    }
    parts.push_back({"archive/data/" + std::to_string(storage++), raw, deflate, !deflate});
  }
  return BuildZip(parts);
}

void ModelBuilder::Scvi(int64_t columns, int64_t layers, bool encode) {
  const int64_t encoded = encode ? columns : 0;
  AddStack("z_encoder.encoder", kGenes, kHidden, layers, encoded);
  AddLinear("z_encoder.mean_encoder", kLatent, kHidden);
  AddLinear("z_encoder.var_encoder", kLatent, kHidden);
  AddStack("l_encoder.encoder", kGenes, kHidden, 1, encoded);
  AddLinear("l_encoder.mean_encoder", 1, kHidden);
  AddLinear("l_encoder.var_encoder", 1, kHidden);
  AddStack("decoder.px_decoder", kLatent, kHidden, layers, columns);
  AddLinear("decoder.px_scale_decoder.0", kGenes, kHidden);
  AddLinear("decoder.px_r_decoder", kGenes, kHidden);
  AddLinear("decoder.px_dropout_decoder", kGenes, kHidden);
  tensors["px_r"] = {kGenes};
}

void ModelBuilder::Scanvi(int64_t layers) {
  constexpr int64_t kLabels = 2;
  tensors["y_prior"] = {1, kLabels};
  AddStack("classifier.classifier.0", kLatent, kHidden, layers, 0);
  AddLinear("classifier.classifier.1", kLabels, kHidden);
  AddStack("encoder_z2_z1.encoder", kLatent, kHidden, layers, kLabels);
  AddLinear("encoder_z2_z1.mean_encoder", kLatent, kHidden);
  AddLinear("encoder_z2_z1.var_encoder", kLatent, kHidden);
  AddStack("decoder_z1_z2.decoder", kLatent, kHidden, layers, kLabels);
  AddLinear("decoder_z1_z2.mean_decoder", kLatent, kHidden);
  AddLinear("decoder_z1_z2.var_decoder", kLatent, kHidden);
}

void ModelBuilder::Totalvi(int64_t columns, int64_t batches) {
  AddStack("encoder.encoder", kGenes + kProteins, kHidden, 2, columns);
  AddStack("encoder.l_gene_encoder", kGenes + kProteins, kHidden, 1, columns);
  AddLinear("encoder.z_mean_encoder", kLatent, kHidden);
  AddLinear("encoder.z_var_encoder", kLatent, kHidden);
  AddLinear("encoder.l_gene_mean_encoder", 1, kHidden);
  AddLinear("encoder.l_gene_var_encoder", 1, kHidden);
  for (const char* body : {"px_decoder", "py_back_decoder", "py_fore_decoder", "sigmoid_decoder"}) {
    AddStack(std::string("decoder.") + body, kLatent, kHidden, 1, columns);
  }
  batch_norm_ = false;
  for (const char* head : {"px_scale_decoder", "px_dropout_decoder_gene"}) {
    AddStack(std::string("decoder.") + head, kHidden + kLatent, kGenes, 1, columns);
  }
  for (const char* head : {"py_back_mean_log_alpha", "py_back_mean_log_beta",
                           "py_fore_scale_decoder", "py_background_decoder"}) {
    AddStack(std::string("decoder.") + head, kHidden + kLatent, kProteins, 1, columns);
  }
  tensors["px_r"] = {kGenes};
  tensors["py_r"] = {kProteins};
  tensors["background_pro_alpha"] = tensors["background_pro_log_beta"] = {kProteins, batches};
}

}  // namespace portolan
