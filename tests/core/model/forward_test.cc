#include "core/model/forward.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/model/annotations.h"
#include "core/model/likelihood.h"
#include "core/model/model.h"
#include "core/model/sparse_layer.h"
#include "core/model/torch_runtime.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

// Golden numbers of scvi-tools (float32) for GoldenCounts() and every normal sample 0.37. They are
// printed with seven digits.
constexpr double kRelative = 1e-5;
constexpr double kLatent = 1e-5;

struct GoldenTerms {
  std::vector<float> reconstruction;
  std::vector<float> kl;
  double loss = 0;
};

std::vector<float> Floats(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.contiguous();
  return {dense.data_ptr<float>(), dense.data_ptr<float>() + dense.numel()};
}

GoldenTerms TermsOf(const Model& model, const std::vector<int32_t>& codes, double kl_weight) {
  GoldenTerms out;
  const absl::Status status = TorchFence([&] {
    const c10::NoGradGuard no_grad;
    const CsrMatrix counts = GoldenCounts();
    const std::vector<int64_t> rows = Range(0, counts.rows());
    Minibatch minibatch;
    minibatch.rows = rows;
    minibatch.counts = at::empty({counts.rows(), counts.cols}, at::kFloat);
    DenseRows(counts, rows, minibatch.counts.data_ptr<float>());
    minibatch.first = FirstLinear(model.networks().z_encoder.stack,
                                  EncoderInput(model.networks().architecture, minibatch));
    minibatch.batch_codes = at::empty({counts.rows()}, at::kLong);
    std::copy(codes.begin(), codes.end(), minibatch.batch_codes.data_ptr<int64_t>());
    ConstantNoise noise;
    const LossTerms terms = ComputeLoss(model.networks(), minibatch, /*training=*/false,
                                        RandomUse::kLatentNoise, noise);
    out.reconstruction = Floats(terms.reconstruction);
    out.kl = Floats(terms.kl);
    out.loss =
        (terms.reconstruction + kl_weight * terms.kl + terms.kl_unweighted).mean().item<double>();
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

void ExpectStartsWith(const std::vector<float>& got, size_t begin, const std::vector<double>& want,
                      double tolerance, bool relative) {
  ASSERT_GE(got.size(), begin + want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(got[begin + i], want[i], relative ? tolerance * std::abs(want[i]) : tolerance)
        << "element " << begin + i;
  }
}

class ScviGoldenTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::string directory = SharedDataPath("models/scvi_v0150");
    if (directory.empty()) GTEST_SKIP() << "no shared test data: models/scvi_v0150";
    saved_ = ReadSavedModel(directory).value();
  }

  SavedModel saved_;
  std::vector<int32_t> codes_ = {0, 1, 0, 1, 0, 1, 0, 1};
};

TEST_F(ScviGoldenTest, LatentsAreThoseOfScviTools) {
  const auto model = Model::Create(saved_).value();
  const Embedding z = Encode(*model, {GoldenCounts(), codes_}, CancelToken()).value();
  ASSERT_EQ(z.cells, 8);
  ExpectStartsWith(z.mean, 0, {-0.3751708, 0.6393070, -0.07167024}, kLatent, false);
  ExpectStartsWith(z.mean, 7 * z.n_latent, {-0.1636171, 0.6048701, -0.3315537}, kLatent, false);
  ExpectStartsWith(z.variance, 0, {1.131322, 1.250161, 1.670830}, kLatent, false);
}

TEST_F(ScviGoldenTest, LossTermsAreThoseOfScviTools) {
  ASSERT_EQ(saved_.description.architecture.gene_likelihood, GeneLikelihood::kZinb);
  const GoldenTerms terms = TermsOf(*Model::Create(saved_).value(), codes_, 0.3);
  ExpectStartsWith(terms.reconstruction, 0, {330.1730, 335.1396}, kRelative, true);
  ExpectStartsWith(terms.kl, 0, {1.221233, 1.142551}, kRelative, true);
  EXPECT_NEAR(terms.loss, 331.1953, 331.1953 * kRelative);
}

TEST_F(ScviGoldenTest, SameWeightsUnderANegativeBinomial) {
  saved_.description.architecture.gene_likelihood = GeneLikelihood::kNb;
  const GoldenTerms terms = TermsOf(*Model::Create(saved_).value(), codes_, 0.3);
  EXPECT_NEAR(terms.loss, 283.6408, 283.6408 * kRelative);
}

TEST(ScanviGoldenTest, LatentsLabelsAndLossAreThoseOfScviTools) {
  const std::string directory = SharedDataPath("models/scanvi_v103");
  if (directory.empty()) GTEST_SKIP() << "no shared test data: models/scanvi_v103";
  const auto model = Model::Create(ReadSavedModel(directory).value()).value();
  const std::vector<int32_t> codes(8, 0);
  const Embedding z = Encode(*model, {GoldenCounts(), codes}, CancelToken()).value();
  ExpectStartsWith(z.mean, 0, {0.2219033, -0.1901633, 0.03284636}, kLatent, false);
  ASSERT_EQ(z.n_labels, 2);
  ExpectStartsWith(z.probabilities, 0, {0.4786424, 0.5213577}, kLatent, false);
  // Logits 8.859858e-4 and 0.08636855.
  EXPECT_NEAR(std::log(z.probabilities[1] / z.probabilities[0]), 0.08636855 - 8.859858e-4, kLatent);
  const GoldenTerms terms = TermsOf(*model, codes, 0.4);
  ExpectStartsWith(terms.reconstruction, 0, {331.0627, 337.5417}, kRelative, true);
  ExpectStartsWith(terms.kl, 0, {0.1923576, 0.2256563}, kRelative, true);
  EXPECT_NEAR(terms.loss, 334.2769, 334.2769 * kRelative);
}

class ForwardOfVariant : public testing::TestWithParam<std::string> {};

TEST_P(ForwardOfVariant, AnExtensionSharesEveryWeightButTheBatchColumns) {
  const auto parent = LoadVariant(GetParam());
  const auto child = parent->Extend(RandomAdapter(*parent, {"new"})).value();
  ModelNetworks before = parent->networks();
  ModelNetworks after = child->networks();
  const auto old_refs = Tensors(before);
  const auto new_refs = Tensors(after);
  ASSERT_EQ(old_refs.size(), new_refs.size());
  for (size_t i = 0; i < old_refs.size(); ++i) {
    EXPECT_EQ(old_refs[i].key, new_refs[i].key);
    if (old_refs[i].role == TensorRole::kBatchColumns) {
      EXPECT_EQ(new_refs[i].tensor->size(0), old_refs[i].tensor->size(0) + 1) << old_refs[i].key;
      EXPECT_TRUE(at::equal(new_refs[i].tensor->slice(0, 0, old_refs[i].tensor->size(0)),
                            *old_refs[i].tensor))
          << old_refs[i].key;
    } else {
      EXPECT_EQ(old_refs[i].tensor->data_ptr(), new_refs[i].tensor->data_ptr()) << old_refs[i].key;
    }
  }
  EXPECT_EQ(before.first_weight_t.data_ptr(), after.first_weight_t.data_ptr());
}

TEST_P(ForwardOfVariant, KeptCountTermsAndFirstLayerGiveTheSameLossAsThePassItself) {
  const auto model = LoadVariant(GetParam());
  const ModelNetworks& networks = model->networks();
  const CsrMatrix& counts = Cells().counts;
  const std::vector<int64_t> rows = Range(0, 40);
  ASSERT_TRUE(
      TorchFence([&] {
        const c10::NoGradGuard no_grad;
        Minibatch plain;
        plain.rows = rows;
        plain.counts = at::empty({40, counts.cols}, at::kFloat);
        DenseRows(counts, rows, plain.counts.data_ptr<float>());
        plain.first =
            FirstLinear(networks.z_encoder.stack, EncoderInput(networks.architecture, plain));
        plain.batch_codes = at::zeros({40}, at::kLong);
        TakeAnnotations(AnnotationsFor(*model), rows, 40, plain);
        Minibatch kept = plain;
        const bool per_label = networks.architecture.dispersion == Dispersion::kGeneLabel;
        const at::Tensor theta =
            networks.px_r.defined() ? at::exp(networks.px_r).contiguous() : at::Tensor();
        if (theta.defined()) kept.count_terms = at::empty({40}, at::kFloat);
        for (const int64_t row : rows) {
          if (!theta.defined()) break;  // a dispersion per cell: nothing to keep
          const int64_t group = per_label ? kept.labels.data_ptr<int64_t>()[row] : 0;
          kept.count_terms.data_ptr<float>()[row] = static_cast<float>(
              CountTerms(networks.architecture.gene_likelihood, counts.row_columns(row),
                         counts.row_values(row), theta.data_ptr<float>() + group * counts.cols));
        }
        const FcLayer& layer = networks.z_encoder.stack.layers[0];
        kept.first = at::empty_like(plain.first);
        SparseFirstLayer(counts, rows, networks.first_weight_t.data_ptr<float>(),
                         layer.bias.data_ptr<float>(), layer.weight.size(0),
                         networks.architecture.log_variational, kept.first.data_ptr<float>());
        ConstantNoise noise;
        for (const bool training : {false, true}) {
          const auto a =
              Floats(ComputeLoss(networks, plain, training, RandomUse::kLatentNoise, noise)
                         .reconstruction);
          const auto b = Floats(
              ComputeLoss(networks, kept, training, RandomUse::kLatentNoise, noise).reconstruction);
          for (int i = 0; i < 40; ++i) EXPECT_NEAR(a[i], b[i], 1e-5 * std::abs(a[i]));
        }
        return absl::OkStatus();
      }).ok());
}

INSTANTIATE_TEST_SUITE_P(Variants, ForwardOfVariant, testing::ValuesIn(VariantNames()),
                         [](const auto& test) { return TestNameOf(test.param); });

}  // namespace
}  // namespace portolan
