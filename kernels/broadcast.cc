#include "kernels/broadcast.h"

#include <algorithm>
#include <numeric>

namespace octet::kernels {

Shape BroadcastStrides(const Shape& shape, const Shape& result) {
  Shape strides(result.size(), 0);
  int64_t stride = 1;
  const size_t offset = result.size() - shape.size();
  for (size_t d = shape.size(); d-- > 0;) {
    if (shape[d] != 1) strides[d + offset] = stride;
    stride *= shape[d];
  }
  return strides;
}

BroadcastPlan PlanBroadcast(const Shape& dims, std::vector<Shape> strides) {
  // From the largest stride of the result to the smallest: its order in memory.
  std::vector<size_t> order(dims.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return strides[0][a] > strides[0][b]; });
  BroadcastPlan plan;
  plan.strides.resize(strides.size());
  for (const size_t d : order) {
    if (dims[d] == 1) continue;
    bool merges = !plan.dims.empty();
    for (size_t i = 0; i < strides.size() && merges; ++i) {
      merges = plan.strides[i].back() == strides[i][d] * dims[d];
    }
    if (merges) {
      plan.dims.back() *= dims[d];
    } else {
      plan.dims.push_back(dims[d]);
    }
    for (size_t i = 0; i < strides.size(); ++i) {
      if (!merges) plan.strides[i].push_back(0);
      plan.strides[i].back() = strides[i][d];
    }
  }
  if (plan.dims.empty()) {
    plan.dims.push_back(1);
    for (Shape& operand : plan.strides) operand.push_back(1);
  }
  return plan;
}

BroadcastPlan PlanBroadcast(const Shape& result, std::initializer_list<const Shape*> operands) {
  std::vector<Shape> strides = {BroadcastStrides(result, result)};
  for (const Shape* operand : operands) strides.push_back(BroadcastStrides(*operand, result));
  return PlanBroadcast(result, std::move(strides));
}

}  // namespace octet::kernels
