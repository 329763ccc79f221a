// Where a program's buffers lie in one block of memory, planned before anything runs.

#pragma once

#include <cstddef>
#include <vector>

#include "kernels/program.h"

namespace octet::runtime {

struct MemoryPlan {
  std::vector<size_t> offsets;  // by buffer; 64-byte aligned; constants have none and get 0
  size_t arena_bytes = 0;
  size_t naive_bytes = 0;  // what the buffers would take without sharing memory over time
};

// Buffers whose lifetimes overlap never overlap in memory. A buffer lives from the step that first
// touches it to the step that last does; inputs from before the first step, outputs to the end,
// early outputs until they may be read.
// Greedy: the largest buffer first, into the tightest gap that is free for its whole life.
//
// With `max_runs` above one the program runs up to that often, one run after the other, over rows
// that lie side by side: inputs and outputs are `max_runs` times as large as the program's buffers
// and keep their memory throughout, everything between is used again by each run.
MemoryPlan PlanMemory(const kernels::Program& program, int64_t max_runs = 1);

}  // namespace octet::runtime
