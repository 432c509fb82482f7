#include "core/kernels/count_terms.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace portolan {
namespace {

TEST(CountTermTableTest, SumsLogarithmsOfGammas) {
  const std::vector<float> theta = {0.001f, 0.5f, 1.0f, 20.0f, 3e6f};
  const std::vector<int32_t> genes = {0, 1, 2, 3, 4};
  const CountTermTable nb(CountLikelihood::kNb, theta);
  const CountTermTable zinb(CountLikelihood::kZinb, theta);
  const CountTermTable poisson(CountLikelihood::kPoisson, theta);
  for (const float x : {1.0f, 2.0f, 3.5f, 15.0f, 16.0f, 17.0f, 900.0f, 1e6f}) {
    const std::vector<float> counts(5, x);
    double want = 0;
    double factorials = 0;
    for (const float r : theta) {
      want += std::lgamma(x + static_cast<double>(r)) - std::lgamma(static_cast<double>(r));
      factorials += std::lgamma(x + 1.0);
    }
    EXPECT_NEAR(nb.Of(genes, counts), want - factorials, 1e-7 * (1 + std::abs(want)));
    EXPECT_EQ(zinb.Of(genes, counts), nb.Of(genes, counts));
    EXPECT_NEAR(poisson.Of(genes, counts), -factorials, 1e-9 * factorials + 1e-12);
  }
  EXPECT_EQ(nb.Of({}, {}), 0);
}

}  // namespace
}  // namespace portolan
