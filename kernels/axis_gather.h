// Builds a tensor whose every axis is an index list into the input's axis: padding, cropping,
// tiling and nearest-neighbour resizing.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "base/tensor.h"

namespace octet::kernels {

// output[i, j, ...] = input[axis0[i], axis1[j], ...], or the fill element where one of those is
// kFill. Immutable after construction, thread-safe.
class AxisGather {
 public:
  static constexpr int64_t kFill = -1;

  // One list per axis of `input`; each entry is an index below the axis's size, or kFill. The
  // output's shape is the lists' lengths.
  AxisGather(const Shape& input, const std::vector<std::vector<int64_t>>& axes,
             size_t element_bytes);

  // `from` and `to` are dense and row-major; `fill` is one element, read only where there is a
  // kFill.
  void Run(const std::byte* from, std::byte* to, const std::byte* fill) const;

 private:
  // Output positions [to, to + count) are input positions [from, from + count), or fill.
  struct Stretch {
    int64_t to;
    int64_t from;  // kFill: fill
    int64_t count;
  };
  struct Axis {
    std::vector<int64_t> indices;
    size_t from_bytes = 0;  // of one step along the axis
    size_t to_bytes = 0;
  };

  void RunAxis(size_t axis, const std::byte* from, std::byte* to, const std::byte* fill) const;
  void RunInnermost(const std::byte* from, std::byte* to, const std::byte* fill) const;
  template <size_t kBytes>
  void GatherElements(const std::byte* from, std::byte* to, const std::byte* fill) const;
  void Fill(std::byte* to, size_t bytes, const std::byte* fill) const;

  size_t element_bytes_;
  bool empty_ = false;
  std::vector<Axis> axes_;          // trailing axes that are copied whole are left out
  std::vector<Stretch> innermost_;  // of the last of axes_
  bool scattered_ = false;          // the innermost stretches are mostly single elements
};

// The list that copies a whole axis.
std::vector<int64_t> WholeAxis(int64_t size);

// Unimplemented if an output axis is so long that its index list would be a burden.
absl::Status CheckGatherShape(const Shape& output);

}  // namespace octet::kernels
