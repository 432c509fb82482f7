#include "core/jobs/job.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "core/jobs/random_id.h"

namespace portolan {
namespace {

constexpr JobState kAllStates[] = {JobState::kQueued, JobState::kRunning, JobState::kSucceeded,
                                   JobState::kFailed, JobState::kCancelled};

TEST(JobStateTest, AllowsExactlyTheLegalMoves) {
  const std::set<std::pair<JobState, JobState>> legal = {
      {JobState::kQueued, JobState::kRunning}, {JobState::kQueued, JobState::kCancelled},
      {JobState::kRunning, JobState::kQueued}, {JobState::kRunning, JobState::kSucceeded},
      {JobState::kRunning, JobState::kFailed}, {JobState::kRunning, JobState::kCancelled},
  };
  for (const JobState from : kAllStates) {
    for (const JobState to : kAllStates) {
      EXPECT_EQ(IsLegalMove(from, to), legal.count({from, to}) == 1)
          << JobStateName(from) << " -> " << JobStateName(to);
    }
  }
}

TEST(JobStateTest, FinalStatesAreThoseWithoutMoves) {
  for (const JobState from : kAllStates) {
    bool has_move = false;
    for (const JobState to : kAllStates) has_move = has_move || IsLegalMove(from, to);
    EXPECT_EQ(IsFinal(from), !has_move) << JobStateName(from);
  }
}

TEST(JobStateTest, NamesDiffer) {
  std::set<std::string_view> names;
  for (const JobState state : kAllStates) names.insert(JobStateName(state));
  EXPECT_EQ(names.size(), std::size(kAllStates));
}

TEST(RandomIdTest, IsSixteenHexadecimalDigitsAndNew) {
  std::set<std::string> ids;
  for (int i = 0; i < 100; ++i) ids.insert(RandomId());
  EXPECT_EQ(ids.size(), 100u);
  for (const std::string& id : ids) {
    EXPECT_EQ(id.size(), 16u);
    EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos) << id;
  }
}

}  // namespace
}  // namespace portolan
