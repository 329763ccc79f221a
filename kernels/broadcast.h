// Loops over tensors that broadcast against each other.
//
// A plan is made once per shape: it drops dimensions of one element and merges those that lie
// behind each other in every operand, so that the inner loop is as long as it can be.

#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/tensor.h"

namespace octet::kernels {

// Operand 0 is the result.
struct BroadcastPlan {
  Shape dims;                  // outermost first, at least one; the order is the result's in memory
  std::vector<Shape> strides;  // by operand, in elements; 0 where an operand repeats
};

inline constexpr size_t kMaxBroadcastOperands = 4;

// `strides` has one entry per dimension of `dims` for each operand.
BroadcastPlan PlanBroadcast(const Shape& dims, std::vector<Shape> strides);

// A plan for dense row-major operands that broadcast to `result` by numpy's rules.
BroadcastPlan PlanBroadcast(const Shape& result, std::initializer_list<const Shape*> operands);

// Strides of a dense row-major tensor seen as `result`: 0 where it repeats.
Shape BroadcastStrides(const Shape& shape, const Shape& result);

// Calls row(offsets, count) for each row of the innermost dimension: offsets[i] is where operand i
// starts. Nothing is called when there are no elements.
template <typename Row>
void ForEachRow(const BroadcastPlan& plan, Row row);

// result = function(a, b), elementwise; the plan has the operands result, a, b.
template <typename A, typename B, typename R, typename Function>
void MapPairs(const BroadcastPlan& plan, const A* a, const B* b, R* result, Function function);

// --- implementation ---

template <typename Row>
void ForEachRow(const BroadcastPlan& plan, Row row) {
  for (const int64_t dim : plan.dims) {
    if (dim == 0) return;
  }
  const size_t operands = plan.strides.size();
  const int last = static_cast<int>(plan.dims.size()) - 1;
  std::array<int64_t, kMaxBroadcastOperands> offsets = {};
  Shape index(plan.dims.size(), 0);
  while (true) {
    row(offsets.data(), plan.dims[last]);
    int d = last - 1;
    for (; d >= 0; --d) {
      for (size_t i = 0; i < operands; ++i) offsets[i] += plan.strides[i][d];
      if (++index[d] < plan.dims[d]) break;
      for (size_t i = 0; i < operands; ++i) offsets[i] -= plan.strides[i][d] * plan.dims[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

template <typename A, typename B, typename R, typename Function>
void MapPairs(const BroadcastPlan& plan, const A* a, const B* b, R* result, Function function) {
  const int64_t a_step = plan.strides[1].back(), b_step = plan.strides[2].back();
  ForEachRow(plan, [&](const int64_t* offsets, int64_t count) {
    R* const to = result + offsets[0];
    const A* const from_a = a + offsets[1];
    const B* const from_b = b + offsets[2];
    if (a_step == 1 && b_step == 1) {
      for (int64_t i = 0; i < count; ++i) to[i] = function(from_a[i], from_b[i]);
    } else if (b_step == 0) {
      const B value = *from_b;
      for (int64_t i = 0; i < count; ++i) to[i] = function(from_a[i * a_step], value);
    } else {
      for (int64_t i = 0; i < count; ++i) {
        to[i] = function(from_a[i * a_step], from_b[i * b_step]);
      }
    }
  });
}

}  // namespace octet::kernels
