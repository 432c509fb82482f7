#include "core/surgery/adam.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace portolan {
namespace {

constexpr int kSteps = 50;
constexpr int kWidth = 6;

// Kingma and Ba's algorithm 1 with L2 decay in the gradient, one number at a time, in double.
struct PlainAdam {
  double m = 0;
  double v = 0;
  int t = 0;

  void Step(const AdamOptions& o, double rate, double gradient, double& p) {
    const double g = gradient + o.weight_decay * p;
    ++t;
    m = o.beta1 * m + (1 - o.beta1) * g;
    v = o.beta2 * v + (1 - o.beta2) * g * g;
    const double m_hat = m / (1 - std::pow(o.beta1, t));
    const double v_hat = v / (1 - std::pow(o.beta2, t));
    p -= rate * m_hat / (std::sqrt(v_hat) + o.epsilon);
  }
};

at::Tensor Vector(const std::vector<float>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kFloat);
  std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
  return tensor;
}

std::vector<float> Draw(std::mt19937_64& random, float scale) {
  std::vector<float> values(kWidth);
  for (float& value : values) value = std::normal_distribution<float>(0, scale)(random);
  return values;
}

class AdamTest : public testing::TestWithParam<double> {  // weight decay
 protected:
  AdamOptions options_ = {.weight_decay = GetParam()};
};

TEST_P(AdamTest, FollowsThePlainAlgorithm) {
  std::mt19937_64 random(1);
  const std::vector<float> start = Draw(random, 1);
  const at::Tensor parameter = Vector(start).set_requires_grad(true);
  Adam adam(options_);
  adam.Add("p", parameter, /*decay_only=*/false);
  std::vector<double> want(start.begin(), start.end());
  std::vector<PlainAdam> plain(kWidth);
  for (int step = 0; step < kSteps; ++step) {
    const double rate = step < 25 ? 1e-2 : 1e-3;  // a schedule changes it between steps
    const std::vector<float> gradient = Draw(random, 0.3f);
    (parameter * Vector(gradient)).sum().backward();
    adam.Step(rate);
    EXPECT_FALSE(parameter.grad().defined());
    for (int i = 0; i < kWidth; ++i) plain[i].Step(options_, rate, gradient[i], want[i]);
  }
  for (int i = 0; i < kWidth; ++i) {
    EXPECT_NEAR(parameter[i].item<double>(), want[i], 1e-5);
    EXPECT_NE(parameter[i].item<float>(), start[i]);
  }
}

TEST_P(AdamTest, DecayOnlyMovesByWeightDecayAlone) {
  std::mt19937_64 random(2);
  const std::vector<float> start = Draw(random, 1);
  const at::Tensor parameter = Vector(start);
  Adam adam(options_);
  adam.Add("p", parameter, /*decay_only=*/true);
  std::vector<double> want(start.begin(), start.end());
  std::vector<PlainAdam> plain(kWidth);
  for (int step = 0; step < kSteps; ++step) {
    adam.Step(1e-2);
    for (int i = 0; i < kWidth; ++i) plain[i].Step(options_, 1e-2, 0, want[i]);
  }
  for (int i = 0; i < kWidth; ++i) {
    EXPECT_NEAR(parameter[i].item<double>(), want[i], 1e-5);
    if (GetParam() == 0) {
      EXPECT_EQ(parameter[i].item<float>(), start[i]);
    } else {
      EXPECT_LT(std::abs(parameter[i].item<float>()), std::abs(start[i]));
    }
  }
}

TEST_P(AdamTest, AParameterWithoutAGradientIsLeftAloneAndCountsNoStep) {
  std::mt19937_64 random(3);
  const std::vector<float> start = Draw(random, 1);
  const std::vector<float> gradient = Draw(random, 1);
  const at::Tensor idle = Vector(start).set_requires_grad(true);
  const at::Tensor busy = Vector(start).set_requires_grad(true);
  Adam adam(options_);
  adam.Add("idle", idle, false);
  adam.Add("busy", busy, false);
  for (int step = 0; step < 3; ++step) {
    (busy * Vector(gradient)).sum().backward();
    adam.Step(1e-2);
  }
  EXPECT_TRUE(at::equal(idle, Vector(start)));
  // Its first step corrects the moments as a first step, not as a fourth.
  (idle * Vector(gradient)).sum().backward();
  adam.Step(1e-2);
  for (int i = 0; i < kWidth; ++i) {
    double want = start[i];
    PlainAdam().Step(options_, 1e-2, gradient[i], want);
    EXPECT_NEAR(idle[i].item<double>(), want, 1e-6);
  }
}

TEST_P(AdamTest, ContinuesBitForBitFromWhatItSaved) {
  std::mt19937_64 random(4);
  const std::vector<float> start = Draw(random, 1);
  const std::vector<float> gradient = Draw(random, 1);
  const auto run = [&](const at::Tensor& parameter, Adam& adam, int steps) {
    for (int step = 0; step < steps; ++step) {
      (parameter * parameter * Vector(gradient)).sum().backward();
      adam.Step(1e-2);
    }
  };
  const at::Tensor whole = Vector(start).set_requires_grad(true);
  Adam one(options_);
  one.Add("p", whole, false);
  run(whole, one, 20);

  const at::Tensor first = Vector(start).set_requires_grad(true);
  Adam before(options_);
  before.Add("p", first, false);
  run(first, before, 7);
  TensorBundle bundle;
  before.Save(bundle);
  const at::Tensor second = Vector(std::vector<float>(kWidth, 9)).set_requires_grad(true);
  Adam after(options_);
  after.Add("p", second, false);
  ASSERT_TRUE(after.Load(bundle));
  run(second, after, 13);
  EXPECT_TRUE(at::equal(whole, second));
}

INSTANTIATE_TEST_SUITE_P(WeightDecay, AdamTest, testing::Values(0.0, 1e-6, 0.1),
                         [](const auto& test) { return "case_" + std::to_string(test.index); });

TEST(AdamLoadTest, RefusesOtherParameters) {
  Adam saved({});
  saved.Add("p", at::ones({3}), false);
  TensorBundle bundle;
  saved.Save(bundle);
  const auto loads = [](const std::string& name, int64_t width, const TensorBundle& from) {
    Adam adam({});
    adam.Add(name, at::zeros({width}), false);
    return adam.Load(from);
  };
  EXPECT_TRUE(loads("p", 3, bundle));
  EXPECT_FALSE(loads("q", 3, bundle));
  EXPECT_FALSE(loads("p", 4, bundle));
  for (const char* name : {"value/p", "mean/p", "square/p", "steps/p"}) {
    TensorBundle cut = bundle;
    cut.tensors.erase(name);
    EXPECT_FALSE(loads("p", 3, cut)) << name;
    TensorBundle other = bundle;
    other.tensors[name] = HostTensor::FromInts({3}, std::vector<int64_t>{1, 2, 3});
    EXPECT_FALSE(loads("p", 3, other)) << name;
  }
}

}  // namespace
}  // namespace portolan
