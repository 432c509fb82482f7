#include "core/surgery/lbfgs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace portolan {
namespace {

// Rosenbrock's function of two variables, and its gradient.
double Rosenbrock(const std::vector<double>& x, std::vector<double>& gradient) {
  const double a = 1 - x[0];
  const double b = x[1] - x[0] * x[0];
  gradient = {-2 * a - 400 * x[0] * b, 200 * b};
  return a * a + 100 * b * b;
}

TEST(LbfgsTest, FindsTheFloorOfACurvedValley) {
  Lbfgs memory(10);
  std::vector<double> x = {-1.2, 1};
  std::vector<double> gradient;
  double loss = Rosenbrock(x, gradient);
  int evaluations = 0;
  while (loss > 1e-12 && evaluations < 200) {
    const std::vector<double> direction = memory.Direction(gradient);
    const LinePoint start{0, loss, Dot(direction, gradient)};
    ASSERT_LT(start.slope, 0);
    double length = 1;
    while (true) {
      std::vector<double> at = x;
      for (size_t i = 0; i < at.size(); ++i) at[i] += length * direction[i];
      std::vector<double> new_gradient;
      const double new_loss = Rosenbrock(at, new_gradient);
      ++evaluations;
      const LineDecision decision =
          JudgeStep(start, {length, new_loss, Dot(direction, new_gradient)});
      if (!decision.accept) {
        ASSERT_NE(decision.next_length, length);
        length = decision.next_length;
        continue;
      }
      memory.Update({at[0] - x[0], at[1] - x[1]},
                    {new_gradient[0] - gradient[0], new_gradient[1] - gradient[1]});
      x = at;
      gradient = new_gradient;
      loss = new_loss;
      break;
    }
  }
  EXPECT_LT(evaluations, 80);
  EXPECT_NEAR(x[0], 1, 1e-5);
}

TEST(LbfgsTest, StartsDownhillWithLengthOneAndForgetsTheOldest) {
  Lbfgs memory(2);
  const std::vector<double> direction = memory.Direction(std::vector<double>{3, 4});
  EXPECT_DOUBLE_EQ(direction[0], -0.6);
  EXPECT_DOUBLE_EQ(direction[1], -0.8);
  memory.Update({1, 0}, {-1, 0});
  EXPECT_TRUE(memory.empty()) << "negative curvature";
  for (const double size : {1.0, 2.0, 3.0}) memory.Update({size, 0}, {size, 0});
  ASSERT_EQ(memory.steps().size(), 2u);
  EXPECT_EQ(memory.steps().front()[0], 2);
}

TEST(JudgeStepTest, AcceptsLengthensAndShortens) {
  const LinePoint start{0, 10, -1};
  EXPECT_TRUE(JudgeStep(start, {1, 9.5, -0.1}).accept);
  const LineDecision steep = JudgeStep(start, {1, 9.01, -0.99});
  EXPECT_FALSE(steep.accept);
  EXPECT_GE(steep.next_length, 2);
  const LineDecision beyond = JudgeStep(start, {1, 30, 50});
  EXPECT_FALSE(beyond.accept);
  EXPECT_LE(beyond.next_length, 0.5);
  EXPECT_GE(beyond.next_length, 0.1);
  const LineDecision infinite = JudgeStep(start, {1, INFINITY, NAN});
  EXPECT_FALSE(infinite.accept);
  EXPECT_DOUBLE_EQ(infinite.next_length, 0.1);
}

}  // namespace
}  // namespace portolan
