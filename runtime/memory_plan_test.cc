#include "runtime/memory_plan.h"

#include <algorithm>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::runtime {
namespace {

using ::testing::AllOf;
using ::testing::Ge;
using ::testing::Le;

// Steps without kernels: the planner looks at buffers alone.
kernels::Step StepOf(std::vector<int> inputs, std::vector<int> outputs) {
  return {.inputs = std::move(inputs), .outputs = std::move(outputs)};
}

kernels::Program Chain(const std::vector<size_t>& bytes) {
  kernels::Program program;
  for (const size_t size : bytes) program.buffers.push_back({.bytes = size});
  for (size_t i = 0; i + 1 < bytes.size(); ++i) {
    program.steps.push_back(StepOf({static_cast<int>(i)}, {static_cast<int>(i + 1)}));
  }
  program.inputs = {0};
  program.outputs = {static_cast<int>(bytes.size()) - 1};
  return program;
}

TEST(PlanMemory, AChainNeedsItsTwoLargestNeighbours) {
  const MemoryPlan plan = PlanMemory(Chain({640, 640, 640, 640, 640}));
  EXPECT_EQ(plan.naive_bytes, 5 * 640u);
  EXPECT_EQ(plan.arena_bytes, 2 * 640u);
}

TEST(PlanMemory, SizesAreRoundedToCacheLines) {
  const MemoryPlan plan = PlanMemory(Chain({1, 65, 0}));
  EXPECT_EQ(plan.naive_bytes, 64u + 128u);
  EXPECT_EQ(plan.arena_bytes, 64u + 128u);
}

TEST(PlanMemory, ConstantsAndUntouchedBuffersTakeNothing) {
  kernels::Program program = Chain({64, 64});
  const std::byte weight{};
  program.buffers.push_back({.bytes = 1 << 20, .constant = &weight});
  program.buffers.push_back({.bytes = 1 << 20});
  program.steps[0].inputs.push_back(2);
  EXPECT_EQ(PlanMemory(program).arena_bytes, 128u);
}

TEST(PlanMemory, OutputsLiveToTheEnd) {
  kernels::Program program = Chain({64, 64, 64, 64});
  program.outputs.push_back(1);
  const MemoryPlan plan = PlanMemory(program);
  EXPECT_NE(plan.offsets[1], plan.offsets[2]);
  EXPECT_NE(plan.offsets[1], plan.offsets[3]);
}

TEST(PlanMemory, EarlyOutputsLiveUntilTheyMayBeRead) {
  kernels::Program program = Chain({64, 64, 64, 64});
  program.outputs.push_back(1);
  program.early_outputs.push_back({.step = 1, .output = 1});
  EXPECT_EQ(PlanMemory(program).arena_bytes, 128u);
  program.early_outputs[0].step = 3;
  EXPECT_EQ(PlanMemory(program).arena_bytes, 192u);
}

TEST(PlanMemory, AnEmptyProgramNeedsNothing) {
  EXPECT_EQ(PlanMemory(kernels::Program()).arena_bytes, 0u);
}

// --- property: random programs ---

kernels::Program RandomProgram(std::mt19937& random) {
  const auto below = [&](size_t limit) { return static_cast<int>(random() % limit); };
  kernels::Program program;
  static const std::byte weight{};
  const size_t buffers = 2 + random() % 40;
  for (size_t i = 0; i < buffers; ++i) {
    const size_t bytes = random() % 3 == 0 ? random() % 200 : random() % 100000;
    program.buffers.push_back({.bytes = bytes, .constant = random() % 6 == 0 ? &weight : nullptr});
  }
  const size_t steps = random() % 30;
  for (size_t s = 0; s < steps; ++s) {
    kernels::Step step;
    for (size_t i = random() % 4; i-- > 0;) {
      step.inputs.push_back(random() % 5 == 0 ? -1 : below(buffers));
    }
    for (size_t i = random() % 3; i-- > 0;) {
      step.outputs.push_back(random() % 8 == 0 ? -1 : below(buffers));
    }
    program.steps.push_back(std::move(step));
  }
  program.inputs = {below(buffers)};
  program.outputs = {below(buffers), below(buffers)};
  if (random() % 2 == 0) program.early_outputs.push_back({.step = random() % (steps + 1)});
  return program;
}

// The steps between which each buffer holds something, by the definition in the header.
struct Life {
  int first = 1 << 20, last = -(1 << 20);
  void Touch(int step) {
    first = std::min(first, step);
    last = std::max(last, step);
  }
};

std::vector<Life> LivesOf(const kernels::Program& program) {
  std::vector<Life> lives(program.buffers.size());
  const int end = static_cast<int>(program.steps.size());
  for (int s = 0; s < end; ++s) {
    for (const auto* operands : {&program.steps[s].inputs, &program.steps[s].outputs}) {
      for (const int buffer : *operands) {
        if (buffer >= 0) lives[buffer].Touch(s);
      }
    }
  }
  for (const int input : program.inputs) lives[input].Touch(-1);
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const bool early = i == 0 && !program.early_outputs.empty();
    const int read = early ? static_cast<int>(program.early_outputs[0].step) - 1 : end;
    lives[program.outputs[i]].Touch(read);
  }
  return lives;
}

TEST(PlanMemory, LiveBuffersNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    const kernels::Program program = RandomProgram(random);
    const MemoryPlan plan = PlanMemory(program);
    const std::vector<Life> lives = LivesOf(program);
    ASSERT_EQ(plan.offsets.size(), program.buffers.size());
    size_t largest = 0;
    for (size_t a = 0; a < lives.size(); ++a) {
      const kernels::Buffer& first = program.buffers[a];
      if (first.constant != nullptr || lives[a].last < lives[a].first) continue;
      largest = std::max(largest, first.bytes);
      ASSERT_EQ(plan.offsets[a] % 64, 0u);
      ASSERT_LE(plan.offsets[a] + first.bytes, plan.arena_bytes);
      for (size_t b = 0; b < a; ++b) {
        const kernels::Buffer& second = program.buffers[b];
        const bool together = lives[a].first <= lives[b].last && lives[b].first <= lives[a].last;
        if (second.constant != nullptr || !together || first.bytes == 0 || second.bytes == 0) {
          continue;
        }
        const bool apart = plan.offsets[a] + first.bytes <= plan.offsets[b] ||
                           plan.offsets[b] + second.bytes <= plan.offsets[a];
        ASSERT_TRUE(apart) << "round " << round << ": buffers " << a << " and " << b;
      }
    }
    ASSERT_THAT(plan.arena_bytes, AllOf(Ge(largest), Le(plan.naive_bytes)));
  }
}

}  // namespace
}  // namespace octet::runtime
