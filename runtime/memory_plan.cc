#include "runtime/memory_plan.h"

#include <algorithm>
#include <limits>

#include "base/memory.h"

namespace octet::runtime {
namespace {

constexpr size_t kAlignment = 64;

struct Lifetime {
  int buffer = 0;
  size_t bytes = 0;
  int first = std::numeric_limits<int>::max();
  int last = -1;
};

std::vector<Lifetime> Lifetimes(const kernels::Program& program, int64_t max_runs) {
  std::vector<Lifetime> lives(program.buffers.size());
  const auto touch = [&](int buffer, int step) {
    if (buffer < 0) return;
    Lifetime& life = lives[static_cast<size_t>(buffer)];
    life.first = std::min(life.first, step);
    life.last = std::max(life.last, step);
  };
  const int end = static_cast<int>(program.steps.size());
  for (const int input : program.inputs) touch(input, -1);
  for (int s = 0; s < end; ++s) {
    for (const int buffer : program.steps[static_cast<size_t>(s)].inputs) touch(buffer, s);
    for (const int buffer : program.steps[static_cast<size_t>(s)].outputs) touch(buffer, s);
  }
  std::vector<bool> early(program.outputs.size(), false);
  for (const kernels::EarlyOutput& output : program.early_outputs) {
    early[output.output] = true;
    touch(program.outputs[output.output], static_cast<int>(output.step) - 1);
  }
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    if (!early[i]) touch(program.outputs[i], end);
  }
  for (size_t i = 0; i < lives.size(); ++i) {
    lives[i].buffer = static_cast<int>(i);
    lives[i].bytes = RoundedUp(program.buffers[i].bytes, kAlignment);
    if (program.buffers[i].constant != nullptr) lives[i].last = -2;  // takes no arena
  }
  if (max_runs > 1) {
    for (const auto* ends : {&program.inputs, &program.outputs}) {
      for (const int buffer : *ends) {
        if (program.buffers[static_cast<size_t>(buffer)].constant != nullptr) continue;
        const size_t bytes =
            program.buffers[static_cast<size_t>(buffer)].bytes * static_cast<size_t>(max_runs);
        lives[static_cast<size_t>(buffer)] = {buffer, RoundedUp(bytes, kAlignment), -1, end};
      }
    }
  }
  std::erase_if(lives, [](const Lifetime& life) { return life.last < life.first; });
  return lives;
}

}  // namespace

MemoryPlan PlanMemory(const kernels::Program& program, int64_t max_runs) {
  MemoryPlan plan;
  plan.offsets.assign(program.buffers.size(), 0);
  std::vector<Lifetime> lives = Lifetimes(program, max_runs);
  std::stable_sort(lives.begin(), lives.end(),
                   [](const Lifetime& a, const Lifetime& b) { return a.bytes > b.bytes; });
  std::vector<const Lifetime*> placed;  // by offset
  for (const Lifetime& life : lives) {
    plan.naive_bytes += life.bytes;
    size_t best = std::numeric_limits<size_t>::max(), best_gap = best, end = 0;
    for (const Lifetime* other : placed) {
      if (other->last < life.first || life.last < other->first) continue;
      const size_t offset = plan.offsets[static_cast<size_t>(other->buffer)];
      if (offset >= end + life.bytes && offset - end < best_gap) {
        best = end;
        best_gap = offset - end;
      }
      end = std::max(end, offset + other->bytes);
    }
    const size_t offset = best == std::numeric_limits<size_t>::max() ? end : best;
    plan.offsets[static_cast<size_t>(life.buffer)] = offset;
    plan.arena_bytes = std::max(plan.arena_bytes, offset + life.bytes);
    const auto where =
        std::upper_bound(placed.begin(), placed.end(), offset, [&](size_t at, const Lifetime* p) {
          return at < plan.offsets[static_cast<size_t>(p->buffer)];
        });
    placed.insert(where, &life);
  }
  return plan;
}

}  // namespace octet::runtime
