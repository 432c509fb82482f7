#pragma once

#include <deque>
#include <span>
#include <utility>
#include <vector>

namespace portolan {

/// The memory of L-BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.4): recent steps
/// and the changes of the gradient along them. Pure arithmetic in double, in a fixed order.
class Lbfgs {
 public:
  /// `inverse`: a first guess of the diagonal of the inverse Hessian, positive; empty: the unit
  /// matrix, of unknown size.
  explicit Lbfgs(int history, std::vector<double> inverse = {})
      : history_(history), inverse_(std::move(inverse)) {}

  /// -H g, where H approximates the inverse Hessian: the guess times the curvature along the last
  /// step, corrected by the memory. Before the first Update the guess, or -g / |g| without one.
  std::vector<double> Direction(std::span<const double> gradient) const;

  /// Takes a step and the change of the gradient along it; ignores those without curvature.
  void Update(std::vector<double> step, std::vector<double> gradient_change);

  bool empty() const { return steps_.empty(); }

  /// Oldest first, for a checkpoint.
  const std::deque<std::vector<double>>& steps() const { return steps_; }
  const std::deque<std::vector<double>>& gradient_changes() const { return changes_; }

 private:
  double InverseOr1(size_t i) const { return inverse_.empty() ? 1 : inverse_[i]; }

  size_t history_;
  std::vector<double> inverse_;
  std::deque<std::vector<double>> steps_;
  std::deque<std::vector<double>> changes_;
};

double Dot(std::span<const double> a, std::span<const double> b);

/// A point of a line search: step length, loss, and slope of the loss along the line.
struct LinePoint {
  double length = 0;
  double loss = 0;
  double slope = 0;
};

/// What to do after looking at `trial`, with `start` at length 0 and `low` the best point so far.
struct LineDecision {
  bool accept = false;
  double next_length = 0;  ///< if not accepted
};

/// Strong enough for L-BFGS, and sparing with evaluations: accepts a sufficient decrease (Armijo,
/// 1e-4) whose slope is no longer steep (0.9 of the start's); lengthens a step that is still steep,
/// shortens one that overshot, both by the cubic through the two ends, within [0.1, 0.5] of the
/// step or [2, 10] times it.
LineDecision JudgeStep(const LinePoint& start, const LinePoint& trial);

}  // namespace portolan
