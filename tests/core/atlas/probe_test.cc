#include "core/atlas/probe.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/model/state_dict.h"
#include "tests/core/model/model_fixtures.h"

namespace portolan {
namespace {

constexpr char kBias[] = "z_encoder.mean_encoder.bias";

// `model` with `shift` added to one latent dimension.
std::shared_ptr<const Model> Shifted(const Model& model, float shift) {
  const HostTensor bias = StateDict(model).value().at(kBias);
  std::vector<float> moved(bias.floats().begin(), bias.floats().end());
  moved[1] += shift;
  Extension delta;
  delta.replaced[kBias] = HostTensor::FromFloats(bias.shape(), moved);
  return model.Extend(delta).value();
}

class ProbeOfVariant : public testing::TestWithParam<std::string> {};

TEST_P(ProbeOfVariant, AnAdapterShiftsNothing) {
  const auto parent = LoadVariant(GetParam());
  const auto child = parent->Extend(RandomAdapter(*parent, {"q1", "q2", "q3"})).value();
  EXPECT_EQ(MaxProbeShift(*parent, *child).value(), 0.0);
  const auto grandchild = child->Extend(RandomAdapter(*child, {"q4"})).value();
  EXPECT_EQ(MaxProbeShift(*child, *grandchild).value(), 0.0);
}

TEST_P(ProbeOfVariant, AMovedLatentIsSeen) {
  const auto parent = LoadVariant(GetParam());
  EXPECT_NEAR(MaxProbeShift(*parent, *Shifted(*parent, 0.5f)).value(), 0.5, 1e-5);
  EXPECT_GT(MaxProbeShift(*parent, *Shifted(*parent, 1e-5f)).value(), 0);
}

INSTANTIATE_TEST_SUITE_P(Variants, ProbeOfVariant, testing::ValuesIn(VariantNames()),
                         [](const auto& test) { return TestNameOf(test.param); });

TEST(ProbeTest, AMovedBatchColumnIsSeen) {
  // Only cells of batch b change.
  const auto parent = LoadVariant("scvi_poisson");
  const std::string key = BatchColumnsKey("z_encoder.encoder.fc_layers.Layer 0.0.weight");
  const HostTensor weight =
      StateDict(*parent).value().at("z_encoder.encoder.fc_layers.Layer 0.0.weight");
  std::vector<float> columns(2 * 16);
  for (int64_t row = 0; row < 16; ++row) {
    for (int64_t batch = 0; batch < 2; ++batch) {
      columns[batch * 16 + row] = weight.floats()[row * 66 + 64 + batch];
    }
  }
  columns[16] += 1;
  Extension delta;
  delta.replaced[key] = HostTensor::FromFloats({2, 16}, columns);
  EXPECT_GT(MaxProbeShift(*parent, *parent->Extend(delta).value()).value(), 1e-3);
}

TEST(ProbeTest, ALatentThatIsNotFiniteIsAnInfiniteShift) {
  const auto parent = LoadVariant("scvi_poisson");
  EXPECT_TRUE(std::isinf(MaxProbeShift(*parent, *Shifted(*parent, std::nanf(""))).value()));
  EXPECT_TRUE(std::isinf(MaxProbeShift(*parent, *Shifted(*parent, HUGE_VALF)).value()));
}

}  // namespace
}  // namespace portolan
