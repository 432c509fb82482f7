#pragma once

#include <functional>

namespace portolan {

/// Runs tasks on threads that somebody else owns. Core code never starts threads itself.
class Executor {
 public:
  virtual ~Executor() = default;

  /// Runs `task` some time on some worker. Tasks must not wait for each other.
  virtual void Run(std::function<void()> task) = 0;
};

/// Runs every task at once in the calling thread.
class InlineExecutor : public Executor {
 public:
  void Run(std::function<void()> task) override { task(); }
};

}  // namespace portolan
