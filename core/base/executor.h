#pragma once

#include <functional>

namespace portolan {

/// Runs tasks on threads that somebody else owns. Core code never starts threads itself.
class Executor {
 public:
  virtual ~Executor() = default;

  /// Runs `task` some time on some worker. Tasks must not wait for each other.
  virtual void Run(std::function<void()> task) = 0;

  /// How many tasks can run at once.
  virtual int threads() const { return 1; }

  /// Runs `task` at once on a worker that has nothing else to do; false if there is none.
  virtual bool RunIfIdle(std::function<void()> /*task*/) { return false; }

  /// Whether tasks wait for a worker, which long ones of lesser importance should make room for.
  virtual bool HasWaiting() const { return false; }
};

/// Runs every task at once in the calling thread.
class InlineExecutor : public Executor {
 public:
  void Run(std::function<void()> task) override { task(); }
};

}  // namespace portolan
