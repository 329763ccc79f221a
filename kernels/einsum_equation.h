// What an Einsum equation says about its operands, and how two of them are contracted.

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tensor.h"
#include "graph/node.h"

namespace octet::kernels {

// A tensor whose dimensions have distinct labels.
struct Labelled {
  std::vector<int> labels;
  Shape strides;  // of each label, in elements

  int64_t StrideOf(int label) const {
    const auto found = std::find(labels.begin(), labels.end(), label);
    return found == labels.end() ? 0 : strides[static_cast<size_t>(found - labels.begin())];
  }
};

struct Equation {
  std::vector<int64_t> dims;  // by label; kUnknownDim for labels that do not occur
  std::vector<Labelled> operands;
  std::vector<int> output;

  Shape ShapeOf(const std::vector<int>& labels) const {
    Shape shape;
    for (const int label : labels) shape.push_back(dims[static_cast<size_t>(label)]);
    return shape;
  }
};

// Of an Einsum node with operands of these shapes. InvalidArgument if they do not fit its equation.
absl::StatusOr<Equation> ReadEquation(const graph::Node& node, std::span<const Shape> shapes);

// The labels that are left when `left`, which stands for all operands before `next`, and operand
// `next` are contracted: those that a later operand or the output has. The output's, in order, if
// there is no later operand.
std::vector<int> ResultLabels(const Equation& equation, const Labelled& left, size_t next);

struct Axis {
  int64_t size = 1;
  int64_t left = 0;  // strides
  int64_t right = 0;

  bool IsDense() const { return left <= 1 && right <= 1 && left + right > 0; }
};

struct Contraction {
  std::vector<Axis> kept;    // the result's dimensions
  std::vector<Axis> summed;  // the longest strides first
};

Contraction PlanContraction(const Equation& equation, const Labelled& left, const Labelled& right,
                            const std::vector<int>& result);

// ResourceExhausted if the sizes of all axes multiply to more than any request should take.
absl::Status CheckCost(const Contraction& plan);

}  // namespace octet::kernels
