#include "core/model/totalvi_forward.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/model/torch_runtime.h"
#include "core/surgery/minibatches.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

// Golden numbers of scvi-tools (float32) for GoldenCounts(), GoldenProteins(), batches in turn, and
// every normal sample 0.37. They are printed with seven digits.
constexpr double kExact = 1e-5;
constexpr double kKlWeight = 0.3;

struct GoldenTerms {
  std::vector<float> genes;
  std::vector<float> proteins;
  std::vector<float> kl_z;
  std::vector<float> kl_back;
  std::vector<float> foreground;  ///< 1 - pi
  std::vector<float> rate_back;
  std::vector<float> rate_fore;
  double loss = 0;
};

std::vector<float> Floats(const at::Tensor& tensor) {
  const at::Tensor dense = tensor.contiguous();
  return {dense.data_ptr<float>(), dense.data_ptr<float>() + dense.numel()};
}

class TotalviGoldenTest : public testing::Test {
 protected:
  void Load(const std::string& name) {
    const std::string directory = SharedDataPath("models/" + name);
    if (directory.empty()) GTEST_SKIP() << "no shared test data: models/" << name;
    saved_ = ReadSavedModel(directory).value();
  }

  CellInputs inputs() const { return {counts_, codes_, CellInputs::kNoAnnotations, proteins_}; }

  Embedding EncodeCells(const Model& model) const {
    return Encode(model, inputs(), CancelToken()).value();
  }

  GoldenTerms TermsOf(const Model& model) const {
    GoldenTerms out;
    const absl::Status status = TorchFence([&] {
      const c10::NoGradGuard no_grad;
      const ModelNetworks& n = model.networks();
      const std::vector<int64_t> rows = Range(0, 8);
      const Minibatch minibatch = Minibatches(n, inputs(), {}).Make(rows);
      ConstantNoise noise;
      const LossTerms terms =
          ComputeLoss(n, minibatch, /*training=*/false, RandomUse::kElboNoise, noise);
      out.genes = Floats(terms.reconstruction);
      out.proteins = Floats(terms.protein_reconstruction);
      const GaussianOutput q = EncodeLatent(n, minibatch);
      out.kl_z = Floats(KlStandardNormal(q));
      out.kl_back = Floats(terms.kl - KlStandardNormal(q));
      out.loss = terms.Loss(kKlWeight).mean().item<double>();
      const at::Tensor epsilon = at::full({8, 100}, 0.37f);
      const Pass pass{false, &noise, rows};
      const TotalviDecoding decoded =
          DecodeTotalvi(n, terms.latent, minibatch.batch_codes, epsilon, pass);
      out.foreground = Floats(1 - at::sigmoid(decoded.mixing));
      out.rate_back = Floats(decoded.rate_back);
      out.rate_fore = Floats(decoded.rate_fore);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return out;
  }

  static void ExpectStartsWith(const std::vector<float>& got, const std::vector<double>& want,
                               bool relative, const char* what) {
    ASSERT_GE(got.size(), want.size()) << what;
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], relative ? kExact * std::abs(want[i]) : kExact)
          << what << " " << i;
    }
  }

  SavedModel saved_;
  const CsrMatrix counts_ = GoldenCounts();
  const ProteinCounts proteins_ = GoldenProteins();
  const std::vector<int32_t> codes_ = {0, 1, 0, 1, 0, 1, 0, 1};
};

TEST_F(TotalviGoldenTest, Since131) {
  ASSERT_NO_FATAL_FAILURE(Load("totalvi_v132"));
  if (saved_.tensors.empty()) return;
  ASSERT_EQ(saved_.description.architecture.proteins->variant, TotalviVariant::kCellMean);
  const auto model = Model::Create(saved_).value();
  ExpectStartsWith(EncodeCells(*model).mean, {-0.1132830, 0.03320053, 0.01091162}, false, "latent");
  const GoldenTerms terms = TermsOf(*model);
  ExpectStartsWith(terms.genes, {282.9952, 281.2305}, true, "genes");
  ExpectStartsWith(terms.proteins, {503.9213, 504.4795}, true, "proteins");
  ExpectStartsWith(terms.kl_z, {0.04309532, 0.03881241}, true, "KL of z");
  ExpectStartsWith(terms.kl_back, {83732.73, 73447.16}, true, "KL of the background");
  ExpectStartsWith(terms.foreground, {0.4755687, 0.5218369, 0.4684404}, true, "1 - pi");
  ExpectStartsWith(terms.rate_back, {1.329205, 1.308200, 1.163903}, true, "rate_back");
  ExpectStartsWith(terms.rate_fore, {1.370305, 1.480508, 1.163903}, true, "rate_fore");
  EXPECT_NEAR(terms.loss, 24022.39, 24022.39 * kExact);
}

TEST_F(TotalviGoldenTest, Before12TheBackgroundsScaleIsAnExponential) {
  ASSERT_NO_FATAL_FAILURE(Load("totalvi_v115"));
  if (saved_.tensors.empty()) return;
  ASSERT_EQ(saved_.description.architecture.proteins->variant, TotalviVariant::kExp);
  const auto model = Model::Create(saved_).value();
  ExpectStartsWith(EncodeCells(*model).mean, {-0.1978398, 0.09623951, 0.2767714}, false, "latent");
  const GoldenTerms terms = TermsOf(*model);
  ExpectStartsWith(terms.genes, {282.7108, 280.1662}, true, "genes");
  ExpectStartsWith(terms.kl_z, {0.8618697, 0.6490232}, true, "KL of z");
  ExpectStartsWith(terms.proteins, {436.3986, 439.7358}, true, "proteins");
  ExpectStartsWith(terms.kl_back, {79059.88, 78305.14}, true, "KL of the background");
  EXPECT_NEAR(terms.loss, 24383.62, 24383.62 * kExact);
}

TEST_F(TotalviGoldenTest, From12To130ItIsASoftplus) {
  ASSERT_NO_FATAL_FAILURE(Load("totalvi_v115"));
  if (saved_.tensors.empty()) return;
  for (const TotalviVariant variant : {TotalviVariant::kSoftplus, TotalviVariant::kSoftplusFloor}) {
    saved_.description.architecture.proteins->variant = variant;
    const GoldenTerms terms = TermsOf(*Model::Create(saved_).value());
    ExpectStartsWith(terms.proteins, {460.4095, 465.2759}, true, "proteins");
    ExpectStartsWith(terms.kl_back, {71884.98, 70714.53}, true, "KL of the background");
    EXPECT_NEAR(terms.loss, 22192.38, 22192.38 * kExact);
  }
}

}  // namespace
}  // namespace portolan
